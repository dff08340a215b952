"""What `atoll init` writes beside the logins: certificates, a server's configuration, settings.

    <dir>/tls/...                       `atoll_cli.deployment.authority`
    <dir>/nats-server.conf              one server with TLS and JetStream
    <dir>/env/{gateway,attestor,manager}.env    settings of each service
    <dir>/profile.json                  for clients

Keys and certificates that are there stay; the rest follows from them and is written anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from atoll.client.files import read_private, write_private
from atoll.client.profile import ProfileFile
from atoll.errors import ConfigError, InputError, NotFoundError
from atoll_cli.deployment.authority import Certified, issue_server, make_authority, names_of
from atoll_cli.deployment.folder import conf, server_section
from atoll_cli.nats_server import MAX_PAYLOAD
from atoll_cli.stack.layout import Plan
from atoll_cli.stack.material import Material

TLS: Final = "tls"
ENV: Final = "env"
SERVER_CONF: Final = "nats-server.conf"
RENEW_BEFORE: Final = timedelta(days=30)
NATS_PORT: Final = 4222
HTTP_PORT: Final = 8443
_MAX_PEM: Final = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a deployment serves."""

    directory: Path
    hosts: tuple[str, ...]
    """Names by which others connect; the first is in settings and profile."""
    nats_port: int = NATS_PORT
    http_port: int = HTTP_PORT

    @property
    def nats_url(self) -> str:
        return f"tls://{_bracketed(self.hosts[0])}:{self.nats_port}"

    @property
    def http_url(self) -> str:
        return f"https://{_bracketed(self.hosts[0])}:{self.http_port}"

    def write(self, material: Material, *, now: datetime, fresh: bool = False) -> Certified:
        """Write all of it; `fresh` renews the server's certificate though it still holds.

        Raises:
            ConfigError: `tls.damaged`, `file.unwritable`.
            InputError: `tls.name`.
        """
        server = self._certificates(now=now, fresh=fresh)
        trust = server_section(
            material.identities, self.directory / "nats" / "jwt", now=int(now.timestamp())
        )
        write_private(self.directory / SERVER_CONF, self._server_conf(trust))
        plan = Plan(
            material=material,
            nats_url=self.nats_url,
            http=("0.0.0.0", self.http_port),  # noqa: S104 - a deployment's gateway serves others
            slots=4,
            host_id=_token(self.hosts[0]),
            env={},
        )
        for spec in (plan.attestor(), plan.gateway(), plan.manager()):
            text = _settings(spec.env, spec.name, self.directory)
            write_private(self.directory / ENV / f"{spec.name}.env", text.encode())
        roots = (self.directory / TLS / "ca.pem").read_text("ascii")
        ProfileFile(self.directory).save(
            material.profile(self.nats_url, self.http_url, ca=roots, http_ca=roots)
        )
        return server

    def _certificates(self, *, now: datetime, fresh: bool) -> Certified:
        folder = self.directory / TLS
        authority = _pair(folder / "ca")
        if authority is None:
            authority = make_authority(now=now)
            _keep(folder / "ca", authority)
        server = _pair(folder / "server")
        if server is None or fresh or not self._still_good(server, now):
            server = issue_server(authority, self.hosts, now=now)
            _keep(folder / "server", server)
        return server

    def _still_good(self, server: Certified, now: datetime) -> bool:
        ends = server.certificate.not_valid_after_utc
        return ends - now > RENEW_BEFORE and names_of(server.certificate) == self.hosts

    def _server_conf(self, trust: Mapping[str, Any]) -> bytes:
        tls = self.directory / TLS
        config = {
            "server_name": _token(self.hosts[0]),
            "listen": f"0.0.0.0:{self.nats_port}",
            "max_payload": MAX_PAYLOAD,
            "jetstream": {"store_dir": str(self.directory / "nats" / "jetstream")},
            "tls": {
                "cert_file": str(tls / "server.pem"),
                "key_file": str(tls / "server.key"),
                "min_version": "1.3",
            },
        }
        return conf({**config, **trust})


def _settings(env: Mapping[str, str], name: str, directory: Path) -> str:
    prefix = f"ATOLL_{name.upper()}_"
    own = {key: value for key, value in env.items() if not key.endswith("_SUPERVISED")}
    if name == "gateway":
        own[f"{prefix}HTTP_TLS_CERT_FILE"] = str(directory / TLS / "server.pem")
        own[f"{prefix}HTTP_TLS_KEY_FILE"] = str(directory / TLS / "server.key")
    own[f"{prefix}NATS_CA_FILE"] = str(directory / TLS / "ca.pem")
    return "".join(f"{key}={value}\n" for key, value in sorted(own.items()))


def _pair(path: Path) -> Certified | None:
    try:
        return Certified.from_pem(
            read_private(path.with_suffix(".pem"), limit=_MAX_PEM),
            read_private(path.with_suffix(".key"), limit=_MAX_PEM),
        )
    except NotFoundError:
        return None
    except InputError as error:
        raise ConfigError(
            f"{path}.pem and {path}.key: {error.message}",
            code="tls.damaged",
            hint="restore them from a backup, or remove both to have new ones made",
        ) from error


def _keep(path: Path, made: Certified) -> None:
    write_private(path.with_suffix(".key"), made.key_pem)
    write_private(path.with_suffix(".pem"), made.pem)


def _token(host: str) -> str:
    return "".join(char if char.isalnum() else "-" for char in host)[:64]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
