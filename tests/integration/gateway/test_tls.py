"""TLS on a real port: which versions, whose certificates, new files, and no plain HTTP."""

import asyncio
import shutil
import ssl
from pathlib import Path

import pytest

from atoll.errors import ConfigError
from atoll_gateway.http.limits import Limits
from atoll_gateway.http.server import HttpServer
from atoll_gateway.http.tls import Certificates, TlsFiles, make_context
from integration.gateway.test_server import make_app
from integration.gateway.wire import Raw, send
from support.nats import wait_for
from support.tls import Authority

GET = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
LIMITS = Limits(head_s=0.5)


@pytest.fixture
def authority() -> Authority:
    return Authority.make()


@pytest.fixture
def files(authority: Authority, tmp_path: Path) -> TlsFiles:
    cert, key = authority.issue(tmp_path, "server")
    return TlsFiles(cert=cert, key=key)


def trusting(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority.pem)
    context.check_hostname = True
    return context


def serve(files: TlsFiles) -> HttpServer:
    certificates = Certificates(files)
    return HttpServer("127.0.0.1", 0, make_app(), certificates=certificates, limits=LIMITS)


async def get(server: HttpServer, context: ssl.SSLContext) -> Raw:
    return await send(server.port, GET, tls=context)


async def test_serves_over_tls_to_who_trusts_the_authority(
    files: TlsFiles, authority: Authority
) -> None:
    async with serve(files) as server:
        assert server.url == f"https://127.0.0.1:{server.port}"
        assert (await get(server, trusting(authority))).bytes.endswith(b"hello")
        with pytest.raises(ssl.SSLCertVerificationError):
            await get(server, ssl.create_default_context())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_speaks_the_two_newest_versions(
    files: TlsFiles, authority: Authority, version: ssl.TLSVersion
) -> None:
    context = trusting(authority)
    context.minimum_version = context.maximum_version = version
    async with serve(files) as server:
        assert (await get(server, context)).status == 200


async def test_refuses_an_older_version(files: TlsFiles, caplog: pytest.LogCaptureFixture) -> None:
    """A ClientHello of TLS 1.0, by hand, so that no library here must be able to make one."""
    suites = bytes.fromhex("c00ac014002f0035")
    body = b"\x03\x01" + bytes(32) + b"\0" + len(suites).to_bytes(2, "big") + suites + b"\1\0"
    hello = b"\1" + len(body).to_bytes(3, "big") + body
    record = b"\x16\x03\x01" + len(hello).to_bytes(2, "big") + hello
    async with serve(files) as server:
        with caplog.at_level("DEBUG", "atoll_gateway.http.listener"):
            answer = (await send(server.port, record)).bytes
        # No ServerHello, and for that reason.
        assert answer[:1] != b"\x16"
        assert "UNSUPPORTED_PROTOCOL" in caplog.text


async def test_plain_http_on_the_port_is_told_what_the_port_speaks(files: TlsFiles) -> None:
    async with serve(files) as server:
        answer = await send(server.port, GET)
        assert (answer.status, answer.code) == (400, "http.tls_required")


@pytest.mark.parametrize("noise", [b"\0\0\0\0", b"\x16\x03\x01\0\5hello", b"\x16" + b"\xff" * 600])
async def test_noise_is_cut_off_and_the_next_is_served(
    files: TlsFiles, authority: Authority, noise: bytes
) -> None:
    async with serve(files) as server:
        assert b"HTTP" not in (await send(server.port, noise)).bytes
        assert (await get(server, trusting(authority))).status == 200


async def test_who_never_shakes_hands_is_cut_off(files: TlsFiles, authority: Authority) -> None:
    async with serve(files) as server:
        assert (await send(server.port, b"")).bytes == b""
        assert (await send(server.port, b"\x16\x03")).bytes == b""
        assert (await get(server, trusting(authority))).status == 200


async def test_new_files_count_for_new_connections(
    files: TlsFiles, authority: Authority, tmp_path: Path
) -> None:
    certificates = Certificates(files)
    other = Authority.make("another authority")
    (tmp_path / "new").mkdir()
    cert, key = other.issue(tmp_path / "new", "server")
    app = make_app()
    async with HttpServer("127.0.0.1", 0, app, certificates=certificates) as server:
        assert (await get(server, trusting(authority))).status == 200
        shutil.copyfile(cert, files.cert)
        shutil.copyfile(key, files.key)
        certificates.reload()
        assert (await get(server, trusting(other))).status == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            await get(server, trusting(authority))


async def test_the_server_follows_its_files_by_itself(files: TlsFiles, tmp_path: Path) -> None:
    certificates, other = Certificates(files), Authority.make("another authority")
    (tmp_path / "new").mkdir()
    new = other.issue(tmp_path / "new", "server")
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        following = tasks.create_task(certificates.follow(0.01))
        before = certificates.context
        shutil.copyfile(new[1], files.key)
        shutil.copyfile(new[0], files.cert)
        await wait_for(lambda: certificates.context is not before, "the new files are in use")
        following.cancel()


async def test_files_that_do_not_do_leave_the_old_ones_in_use(
    files: TlsFiles, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    certificates = Certificates(files)
    files.key.write_text("no key")
    assert not certificates.reload()
    assert not certificates.reload()
    assert caplog.text.count("http.tls_files") == 1
    app = make_app()
    async with HttpServer("127.0.0.1", 0, app, certificates=certificates) as server:
        assert (await get(server, trusting(authority))).status == 200


async def test_clients_show_certificates_where_that_is_asked(
    files: TlsFiles, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_text(authority.pem)
    asked = TlsFiles(cert=files.cert, key=files.key, client_ca=tmp_path / "ca.pem")
    with_own, strange = trusting(authority), trusting(authority)
    with_own.load_cert_chain(*authority.issue(tmp_path, "client"))
    strange.load_cert_chain(*Authority.make("stranger").issue(tmp_path, "strange"))
    async with serve(asked) as server:
        assert (await get(server, with_own)).status == 200
        for context in (trusting(authority), strange):
            # In TLS 1.3 the client learns of it only when it reads.
            try:
                answer = (await get(server, context)).bytes
            except ssl.SSLError:
                answer = b""
            assert b"HTTP" not in answer


@pytest.mark.parametrize("what", ["cert", "key", "mismatch", "open", "gone"])
def test_files_that_are_none_stop_the_start(
    files: TlsFiles, authority: Authority, tmp_path: Path, what: str
) -> None:
    if what == "mismatch":
        other = authority.issue(tmp_path, "other")
        files = TlsFiles(cert=files.cert, key=other[1])
    elif what == "open":
        files.key.chmod(0o604)
    elif what == "gone":
        files.cert.unlink()
    else:
        getattr(files, what).write_text("nothing of the kind")
    with pytest.raises(ConfigError) as caught:
        make_context(files)
    assert caught.value.code == "http.tls_files"


async def test_beyond_loopback_there_is_no_plain_http_unless_it_is_insisted_on(
    files: TlsFiles, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ConfigError) as caught:
        await HttpServer("0.0.0.0", 0, make_app()).__aenter__()
    assert caught.value.code == "http.no_tls"
    async with HttpServer("0.0.0.0", 0, make_app(), insecure=True) as server:
        assert (await send(server.port, GET)).status == 200
    assert "INSECURE" in caplog.text
    async with HttpServer("0.0.0.0", 0, make_app(), certificates=Certificates(files)):
        pass
