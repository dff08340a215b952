"""Real nats-servers from the files under `infra/nats`, with TLS, each a process of its own.

    with Site(tmp_path) as site:
        servers = await site.hub()            # three of them, ready
        async with connect(site.config("operator")) as bus: ...

Each site has three bytes of loopback addresses to itself, so that the ports can be those of the
files and sites of several tests do not meet.
"""

import asyncio
import ipaddress
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from atoll.bus import BusConfig, Signed
from atoll.wire import topology
from atoll.wire.endpoints import ROLES
from atoll_cli.deployment.folder import server_section
from atoll_cli.deployment.identities import Identities
from atoll_cli.nats_server import _LAUNCH, find_binary

FILES = Path(__file__).resolve().parents[2] / "infra" / "nats"
LOGINS = (*ROLES, "operator", "site")
READY_S = 30.0
STOP_S = 20.0
DAY = timedelta(days=1)


class Authority:
    """Signs the certificates of a deployment's servers."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = _name("atoll test authority")
        self._certificate = (
            _builder(name, name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def pem(self) -> bytes:
        """Its certificate."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, folder: Path, name: str, host: str) -> None:
        """Write certificate, key and authority for a server, readable by the owner only."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address(host))]
        certificate = (
            _builder(_name(name), self._certificate.subject, key)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        private(folder / "ca.pem", self.pem)
        private(folder / "server.pem", certificate.public_bytes(serialization.Encoding.PEM))
        plain = serialization.NoEncryption()
        form = serialization.PrivateFormat.PKCS8
        private(folder / "server.key", key.private_bytes(serialization.Encoding.PEM, form, plain))


@dataclass
class Server:
    """One nats-server and its folder, as an operator would lay it out."""

    name: str
    config: str
    folder: Path
    host: str
    env: Mapping[str, str]
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"tls://{self.host}:4222"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """What it said so far."""
        return (self.folder / "log").read_text(errors="replace")

    def start(self) -> None:
        """Start it; `wait_ready` waits."""
        assert self._process is None
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid())),
                    *(str(find_binary()), "-c", self.config),
                ],
                cwd=self.folder,
                env=dict(self.env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait_ready(self) -> None:
        """Until it says that it is healthy: its streams have caught up too."""
        self._wait(f"http://{self.host}:8222/healthz", lambda answer: answer["status"] == "ok")

    def wait_for(self, page: str, condition: Any) -> None:
        """Until what its monitoring says of `page` fulfils `condition`."""
        self._wait(f"http://{self.host}:8222/{page}", condition)

    def _wait(self, url: str, condition: Any) -> None:
        deadline = time.monotonic() + READY_S
        while True:
            try:
                with urllib.request.urlopen(url, timeout=2) as answer:
                    if condition(json.load(answer)):
                        return
            except OSError:
                pass
            if not self.running or time.monotonic() > deadline:
                pytest.fail(f"{self.name} is not ready:\n{self.log[-3000:]}")
            time.sleep(0.1)

    def kill(self) -> None:
        """End it without a chance to say goodbye."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def lame_duck(self) -> None:
        """Let its clients and what it leads go, and end; return when it has."""
        self._end(signal.SIGUSR2, within_s=60)

    def _end(self, number: signal.Signals, within_s: float = STOP_S) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(within_s)
        finally:
            process.kill()
            process.wait()


