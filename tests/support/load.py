"""Load on a bus whose servers fail, and the proof that nothing was lost or done twice.

    async with Load(connect_again) as load:
        await load.advance()            # some of everything has gone through
        ... kill something ...
        await load.advance()            # and again, so the bus serves
    await load.require_nothing_lost(bus)

Four kinds, on the streams of the topology: events published under message ids, one counter raised
by compare-and-set from several connections, work put into a queue and taken out of it, each piece
with an effect. Everything is tried again until it succeeds, as the services do, under the same id.
"""

import asyncio
import contextlib
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from types import TracebackType
from typing import Self

import pytest

from atoll.bus import Bus, Delivery, KeyValue, WorkQueue, connect, publish, read_stream
from atoll.bus.config import BusConfig
from atoll.bus.jetstream import api
from atoll.errors import ConflictError, NotFoundError, UnreachableError
from atoll.wire import subjects, topology
from atoll.wire.messages import Tee

WRITERS = 3
PACE_S = 0.01
"""Between two operations of one writer: the machine has other things to do."""
ADVANCE_S = 60.0
BACKLOG = 30
"""Pieces of work that may wait to be done."""
QUEUE = topology.spawn_consumer(Tee.SIMULATED)
COUNTER = "counter"
STREAMS = (
    topology.EVENTS.name,
    topology.SPAWN.name,
    f"KV_{topology.JOBS.name}",
    f"KV_{topology.OUTCOMES.name}",
)
"""Where the load goes."""


