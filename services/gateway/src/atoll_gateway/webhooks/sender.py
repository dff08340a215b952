"""One POST over HTTP/1.1: to a checked address, within a time limit, no redirects.

Written out on asyncio's streams: of the answer only the status line is of interest, the
address to connect to is not the one that the URL names, and the whole exchange has one deadline.
"""

import asyncio
import contextlib
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from atoll import version
from atoll.errors import UnreachableError
from atoll_gateway.webhooks.address import AddressRules, Target

TIMEOUT_S: Final = 15.0
MAX_LINE: Final = 8192
_MAX_INTERIM: Final = 64
"""Lines of answers like 103 before the real one."""
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r?\n")

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolve(host: str, port: int) -> list[str]:
    """Every address of a name.

    Raises:
        UnreachableError: `webhook.unreachable`.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise _unreachable(host) from error
    return [str(item[4][0]) for item in found]


class Sender:
    """Posts to addresses that `rules` allow."""

    def __init__(
        self,
        rules: AddressRules,
        *,
        context: ssl.SSLContext | None = None,
        resolve: Resolve = resolve,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._rules = rules
        self._context = context or ssl.create_default_context()
        self._resolve = resolve
        self._timeout_s = timeout_s

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """The status of the answer.

        Raises:
            InputError: `webhook.url`.
            RefusedError: `webhook.address`.
            UnreachableError: `webhook.unreachable`: no answer, none in time, or none in HTTP.
        """
        target = self._rules.parse(url)
        try:
            async with asyncio.timeout(self._timeout_s):
                found = await self._resolve(target.host, target.port)
                address = self._rules.choose(target, found)
                return await self._exchange(target, address, headers, body)
        except (TimeoutError, OSError, ssl.SSLError, ValueError) as error:
            raise _unreachable(target.host) from error

    async def _exchange(
        self, target: Target, address: str, headers: Mapping[str, str], body: bytes
    ) -> int:
        reader, writer = await asyncio.open_connection(
            address,
            target.port,
            limit=MAX_LINE,
            ssl=self._context if target.tls else None,
            server_hostname=target.host if target.tls else None,
        )
        try:
            writer.write(_request(target, headers, body))
            await writer.drain()
            return await _status(reader, target.host)
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError, ssl.SSLError):
                await writer.wait_closed()


def _request(target: Target, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = {
        "Host": target.authority,
        "User-Agent": f"atoll/{version.VERSION}",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **headers,
    }
    head = [f"POST {target.path} HTTP/1.1", *(f"{key}: {value}" for key, value in lines.items())]
    if any("\r" in line or "\n" in line for line in head):
        raise ValueError("a header with a line break")
    return "\r\n".join([*head, "", ""]).encode("ascii") + body


async def _status(reader: asyncio.StreamReader, host: str) -> int:
    interim = False
    for _ in range(_MAX_INTERIM):
        line = await reader.readline()
        match = _STATUS.fullmatch(line)
        if match is not None and match[1][:1] != b"1":
            return int(match[1])
        if match is None and not interim:
            break
        interim = bool(line)
    raise _unreachable(host)


def _unreachable(host: str) -> UnreachableError:
    return UnreachableError(f"{host} did not answer", code="webhook.unreachable")
