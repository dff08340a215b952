"""Connects to where the host's list lets its enclaves, and to nowhere else.

A name is resolved once, every address it has is judged, and the connection goes to one that was
judged: a name that resolves to something else a moment later gains nothing. An address that is not
public is refused, unless the list has it, as an address, with that port: so a stranger's name
cannot lead to this machine, to its neighbours or to what a cloud keeps at link-local addresses.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from atoll.channel import pumping
from atoll.channel.pumping import PIECE, Ends
from atoll.egress import addresses, words
from atoll.egress.words import REFUSED, UNREACHABLE, Verb
from atoll.errors import AtollError, MessageError, RefusedError, UnreachableError
from atoll.wire.egress import Allowance

CONNECT_S: Final = 10.0
"""From a name to a connection."""
ASKING_S: Final = 10.0
"""How long a stream may take to say where to."""
IDLE_S: Final = 300.0
"""How long a connection may carry nothing either way."""
MAX_TRIED: Final = 4
"""Addresses of one name that are tried."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""All addresses of a name. Raises: OSError."""

_log = logging.getLogger(__name__)


async def resolve(host: str, port: int) -> list[str]:
    """As `Resolve`, by this machine's resolver."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Outward:
    """The way out of one host.

    Args:
        allowance: its operator's list.
        resolving: names to addresses.
    """

    def __init__(self, allowance: Allowance, resolving: Resolve = resolve) -> None:
        self._allowance = allowance
        self._resolve = resolving

    def require(self, host: str, port: int) -> None:
        """Return if the list lets it out, as far as one can say before it is resolved.

        Raises:
            RefusedError: `network.refused`.
        """
        if not self._allowance.permits(host, port):
            raise RefusedError(f"this host lets nothing out to {host}:{port}", code=REFUSED)

    async def connect(self, host: str, port: int) -> Ends:
        """A connection.

        Raises:
            RefusedError: `network.refused`.
            UnreachableError: `network.unreachable`.
        """
        self.require(host, port)
        try:
            async with asyncio.timeout(CONNECT_S):
                found = await self._resolve(host, port)
                self._judge(host, port, found)
                return await _first(found[:MAX_TRIED], port)
        except (OSError, TimeoutError, UnicodeError) as error:
            raise UnreachableError(f"{host}:{port} does not answer", code=UNREACHABLE) from error

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one stream of an enclave; a service of its channel.

        Raises:
            MessageError: `egress.word`: it breaks the protocol.
        """
        try:
            async with asyncio.timeout(ASKING_S):
                line = await reader.readline()
        except (TimeoutError, ValueError) as error:  # ValueError: a line without end
            raise MessageError("an enclave does not say where to", code="egress.word") from error
        if not line:
            return
        asked = words.decode_asked(line)
        try:
            if asked.verb is Verb.MAY:
                self.require(asked.host, asked.port)
                far = None
            else:
                far = await self.connect(asked.host, asked.port)
        except AtollError as error:
            _log.info("an enclave is not let out: %s (%s)", error.message, error.code)
            writer.write(words.answer(error.code))
            await writer.drain()
            return
        writer.write(words.answer())
        if far is None:
            await writer.drain()
        else:
            await pumping.join((reader, writer), far, idle_s=IDLE_S)

    def _judge(self, host: str, port: int, found: Sequence[str]) -> None:
        for text in found:
            address = addresses.parse(text)
            if not (addresses.is_public(address) or self._allowance.names(str(address), port)):
                raise RefusedError(
                    f"{host}:{port} is at an address that is not called from here",
                    code=REFUSED,
                    hint="the host's operator can list such an address itself",
                )


async def _first(found: Sequence[str], port: int) -> Ends:
    """A connection to the first that answers. Raises: OSError."""
    problem = OSError("no address")
    for address in found:
        try:
            return await asyncio.open_connection(address, port, limit=PIECE)
        except OSError as error:
            problem = error
    raise problem