class Load:
    """Writers and workers on connections of their own, in a `async with` block."""

    def __init__(self, configs: list[BusConfig]) -> None:
        self._configs = configs
        self._stop = asyncio.Event()
        self._moved = asyncio.Event()
        self._context = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self._group = asyncio.TaskGroup()
        self.done: Counter[str] = Counter()
        """Operations that succeeded, by kind."""
        self.unreachable = 0
        """Attempts that did not."""
        self._published: list[str] = []
        self._work: list[str] = []
        self._worked: set[str] = set()
        self._raised = [0] * WRITERS
        self._workers: list[asyncio.Task[None]] = []
        self._buses: list[Bus] = []

    async def __aenter__(self) -> Self:
        await self._context.__aenter__()
        await self._group.__aenter__()
        for index in range(WRITERS):
            config = self._configs[index % len(self._configs)]
            bus = await self._context.enter_async_context(connect(config))
            self._buses.append(bus)
            for run in (self._publish, self._raise, self._order):
                self._tasks.append(self._group.create_task(run(bus, index)))
            self._workers.append(self._group.create_task(self._do(bus)))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        if kind is None:
            async with asyncio.timeout(ADVANCE_S):
                await asyncio.gather(*self._tasks)
                await self._until(lambda: len(self._worked) == len(self._work))
                await self._again(self._require_empty)
        for task in (*self._tasks, *self._workers):
            task.cancel()
        await self._group.__aexit__(kind, error, trace)
        await self._context.__aexit__(kind, error, trace)

    async def advance(self, count: int = 25) -> None:
        """Until `count` more of each kind have gone through."""
        goal = {kind: self.done[kind] + count for kind in ("events", "raised", "ordered", "worked")}
        try:
            async with asyncio.timeout(ADVANCE_S):
                await self._until(lambda: all(self.done[kind] >= goal[kind] for kind in goal))
        except TimeoutError:
            pytest.fail(f"the bus does not serve: {dict(self.done)}, want {goal}")

    async def require_nothing_lost(self, bus: Bus) -> None:
        """Read everything back, from a connection of any server."""
        stored = [
            message.headers["Nats-Msg-Id"]
            async for message in read_stream(bus, topology.EVENTS.name, subjects.HISTORY.wildcard)
        ]
        assert Counter(stored) == Counter(self._published)
        for index in range(WRITERS):
            mine = [name for name in stored if name.startswith(f"{index}-")]
            assert mine == sorted(mine, key=lambda name: int(name.partition("-")[2]))
        entry = await KeyValue(bus, topology.JOBS).get(COUNTER)
        assert entry is not None
        assert json.loads(entry.value or b"") == self._raised
        assert await KeyValue(bus, topology.OUTCOMES).keys() == sorted(self._work)
        queue = await api(bus, f"STREAM.INFO.{topology.SPAWN.name}")
        assert queue["state"]["messages"] == 0

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._moved.clear()
            await self._moved.wait()

    def _count(self, kind: str) -> None:
        self.done[kind] += 1
        self._moved.set()

    async def _publish(self, bus: Bus, index: int) -> None:
        async for number in self._numbers():
            name = f"{index}-{number}"
            self._published.append(name)
            subject = subjects.HISTORY.of("main", "job", f"load{index}", "submitted")
            await self._again(partial(publish, bus, subject, name.encode(), msg_id=name))
            self._count("events")

    async def _raise(self, bus: Bus, index: int) -> None:
        counters = KeyValue(bus, topology.JOBS)
        async for _ in self._numbers():
            self._raised[index] += 1
            await self._again(lambda: self._raise_once(counters, index))
            self._count("raised")

    async def _raise_once(self, counters: KeyValue, index: int) -> None:
        """Raise one's own number among those of all writers, unless an attempt that was not
        answered has done it."""
        lost: list[int] | None = None
        while True:
            entry = await counters.get(COUNTER)
            numbers = [0] * WRITERS if entry is None else json.loads(entry.value or b"")
            if numbers[index] == self._raised[index]:
                # What has been replaced since can no longer be recognised as ours.
                assert numbers != lost, "a compare-and-set that won said that it lost"
                return
            if numbers[index] < self._raised[index] - 1:
                # From a leader that does not know yet that it is none, or not yet all that the one
                # before acknowledged. If it is lost, nothing advances, and the end shows it.
                await asyncio.sleep(PACE_S)
                continue
            assert numbers[index] == self._raised[index] - 1, "raised twice"
            numbers[index] += 1
            value = json.dumps(numbers).encode()
            try:
                if entry is None:
                    await counters.create(COUNTER, value)
                else:
                    await counters.update(COUNTER, value, revision=entry.revision)
            except ConflictError:
                lost = numbers
            else:
                return

    async def _order(self, bus: Bus, index: int) -> None:
        async for number in self._numbers():
            await self._until(lambda: len(self._work) - len(self._worked) < BACKLOG)
            name = f"{index}-{number}"
            self._work.append(name)
            subject = subjects.SPAWN.of(Tee.SIMULATED.value)
            await self._again(partial(publish, bus, subject, name.encode(), msg_id=f"work-{name}"))
            self._count("ordered")

    async def _do(self, bus: Bus) -> None:
        effects = KeyValue(bus, topology.OUTCOMES)
        async with WorkQueue(bus, QUEUE) as queue:
            async for delivery in queue:
                name = delivery.payload.decode()
                with contextlib.suppress(ConflictError):  # done before, the ack was lost
                    await self._again(partial(effects.create, name, b"done"))
                await self._settle(delivery)
                self._worked.add(name)
                self._count("worked")

    async def _settle(self, delivery: Delivery) -> None:
        """Until it is acknowledged, or comes again: also when it does not after all, because the
        server had recorded it and the copy that was asked did not know."""
        while True:
            try:
                await delivery.ack()
            except UnreachableError as error:
                if error.code == "bus.ack_lost":
                    return
                await asyncio.sleep(PACE_S)
            else:
                return

    async def _require_empty(self) -> None:
        info = await api(self._buses[0], f"STREAM.INFO.{topology.SPAWN.name}")
        if info["state"]["messages"]:
            raise UnreachableError("work is acknowledged late", code="test.waiting")

    async def _numbers(self) -> AsyncIterator[int]:
        for number in itertools.count():
            if self._stop.is_set():
                return
            yield number
            await asyncio.sleep(PACE_S)

    async def _again(self, attempt: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await attempt()
            except (UnreachableError, NotFoundError):
                self.unreachable += 1
                await asyncio.sleep(0.05)
            else:
                return
