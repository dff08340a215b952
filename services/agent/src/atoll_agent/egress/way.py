"""How the host is asked to connect: over the channel, or, where there is none, by ourselves.

What the host answers is as little believed as the rest: at worst it connects to somebody else
than it was told, as anybody on the way to a destination can. TLS of the workload's own with the
destination is what protects what is sent.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, Protocol

from atoll.channel.pumping import Ends, tear
from atoll.egress import words
from atoll.egress.outward import CONNECT_S, Outward
from atoll.egress.words import REFUSED, SERVICE, UNREACHABLE, Asked, Verb
from atoll.errors import AtollError, MessageError, RefusedError, UnreachableError

ANSWER_S: Final = CONNECT_S + 5.0
"""How long the host may take."""


class Way(Protocol):
    """Out of the enclave."""

    async def require(self, places: Iterable[str]) -> None:
        """Return if the host lets its jobs connect to each `host:port`.

        Raises:
            RefusedError: `network.refused`, with the first that it does not let out.
            UnreachableError: `network.unreachable`: it does not say.
        """
        ...

    async def open(self, host: str, port: int) -> Ends:
        """A connection.

        Raises:
            RefusedError: `network.refused`.
            UnreachableError: `network.unreachable`.
        """
        ...


class Direct:
    """From this machine's own network; for enclaves that are processes of their host."""

    def __init__(self, outward: Outward) -> None:
        self._outward = outward

    async def require(self, places: Iterable[str]) -> None:
        """As `Way.require`."""
        for host, port in map(_split, places):
            self._outward.require(host, port)

    async def open(self, host: str, port: int) -> Ends:
        """As `Way.open`."""
        return await self._outward.connect(host, port)


class ByChannel:
    """Over streams `egress` of the channel.

    Args:
        dial: opens a stream to a service of the host.
    """

    def __init__(self, dial: Callable[[str], Awaitable[Ends]]) -> None:
        self._dial = dial

    async def require(self, places: Iterable[str]) -> None:
        """As `Way.require`; all questions on one stream."""
        reader, writer = await self._open()
        try:
            for place in places:
                await _ask(reader, writer, Asked(Verb.MAY, *_split(place)))
        finally:
            writer.close()

    async def open(self, host: str, port: int) -> Ends:
        """As `Way.open`."""
        reader, writer = await self._open()
        try:
            await _ask(reader, writer, Asked(Verb.DIAL, host, port))
        except BaseException:
            tear(writer)
            raise
        return reader, writer

    async def _open(self) -> Ends:
        try:
            return await self._dial(SERVICE)
        except AtollError as error:  # of the channel: it is gone, or has no more streams
            raise UnreachableError(error.message, code=UNREACHABLE) from error


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: Asked) -> None:
    """Raises: as `Way.open`."""
    place = f"{asked.host}:{asked.port}"
    try:
        async with asyncio.timeout(ANSWER_S):
            writer.write(asked.to_bytes())
            await writer.drain()
            line = await reader.readline()
        # The end at once: it has no such service.
        code = words.decode_answer(line) if line else REFUSED
    except (OSError, ValueError, MessageError) as error:
        raise UnreachableError(
            f"the host does not say what it makes of {place}", code=UNREACHABLE
        ) from error
    if code == UNREACHABLE:
        raise UnreachableError(f"{place} does not answer", code=UNREACHABLE)
    if code:
        raise RefusedError(f"this host lets nothing out to {place}", code=REFUSED)


def _split(place: str) -> tuple[str, int]:
    host, _, port = place.rpartition(":")
    return host, int(port)
