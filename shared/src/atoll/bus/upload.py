"""Sending the chunks of one object, several at a time, and still stored in order.

Chunks have their order only by the order in which the stream stores them. On one
connection the server keeps our order; when an acknowledgement is missing, a later chunk
may have been stored without an earlier one. Then everything stops, what is stored
is read back (each chunk carries its index in a header), what lies out of order is erased,
and the rest of the window is sent one by one, each on condition that its predecessor is
the newest: a straggler that arrives after the reading back makes that condition fail.

An upload that another process left is taken up in the same way. What that one still had on
its way may arrive at any moment, so `settle` looks again when everything is sent; chunks that
arrived twice are the same bytes, whichever of them stays.
"""

import asyncio
import contextlib
import hashlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

from atoll.bus import jetstream
from atoll.bus.connection import RETRY_PAUSE_S, Bus
from atoll.bus.stream import Reading, read
from atoll.errors import AtollError, ConflictError, UnreachableError

CHUNK_SIZE: Final = 512 << 10

WINDOW: Final = 8
"""Chunks sent and not acknowledged: 4 MiB at the default size."""

ACK_TIMEOUT_S: Final = 10.0
PATIENCE_S: Final = 60.0
"""How long the server may be away before the upload fails."""

INDEX_HEADER: Final = "Atoll-Chunk"

Told = Callable[[int, int], None]
"""Hears how many bytes are stored now, and how many were before."""


