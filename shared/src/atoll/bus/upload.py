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
from collections import deque
from dataclasses import dataclass
from typing import Final

from atoll.bus import jetstream
from atoll.bus.connection import RETRY_PAUSE_S, Bus
from atoll.bus.stream import Reading, read
from atoll.errors import AtollError, ConflictError, UnreachableError

WINDOW: Final = 8
"""Chunks sent and not acknowledged: 4 MiB at the default size."""

ACK_TIMEOUT_S: Final = 10.0
PATIENCE_S: Final = 60.0
"""How long the server may be away before the upload fails."""

INDEX_HEADER: Final = "Atoll-Chunk"


@dataclass(slots=True)
class _Flight:
    index: int
    block: bytes
    task: asyncio.Task[AtollError | None]


class Upload:
    """Chunks on one subject. `group` owns the tasks; `send` and `finish` raise."""

    def __init__(self, bus: Bus, stream: str, subject: str, group: asyncio.TaskGroup) -> None:
        self._bus, self._stream, self._subject, self._group = bus, stream, subject, group
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
        self.chunks, _ = await self._prefix()
        return self.chunks

    async def settle(self) -> None:
        """Return when exactly the chunks that were sent are stored, each once and in order.

        Call it after `finish`.

        Raises:
            UnreachableError: `bus.data_lost`.
        """
        stored, _ = await self._prefix()
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
            stored, last_seq = await self._prefix()
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
            last = await jetstream.leaders_message(self._bus, self._stream, self._subject)
            last_seq = 0 if last is None else last.seq
            self._flying.popleft()
        return None

    async def _prefix(self) -> tuple[int, int]:
        """How many chunks are stored in order, and the last one's sequence; erases others."""
        stored = last_seq = 0
        astray = []
        reading = Reading(stream=self._stream, filter=self._subject, headers_only=True)
        async for message in read(self._bus, reading):
            if message.headers.get(INDEX_HEADER) == str(stored):
                stored, last_seq = stored + 1, message.seq
            else:
                astray.append(message.seq)
        for seq in astray:
            await jetstream.erase(self._bus, self._stream, seq)
        return stored, last_seq