class Site:
    """Servers that know each other, in a folder."""

    places = (1, 2, 3)
    """Last bytes of the addresses of the hub's servers."""

    def __init__(
        self,
        root: Path,
        *,
        sync: str = "2m",
        client_tls: bool = True,
        identities: Identities | None = None,
    ) -> None:
        self.root = root
        self.identities = identities
        """Whose logins the servers believe; None: users with passwords."""
        self.client_tls = client_tls
        """Without it, clients are not encrypted: for services that are given no authority."""
        self.network = f"127.{secrets.randbelow(250) + 2}.{secrets.randbelow(250) + 2}"
        self.authority = Authority()
        self.passwords = {name: secrets.token_urlsafe(16) for name in LOGINS}
        self.servers: list[Server] = []
        self._sync = sync
        private(root / "ca.pem", self.authority.pem)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for server in self.servers:
            server.kill()

    async def hub(self) -> list[Server]:
        """The cluster of three, ready."""
        hub = [
            self._server(f"hub-{x}", f"hub-{x}.conf", place)
            for place, x in zip(self.places, "abc", strict=True)
        ]
        return await self.start(hub)

    async def leaf(self, name: str) -> Server:
        """A site that calls the hub, ready."""
        (leaf,) = await self.start([self._server(name, "site.conf", 9, ATOLL_SITE=name)])
        return leaf

    async def regions(self) -> list[Server]:
        """A server east and one west, ready."""
        found = [
            self._server(
                f"{region}-1",
                f"region-{region}.conf",
                place,
                ATOLL_NATS_NAME=f"{region}-1",
                ATOLL_REGION_ROUTE=text(f"nats-route://{self.network}.{place}:6222"),
            )
            for region, place in (("east", 11), ("west", 12))
        ]
        return await self.start(found)

    async def start(self, servers: Sequence[Server]) -> list[Server]:
        """Start them, and return when all are healthy."""
        for server in servers:
            # Here and not in a thread: the kernel ends a child when the thread ends.
            server.start()
        for server in servers:
            await asyncio.to_thread(server.wait_ready)
        return list(servers)

    def make(self, **fields: Any) -> Server:
        """A server that is not started yet."""
        return Server(**fields)

    def url(self, *servers: Server) -> str:
        """Where clients find `servers`, or all."""
        urls = ",".join(server.url for server in servers or self.servers)
        return urls if self.client_tls else urls.replace("tls://", "nats://")

    def config(self, login: str, *servers: Server, **changes: Any) -> BusConfig:
        """How `login` connects to `servers`."""
        fields: dict[str, Any] = {
            "url": self.url(*servers),
            "name": f"test-{login}",
            **self._login(login),
            "inbox_prefix": f"_INBOX_{login}",
            "drain_timeout_s": 2.0,
            "tls_ca_file": str(self.root / "ca.pem"),
        }
        return BusConfig(**{**fields, **changes})

    def _login(self, login: str) -> dict[str, Any]:
        if self.identities is None:
            return {"user": login, "password": self.passwords[login]}
        credentials = self.identities.credentials(login, now=int(time.time()))
        return {"login": Signed(login, lambda: credentials)}

    def _server(self, name: str, config: str, place: int, **values: str) -> Server:
        folder, host = self.root / name, f"{self.network}.{place}"
        if self.identities is None:
            lay_out(folder, accounts(self.passwords))
        else:
            now = int(time.time())
            lay_out(folder, server_section(self.identities, Path("jwt"), now=now))
        if not self.client_tls:
            _without_client_tls(folder / "server.conf")
        self.authority.issue(folder / "tls", name, host)
        login = f"site:{self.passwords['site']}@"
        env = {
            "ATOLL_NATS_HOST": text(host),
            "ATOLL_NATS_MONITOR": text(f"{host}:8222"),
            "ATOLL_NATS_STORE": text(str(folder / "store")),
            "ATOLL_NATS_MAX_FILE": "8GB",
            "ATOLL_NATS_SYNC": text(self._sync),
            "ATOLL_GATEWAY_EAST": text(f"tls://{self.network}.11:7522"),
            "ATOLL_GATEWAY_WEST": text(f"tls://{self.network}.12:7522"),
            **{
                f"ATOLL_HUB_ROUTE_{x}": text(f"nats-route://{self.network}.{at}:6222")
                for at, x in zip(self.places, "ABC", strict=True)
            },
            **{
                f"ATOLL_HUB_LEAF_{x}": text(f"tls://{login}{self.network}.{at}:7422")
                for at, x in zip(self.places, "ABC", strict=True)
            },
            **values,
        }
        server = self.make(name=name, config=config, folder=folder, host=host, env=env)
        self.servers.append(server)
        return server


def lay_out(folder: Path, auth: dict[str, Any]) -> None:
    """The files of `infra/nats`, and those that a deployment adds."""
    folder.mkdir(parents=True)
    for path in FILES.glob("*.conf"):
        shutil.copy(path, folder)
    private(folder / "auth.conf", json.dumps(auth, indent=1).encode().strip()[1:-1])
    private(folder / "leaf-login.conf", b"account: ATOLL\n")


def accounts(passwords: Mapping[str, str]) -> dict[str, Any]:
    """One account for Atoll with the permissions of each role, and the system's."""
    users = [
        {
            "user": login,
            "password": password,
            **({"permissions": _permissions(login)} if login in ROLES else {}),
        }
        for login, password in passwords.items()
    ]
    return {
        "accounts": {"ATOLL": {"jetstream": "enabled", "users": users}, "SYS": {"users": []}},
        "system_account": "SYS",
    }


def _without_client_tls(path: Path) -> None:
    whole = path.read_text()
    block = 'tls {\n  include "tls.conf"\n}\n'
    assert whole.count(block) == 1
    path.write_text(whole.replace(block, ""))


def text(value: str) -> str:
    """As a value of the environment that nats-server takes for text, whatever it looks like."""
    return f'"{value}"'


def private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o600)


def _permissions(role: Any) -> dict[str, Any]:
    return {
        "publish": {"allow": list(topology.in_domain(topology.may_publish(role), "hub"))},
        "subscribe": {"allow": list(topology.may_subscribe(role))},
        "allow_responses": {"max": 1, "expires": "2m"},
    }


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
    )
