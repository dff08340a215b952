"""The gateway's process: it starts with token material and certificates, and not without."""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from atoll.bus import connect, provision
from atoll.credentials.claims import Permissions
from atoll.errors import AtollError, ConfigError
from atoll.wire import topology
from atoll_cli import http_asking
from atoll_cli.deployment.folder import Folder
from atoll_cli.stack.service import ServiceProcess, ServiceSpec, start
from integration.gateway.wire import send
from support.access import OPERATOR, SUBMITTER
from support.logins import IDENTITIES, believing, config, login
from support.tls import Authority

GET = b"GET /v1/jobs HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer %s\r\n\r\n"


def spec(tmp_path: Path, nats_url: str = "nats://127.0.0.1:1", **settings: object) -> ServiceSpec:
    token = tmp_path / "http-token"
    folder = Folder(tmp_path / "bus").write(IDENTITIES, now=int(time.time()))
    given = {
        "nats_url": nats_url,
        "nats_creds_file": folder.creds("gateway"),
        "http_token_file": token,
        **settings,
    }
    return ServiceSpec(
        name="gateway",
        module="atoll_gateway.main",
        env={f"ATOLL_GATEWAY_{name.upper()}": str(value) for name, value in given.items()},
        log=tmp_path / "log",
    )


@asynccontextmanager
async def started(wanted: ServiceSpec) -> AsyncIterator[ServiceProcess]:
    service = await start(wanted)
    try:
        yield service
    finally:
        await service.stop()


@pytest_asyncio.fixture
async def nats_url(tmp_path: Path) -> AsyncIterator[str]:
    """A server with everything that a gateway needs."""
    everything = login(Permissions(publish=(">",), subscribe=(">",)))
    async with believing(tmp_path / "nats") as server, connect(config(server, everything)) as bus:
        await provision(
            bus,
            streams=topology.STREAMS,
            consumers=topology.CONSUMERS,
            buckets=topology.BUCKETS,
            object_buckets=topology.OBJECT_BUCKETS,
        )
        yield server.url


@pytest.mark.parametrize("content", [None, "", "short", "x" * 68, OPERATOR.text[:-1], "changeme"])
async def test_does_not_start_without_a_whole_token(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "http-token").write_text(content)
    with pytest.raises(ConfigError) as caught:
        await start(spec(tmp_path))
    assert "status 2" in caught.value.message
    assert "http.token" in caught.value.message
    assert "Traceback" not in (tmp_path / "log").read_text()


async def test_does_not_start_on_settings_that_contradict(tmp_path: Path) -> None:
    (tmp_path / "http-token").write_text(OPERATOR.text)
    for settings, code in (
        ({"http_tls_cert_file": "x"}, "http.tls_files"),
        ({"http_tls_cert_file": "x", "http_tls_key_file": "y"}, "http.tls_files"),
        ({"http_requests": 0}, "http.limits"),
        ({"http_insecure": "perhaps"}, "config.invalid"),
    ):
        with pytest.raises(ConfigError) as caught:
            await start(spec(tmp_path, **settings))
        assert code in caught.value.message


async def test_the_first_token_opens_and_another_one_does_not(
    tmp_path: Path, nats_url: str
) -> None:
    (tmp_path / "http-token").write_text(OPERATOR.text)
    async with started(spec(tmp_path, nats_url)) as service:
        port = int(str(service.facts["http"]).rpartition(":")[2])
        assert (await send(port, GET % OPERATOR.text.encode())).status == 200
        assert (await send(port, GET % SUBMITTER.text.encode())).status == 401
    # Another first token for the same data: the id is another, and both count.
    (tmp_path / "http-token").write_text(SUBMITTER.text)
    async with started(spec(tmp_path, nats_url)) as service:
        port = int(str(service.facts["http"]).rpartition(":")[2])
        assert (await send(port, GET % OPERATOR.text.encode())).status == 200
    log = (tmp_path / "log").read_text()
    assert OPERATOR.secret not in log
    assert SUBMITTER.secret not in log


async def test_serves_tls_beyond_loopback_and_nothing_else_there(
    tmp_path: Path, nats_url: str
) -> None:
    (tmp_path / "http-token").write_text(OPERATOR.text)
    with pytest.raises(ConfigError) as caught:
        await start(spec(tmp_path, nats_url, http_host="0.0.0.0"))
    assert "http.no_tls" in caught.value.message
    authority = Authority.make()
    cert, key = authority.issue(tmp_path, "server")
    files = {"http_tls_cert_file": cert, "http_tls_key_file": key}
    async with started(spec(tmp_path, nats_url, http_host="0.0.0.0", **files)) as service:
        url = str(service.facts["http"])
        assert url.startswith("https://")
        context = ssl.create_default_context(cadata=authority.pem)
        answer = await send(int(url.rpartition(":")[2]), GET % OPERATOR.text.encode(), tls=context)
        assert answer.status == 200
        pem, port = authority.pem, url.rpartition(":")[2]
        here = f"https://127.0.0.1:{port}"
        found = await asyncio.to_thread(
            http_asking.get, here, "/v1/token", token=OPERATOR.text, ca=pem
        )
        assert found["token_id"] == OPERATOR.id
        for token, ca, at, code in (
            (SUBMITTER.text, pem, here, "http.unauthorized"),
            (OPERATOR.text, "", here, "http.certificate"),
            (OPERATOR.text, Authority.make("stranger").pem, here, "http.certificate"),
            (OPERATOR.text, "no PEM", here, "http.ca"),
            (OPERATOR.text, pem, f"http://127.0.0.1:{port}", "http.tls_required"),
            (OPERATOR.text, pem, "http://192.0.2.1:80", "http.no_tls"),
            (OPERATOR.text, pem, "https://127.0.0.1:1", "http.unreachable"),
            (OPERATOR.text, pem, "ftp://127.0.0.1", "http.url"),
            (OPERATOR.text, pem, "https://[", "http.url"),
        ):
            with pytest.raises(AtollError) as refused:
                await asyncio.to_thread(http_asking.get, at, "/v1/token", token=token, ca=ca)
            assert refused.value.code == code


async def test_says_that_its_port_is_taken(tmp_path: Path, nats_url: str) -> None:
    (tmp_path / "http-token").write_text(OPERATOR.text)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError) as caught:
        await start(spec(tmp_path, nats_url, http_port=taken.getsockname()[1]))
    assert "http.port_in_use" in caught.value.message
