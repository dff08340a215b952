"""The gateway's certificate, and what TLS it speaks."""

import asyncio
import ipaddress
import logging
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from atoll.errors import ConfigError

_log = logging.getLogger(__name__)

PERIOD_S: Final = 1.0
_OTHERS: Final = stat.S_IRWXO


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Where certificate chain and key are, and optionally whose certificates clients must show."""

    cert: Path
    key: Path
    client_ca: Path | None = None

    @property
    def all(self) -> tuple[Path, ...]:
        return (self.cert, self.key, *((self.client_ca,) if self.client_ca else ()))


def make_context(files: TlsFiles) -> ssl.SSLContext:
    """What connections are made with: TLS 1.2 or newer, no compression, no renegotiation.

    Raises:
        ConfigError: `http.tls_files`: a file is missing or not what it should be, key and
            certificate do not belong together, or others than owner and group may read the key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= (
        ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    )
    context.set_alpn_protocols(["http/1.1"])
    try:
        if files.key.stat().st_mode & _OTHERS:
            raise ConfigError(
                f"{files.key} is open to everybody",
                code="http.tls_files",
                hint=f"chmod 600 {files.key}",
            )
        # An empty password: never ask on a terminal.
        context.load_cert_chain(files.cert, files.key, password="")
        if files.client_ca is not None:
            context.load_verify_locations(cafile=files.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{', '.join(map(str, files.all))}: {getattr(error, 'reason', None) or error}",
            code="http.tls_files",
            hint="PEM: the chain from the server's certificate on, its key, the clients' CA",
        ) from error
    return context


class Certificates:
    """The context for the next connection; follows the files.

    Raises:
        ConfigError: as `make_context`.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._seen = self._look()
        self.context = make_context(files)

    def reload(self) -> bool:
        """Take changed files; whether there was something to take. Files that do not do leave
        everything as it was, and are said in the log, once."""
        seen = self._look()
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            self.context = make_context(self._files)
        except ConfigError as error:
            _log.error("the certificate is not replaced: %s (%s)", error.message, error.code)
            return False
        _log.info("new connections get the certificate in %s", self._files.cert)
        return True

    async def follow(self, period_s: float = PERIOD_S) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(period_s)
            self.reload()

    def _look(self) -> tuple[tuple[int, int, int] | None, ...]:
        found: list[tuple[int, int, int] | None] = []
        for path in self._files.all:
            try:
                status = path.stat()
                found.append((status.st_ino, status.st_size, status.st_mtime_ns))
            except OSError:
                found.append(None)
        return tuple(found)


def require_tls(address: str, *, tls: bool, insecure: bool) -> None:
    """Return if the HTTP API may listen on `address`.

    Raises:
        ConfigError: `http.no_tls`: anybody between could read the tokens.
    """
    if tls or is_loopback(address):
        return
    if insecure:
        _log.warning(
            "INSECURE: the HTTP API listens on %s WITHOUT TLS; tokens and jobs travel in the "
            "clear (http.no_tls)",
            address,
        )
        return
    raise ConfigError(
        f"the HTTP API would listen on {address} without TLS",
        code="http.no_tls",
        hint="set HTTP_TLS_CERT_FILE and HTTP_TLS_KEY_FILE, or HTTP_INSECURE=true if something "
        "in front of it ends TLS",
    )


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches `address`."""
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False
