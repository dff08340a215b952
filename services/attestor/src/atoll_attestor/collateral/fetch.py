"""GET one document over HTTPS, with every way in which the other side can misbehave bounded.

Only below the bases that an operator allowed; https unless the host is this machine; no
redirects, no proxies, no cookies. `http.client` in a thread: nothing else is needed for it.
"""

import asyncio
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, urlsplit

from atoll.errors import AtollError, ConfigError, RefusedError, UnreachableError

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_BLOCK: Final = 64 << 10
_OK: Final = 200
_TOO_MANY: Final = 429
_SERVER: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one `get` may cost."""

    max_bytes: int = 1 << 20
    timeout_s: float = 15.0
    """For one attempt, from connecting to the last byte."""
    attempts: int = 4
    first_pause_s: float = 1.0
    """Doubled after each attempt, unless the server says when to come back."""
    max_pause_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server said with status 200."""

    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    """By name in lower case; of a name that stands several times, the last."""


class Fetcher:
    """Gets documents below `allowed`; with none, everything is refused, which is offline."""

    def __init__(
        self,
        allowed: Sequence[str],
        limits: Limits | None = None,
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Raises: ConfigError `config.invalid`: a base that is no https URL."""
        self._allowed = [_base(text) for text in allowed]
        self._limits = limits or Limits()
        self._pause = pause

    async def get(self, url: str) -> bytes:
        """The body of a 200 answer; see `fetch`."""
        return (await self.fetch(url)).body

    async def fetch(self, url: str) -> Answer:
        """A 200 answer. What it says is not looked at.

        Raises:
            RefusedError: `collateral.not_allowed`; `collateral.status`: another answer, a
                redirect too; `collateral.too_large`.
            UnreachableError: `collateral.unreachable`: no answer, a slow one, or 429 and 5xx
                at every attempt.
        """
        parts = self._require_allowed(url)
        wait = self._limits.first_pause_s
        for attempt in range(1, self._limits.attempts + 1):
            try:
                return await asyncio.to_thread(_get, parts, self._limits)
            except _BusyError as busy:
                if attempt == self._limits.attempts:
                    raise UnreachableError(
                        f"{url}: {busy.message}, {attempt} times", code="collateral.unreachable"
                    ) from busy
                asked = wait if busy.retry_after_s is None else busy.retry_after_s
            await self._pause(min(asked, self._limits.max_pause_s))
            wait *= 2
        raise AssertionError("no attempts were allowed")

    def _require_allowed(self, url: str) -> SplitResult:
        parts = _split(url)
        for base in self._allowed:
            same = (parts.scheme, parts.netloc) == (base.scheme, base.netloc)
            below = parts.path.startswith(base.path.rstrip("/") + "/")
            if same and below and "/../" not in parts.path and not parts.fragment:
                return parts
        raise RefusedError(
            f"{url[:200]} is not below a URL that the operator allowed",
            code="collateral.not_allowed",
        )


class _BusyError(AtollError):
    """Trying again may help."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


def _get(parts: SplitResult, limits: Limits) -> Answer:
    deadline = time.monotonic() + limits.timeout_s
    connection = _connection(parts, limits.timeout_s)
    try:
        connection.connect()
        # A server that sends a byte now and then never runs into the socket's own timeout.
        hang_up = threading.Timer(limits.timeout_s, _shut, [connection.sock])
        hang_up.daemon = True
        hang_up.start()
        try:
            return _answer(connection, parts, limits, deadline)
        finally:
            hang_up.cancel()
    except (OSError, http.client.HTTPException) as error:
        raise _BusyError(f"{type(error).__name__}: {error}"[:200]) from error
    finally:
        connection.close()


def _answer(
    connection: http.client.HTTPConnection, parts: SplitResult, limits: Limits, deadline: float
) -> Answer:
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    connection.request("GET", target, headers={"Accept-Encoding": "identity"})
    body = bytearray()
    with connection.getresponse() as answer:
        _require_ok(answer)
        while block := answer.read(_BLOCK):
            body += block
            if len(body) > limits.max_bytes:
                raise RefusedError(
                    f"{parts.geturl()}: over {limits.max_bytes} bytes", code="collateral.too_large"
                )
        if time.monotonic() > deadline:
            raise _BusyError(f"not finished in {limits.timeout_s:g} s")
        if answer.length or not body:
            raise _BusyError("the answer is empty or not whole")
        headers = {name.lower(): value for name, value in answer.headers.items()}
    return Answer(body=bytes(body), headers=headers)


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _connection(parts: SplitResult, timeout_s: float) -> http.client.HTTPConnection:
    host = parts.hostname or ""
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, parts.port, timeout=timeout_s)
    context = ssl.create_default_context()
    return http.client.HTTPSConnection(host, parts.port, timeout=timeout_s, context=context)


def _require_ok(answer: http.client.HTTPResponse) -> None:
    if answer.status == _OK:
        return
    if answer.status == _TOO_MANY or answer.status >= _SERVER:
        after = answer.getheader("Retry-After", "")
        digits = after.isascii() and after.isdigit() and len(after) <= 6  # noqa: PLR2004
        raise _BusyError(f"status {answer.status}", float(after) if digits else None)
    raise RefusedError(f"status {answer.status}, want 200", code="collateral.status")


def _base(text: str) -> SplitResult:
    try:
        parts = _split(text)
    except RefusedError as error:
        raise ConfigError(error.message, code="config.invalid") from error
    if parts.query or parts.fragment or parts.username is not None:
        raise ConfigError(f"{text[:200]} has more than host and path", code="config.invalid")
    return parts


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise RefusedError(f"{text[:200]!r} is no URL", code="collateral.not_allowed") from error
    secure = parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK)
    if not host or not secure or not (text.isascii() and text.isprintable()) or " " in text:
        raise RefusedError(
            f"{text[:200]!r} is no https URL (http is for this machine only)",
            code="collateral.not_allowed",
        )
    return parts
