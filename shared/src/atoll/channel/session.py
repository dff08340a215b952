"""The streams of one byte stream, each as a pair of connected sockets.

An application gets one end of a pair, a real socket: so it may upgrade it to TLS and is held
up by what it writes. The other end is carried here.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from atoll.channel import pumping
from atoll.channel.mux import Closed, Ended, Event, Mux, Opened, Received
from atoll.channel.pumping import PIECE, Ends, one_error, tear
from atoll.errors import UnreachableError

Accept = Callable[[str], Awaitable[Ends | None]]
"""Takes the service that the other side asks for; gives the end to be carried, or None: refused."""
BATCH: Final = 64 << 10


@dataclass(slots=True)
class _Carried:
    """One stream between `Mux` and its socket."""

    number: int
    came: deque[bytes] = field(default_factory=deque)
    """At most the credit that was given."""
    ended: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)
    room: asyncio.Event = field(default_factory=asyncio.Event)
    torn: asyncio.Event = field(default_factory=asyncio.Event)


class Session:
    """One side, until the byte stream ends.

    Args:
        ends: the byte stream.
        mux: a fresh one.
        accept: called for each stream that the other side opens; it may raise to end all.
    """

    def __init__(self, ends: Ends, mux: Mux, accept: Accept | None = None) -> None:
        self._reader, self._writer = ends
        self._mux = mux
        self._accept = accept
        self._work = asyncio.Event()
        self._work.set()
        self._carried: dict[int, _Carried] = {}
        self._group: asyncio.TaskGroup | None = None
        self._over = False
        self._begun = asyncio.Event()

    async def ready(self) -> None:
        """Until streams can be opened."""
        await self._begun.wait()

    async def run(self) -> None:
        """Carry until the other side is gone; all streams are torn off then.

        Raises:
            MessageError: the other side broke the protocol, or what `accept` raised.
        """
        try:
            with one_error():
                async with asyncio.TaskGroup() as group:
                    self._group = group
                    self._begun.set()
                    writing = group.create_task(self._write())
                    await self._read()
                    self._over = True
                    writing.cancel()
                    for carried in self._carried.values():
                        carried.torn.set()
        finally:
            self._over = True
            tear(self._writer)

    async def open(self, service: str) -> Ends:
        """A stream to a service of the other side.

        Raises:
            UnreachableError: `channel.gone`: the session is over.
            MessageError: `channel.streams`, `channel.service`.
        """
        mine, theirs = await pair()
        try:
            if self._over or self._group is None:
                raise UnreachableError("the channel to the host is gone", code="channel.gone")
            # From here to its place among those that are carried at once: what the other side
            # answers may come as soon as it is asked, and would be nobody's.
            self._carry(self._mux.open(service), theirs)
        except BaseException:
            for _, writer in (mine, theirs):
                writer.close()
            raise
        self._work.set()
        return mine

    async def _read(self) -> None:
        try:
            while raw := await self._reader.read(BATCH):
                for event in self._mux.receive(raw):
                    await self._happened(event)
                self._work.set()
        except OSError:
            return

    async def _write(self) -> None:
        try:
            while True:
                await self._work.wait()
                self._work.clear()
                while made := self._mux.output(BATCH):
                    self._writer.write(made)
                    await self._writer.drain()
                    self._make_room()
                self._make_room()
        except OSError:
            return  # the reader sees the end

    def _make_room(self) -> None:
        for carried in self._carried.values():
            if not self._mux.pending(carried.number):
                carried.room.set()

    async def _happened(self, event: Event) -> None:
        if isinstance(event, Opened):
            ends = await self._accept(event.service) if self._accept else None
            if ends is None:
                self._mux.close(event.stream)
            else:
                self._carry(event.stream, ends)
            return
        carried = self._carried.get(event.stream)
        if carried is None:
            return
        match event:
            case Received():
                carried.came.append(event.data)
            case Ended():
                carried.ended = True
            case Closed():
                carried.ended = True
                if event.torn:
                    carried.torn.set()
        carried.news.set()

    def _carry(self, number: int, ends: Ends) -> None:
        if self._group is None:
            raise AssertionError("streams are opened while the session runs")
        carried = _Carried(number)
        self._carried[number] = carried
        task = self._group.create_task(self._carry_on(carried, ends))
        # Also of one that was cancelled before it began.
        task.add_done_callback(lambda _: ends[1].close())

    async def _carry_on(self, carried: _Carried, ends: Ends) -> None:
        reader, writer = ends
        whole = False
        try:
            async with asyncio.TaskGroup() as group:
                torn = group.create_task(carried.torn.wait())
                ways = {
                    group.create_task(self._outward(carried, reader)),
                    group.create_task(self._inward(carried, writer)),
                }
                both = group.create_task(_all(ways))
                either: set[asyncio.Task[Any]] = {both, torn}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                whole = both.done()
                for task in (both, torn, *ways):
                    task.cancel()
        except* OSError:
            whole = False
        finally:
            if whole:
                writer.close()
            else:
                self._mux.close(carried.number)
                self._work.set()
                tear(writer)
            del self._carried[carried.number]

    async def _outward(self, carried: _Carried, reader: asyncio.StreamReader) -> None:
        while piece := await reader.read(PIECE):
            carried.room.clear()
            self._mux.send(carried.number, piece)
            self._work.set()
            await carried.room.wait()
        self._mux.end(carried.number)
        self._work.set()

    async def _inward(self, carried: _Carried, writer: asyncio.StreamWriter) -> None:
        while True:
            while carried.came:
                piece = carried.came.popleft()
                writer.write(piece)
                await writer.drain()
                self._mux.consumed(carried.number, len(piece))
                self._work.set()
            if carried.ended:
                pumping.end(writer)
                return
            carried.news.clear()
            await carried.news.wait()


async def pair() -> tuple[Ends, Ends]:
    """Two ends that are connected with each other."""
    one, other = socket.socketpair()
    try:
        return await asyncio.open_connection(sock=one), await asyncio.open_connection(sock=other)
    except BaseException:
        one.close()
        other.close()
        raise


async def _all(tasks: set["asyncio.Task[None]"]) -> None:
    await asyncio.wait(tasks)
