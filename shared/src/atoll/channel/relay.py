"""The host's side of a channel: gives a guest's streams to the services that it may reach.

What the guest sends is as hostile as it can be. It names services out of a table and nothing
else; it is cut off with all its streams when it breaks the protocol or a limit.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping

from atoll.channel import greeting
from atoll.channel.limits import Limits, Opens
from atoll.channel.mux import Mux
from atoll.channel.pumping import PIECE, Ends, join, one_error, tear
from atoll.channel.session import Session, pair
from atoll.errors import MessageError

Service = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Serves one stream until it returns; it closes what it was given."""

_log = logging.getLogger(__name__)


class Relay:
    """One guest's channel.

    Args:
        services: by the name that the guest says.
        limits: of what it may do.
        peer: for vsock, the guest's CID; nobody else is answered.
    """

    def __init__(
        self, services: Mapping[str, Service], limits: Limits | None = None, *, peer: int = 0
    ) -> None:
        self._services = services
        self._limits = limits or Limits()
        self._peer = peer
        self._opens = Opens(self._limits, asyncio.get_running_loop().time())
        self._streams = 0
        self._group: asyncio.TaskGroup | None = None

    async def carry(self, ends: Ends) -> None:
        """All streams over this one, until the guest's end is gone.

        Raises:
            MessageError: the guest was cut off, `channel.*` says for what.
        """
        mux = Mux(opens=False, max_streams=self._limits.streams)
        with one_error():
            async with asyncio.TaskGroup() as group:
                self._group = group
                await Session(ends, mux, self._accept).run()

    async def serve(self, listening: socket.socket) -> None:
        """A connection for each stream, until cancelled; takes over the socket, which listens.

        Raises:
            MessageError: as `carry`.
        """
        loop = asyncio.get_running_loop()
        listening.setblocking(False)  # noqa: FBT003 - the standard library's
        with listening, one_error():
            async with asyncio.TaskGroup() as group:
                self._group = group
                while True:
                    sock, address = await loop.sock_accept(listening)
                    with contextlib.ExitStack() as undo:
                        undo.callback(sock.close)
                        if self._peer and address[0] != self._peer:
                            _log.warning("a stranger at the channel: %s", address)
                            continue
                        self._count()
                        ends = await asyncio.open_connection(sock=sock, limit=PIECE)
                        undo.pop_all()
                    self._start(self._greeted, ends)

    def _count(self) -> None:
        self._opens.count(asyncio.get_running_loop().time())
        if self._streams >= self._limits.streams:
            raise MessageError(
                f"more than {self._limits.streams} streams at once", code="channel.streams"
            )

    async def _greeted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(self._limits.greeting_s):
                line = await reader.readline()
        except (TimeoutError, ValueError) as error:
            raise MessageError(
                "a stream does not say what it wants", code="channel.greeting"
            ) from error
        if not line:
            return
        service = self._services.get(greeting.decode(line))
        if service is not None:
            await service(reader, writer)

    async def _accept(self, name: str) -> Ends | None:
        self._opens.count(asyncio.get_running_loop().time())
        service = self._services.get(name)
        if service is None:
            return None
        mine, theirs = await pair()
        self._start(service, mine)
        return theirs

    def _start(self, service: Service, ends: Ends) -> None:
        if self._group is None:
            raise AssertionError("streams come while the relay runs")
        self._streams += 1
        task = self._group.create_task(_serving(service, ends))
        # Also of one that was cancelled before it began.
        task.add_done_callback(lambda _: self._ended(ends[1]))

    def _ended(self, writer: asyncio.StreamWriter) -> None:
        self._streams -= 1
        writer.close()


async def _serving(service: Service, ends: Ends) -> None:
    try:
        await service(*ends)
    except OSError as error:
        _log.info("a stream is torn off: %s", error)
        tear(ends[1])


def connecting(connect: Callable[[], Awaitable[Ends]]) -> Service:
    """A service that is a connection to somewhere else."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far = await connect()
        except OSError as error:
            _log.info("a guest's stream leads nowhere: %s", error)
            tear(writer)
            return
        await join((reader, writer), far)

    return serve