@dataclass(slots=True)
class _Flight:
    index: int
    block: bytes
    task: asyncio.Task[AtollError | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What was stored of an object, before it has a name."""

    size: int
    chunks: int
    sha256: bytes = field(repr=False)


class Shelf(Protocol):
    """Where the chunks of one upload are stored."""

    async def prefix(self) -> tuple[int, int]:
        """How many are there in order, and the last one's sequence; erases others."""
        ...

    async def last(self) -> int:
        """The sequence of the newest one; 0: there is none."""
        ...


@dataclass(frozen=True, slots=True)
class StreamShelf:
    """One that is looked at directly."""

    bus: Bus
    stream: str
    subject: str

    async def prefix(self) -> tuple[int, int]:
        stored = last_seq = 0
        astray = []
        reading = Reading(stream=self.stream, filter=self.subject, headers_only=True)
        async for message in read(self.bus, reading):
            if message.headers.get(INDEX_HEADER) == str(stored):
                stored, last_seq = stored + 1, message.seq
            else:
                astray.append(message.seq)
        for seq in astray:
            await jetstream.erase(self.bus, self.stream, seq)
        return stored, last_seq

    async def last(self) -> int:
        newest = await jetstream.leaders_message(self.bus, self.stream, self.subject)
        return 0 if newest is None else newest.seq


class Upload:
    """Chunks on one subject. `group` owns the tasks; `send` and `finish` raise."""

    def __init__(self, bus: Bus, subject: str, shelf: Shelf, group: asyncio.TaskGroup) -> None:
        self._bus, self._subject, self._shelf, self._group = bus, subject, shelf, group
        self._flying: deque[_Flight] = deque()
        self.chunks = 0

    async def send(self, block: bytes) -> None:
        """Send the next chunk; waits while the window is full.

        Raises:
            UnreachableError: the server was away for 60 s, or lost what it acknowledged.
            AtollError: the server refused a chunk.
        """
        while len(self._flying) >= WINDOW:
            await self._settle_first()
        index = self.chunks
        self.chunks += 1
        task = self._group.create_task(self._publish(index, block))
        self._flying.append(_Flight(index, block, task))

    async def finish(self) -> None:
        """Return when every chunk is stored; raises as `send`."""
        while self._flying:
            await self._settle_first()

    async def resume(self) -> int:
        """Go on behind the chunks that are stored in order already; how many those are.

        Call it before the first `send`.
        """
        self.chunks, _ = await self._shelf.prefix()
        return self.chunks

    async def settle(self) -> None:
        """Return when exactly the chunks that were sent are stored, each once and in order.

        Call it after `finish`.

        Raises:
            UnreachableError: `bus.data_lost`.
        """
        stored, _ = await self._shelf.prefix()
        if stored != self.chunks:
            raise UnreachableError(
                f"{self._subject}: {stored} chunks are stored, of {self.chunks} that were sent",
                code="bus.data_lost",
            )

    @property
    def acknowledged(self) -> int:
        """How many chunks are known to be stored."""
        return self.chunks - len(self._flying)

    async def _settle_first(self) -> None:
        error = await self._flying[0].task
        if error is None:
            self._flying.popleft()
        elif isinstance(error, UnreachableError):
            await self._recover(error)
        else:
            raise error

    async def _publish(
        self, index: int, block: bytes, after_seq: int | None = None
    ) -> AtollError | None:
        headers = {INDEX_HEADER: str(index)}
        if after_seq is not None:
            headers["Nats-Expected-Last-Subject-Sequence"] = str(after_seq)
        try:
            reply = await self._bus.call(
                self._subject, block, headers=headers, timeout_s=ACK_TIMEOUT_S
            )
            jetstream.pub_ack(reply, self._subject)
        except AtollError as error:
            return error
        return None

    async def _recover(self, cause: AtollError) -> None:
        await asyncio.wait([flight.task for flight in self._flying])
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE_S
        while True:
            trouble = await self._resend()
            if trouble is None:
                return
            if not isinstance(trouble, UnreachableError | ConflictError):
                raise trouble
            if loop.time() > deadline and trouble.code == "bus.data_lost":
                raise trouble
            if loop.time() > deadline:
                raise UnreachableError(
                    f"{self._subject}: server away for {PATIENCE_S:g} s", code="bus.unreachable"
                ) from cause
            await asyncio.sleep(RETRY_PAUSE_S)

    async def _resend(self) -> AtollError | None:
        try:
            stored, last_seq = await self._shelf.prefix()
        except UnreachableError as error:
            return error
        if stored < self._flying[0].index:
            lost = UnreachableError(
                f"{self._subject}: the server lost chunk {stored}, which it had acknowledged",
                code="bus.data_lost",
            )
            if self._bus.clustered:
                return lost  # or a replica answered that does not have it yet: ask again
            raise lost
        while self._flying and self._flying[0].index < stored:
            self._flying.popleft()
        while self._flying:
            flight = self._flying[0]
            trouble = await self._publish(flight.index, flight.block, last_seq)
            if trouble is not None:
                return trouble
            last_seq = await self._shelf.last()
            self._flying.popleft()
        return None


async def send_all(
    bus: Bus,
    subject: str,
    shelf: Shelf,
    chunks: AsyncIterable[bytes] | Iterable[bytes],
    *,
    chunk_size: int = CHUNK_SIZE,
    resumable: bool = False,
    told: Told | None = None,
) -> Sent:
    """Store all of an object that is not stored yet; what fails leaves the rest where it is.

    Args:
        bus: the connection.
        subject: of the chunks.
        shelf: where they are stored.
        chunks: pieces of any size.
        chunk_size: of what is stored.
        resumable: some of it may be stored already, and is not sent again.
        told: called with the bytes that are stored now, and that were before.

    Raises:
        UnreachableError: the server was away for 60 s; `bus.data_lost`.
        RefusedError: `bus.full`.
    """
    digest, size, index = hashlib.sha256(), 0, 0
    async with _own_errors(), asyncio.TaskGroup() as group:
        upload = Upload(bus, subject, shelf, group)
        stored = await upload.resume() if resumable else 0
        async with contextlib.aclosing(_blocks(chunks, chunk_size)) as blocks:
            async for block in blocks:
                digest.update(block)
                size += len(block)
                if index < stored:
                    # Nothing to wait for; others need their turn all the same.
                    await asyncio.sleep(0)
                else:
                    await upload.send(block)
                index += 1
                if told is not None:
                    now = min(upload.acknowledged * chunk_size, size)
                    told(now, min(stored * chunk_size, now))
        if index < stored:
            raise UnreachableError(
                f"{subject}: {stored} chunks are stored, and it has {index}",
                code="bus.data_lost",
            )
        await upload.finish()
        if resumable:
            await upload.settle()
    return Sent(size=size, chunks=upload.chunks, sha256=digest.digest())


async def _blocks(
    chunks: AsyncIterable[bytes] | Iterable[bytes], size: int
) -> AsyncGenerator[bytes, None]:
    """The same bytes in blocks of `size`, the last one shorter."""
    buffer = bytearray()
    async for piece in _each(chunks):
        if not buffer and len(piece) == size:
            yield bytes(piece)
            continue
        buffer += piece
        start = 0
        while len(buffer) - start >= size:
            yield bytes(memoryview(buffer)[start : start + size])
            start += size
        del buffer[:start]
    if buffer:
        yield bytes(buffer)


async def _each(chunks: AsyncIterable[bytes] | Iterable[bytes]) -> AsyncIterator[bytes]:
    if isinstance(chunks, AsyncIterable):
        async for piece in chunks:
            yield piece
    else:
        for piece in chunks:
            yield piece


@contextlib.asynccontextmanager
async def _own_errors() -> AsyncIterator[None]:
    """A task group wraps what its body raises; callers want the error itself."""
    try:
        yield
    except BaseExceptionGroup as group:
        if len(group.exceptions) == 1:
            raise group.exceptions[0] from None
        raise
