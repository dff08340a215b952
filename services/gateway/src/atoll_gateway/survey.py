"""What only the bus knows, asked now and then for whoever watches a gateway's metrics."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from functools import partial
from typing import Any, Final

from atoll.bus import Bus
from atoll.bus.jetstream import api
from atoll.errors import AtollError, NotFoundError
from atoll.telemetry.metrics import table
from atoll.telemetry.metrics.metric import Meter
from atoll.telemetry.metrics.wiring import Exported
from atoll.wire import topology
from atoll.wire.hosts import HostRecord, HostState
from atoll.wire.messages import JobState
from atoll.wire.topology_types import Consumer
from atoll_gateway.hosts import living
from atoll_gateway.index import JobIndex
from atoll_gateway.ports import Clock

_log = logging.getLogger(__name__)

LOOK_S: Final = 15.0


class Survey:
    """Looks at streams, queues and hosts.

    Args:
        hosts: those that live.
        further: consumers of work queues beside those of the topology.
    """

    def __init__(
        self,
        bus: Bus,
        hosts: Callable[[], Awaitable[Iterable[HostRecord]]],
        further: Callable[[], Iterable[Consumer]],
        meter: Meter,
        clock: Clock,
    ) -> None:
        self._bus = bus
        self._hosts = hosts
        self._further = further
        self._meter = meter
        self._clock = clock

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.look()
            except AtollError as error:
                _log.warning("a look at the bus for the metrics failed: %s", error.code)
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Once.

        Raises:
            AtollError: the bus does not say; figures that it had said before stay.
        """
        await self._streams()
        await self._store()
        for queue in topology.QUEUES:
            await self._queue(queue.name)
        states = Counter(host.state for host in await self._hosts())
        for state in HostState:
            self._meter.put(table.HOSTS, states[state], state=state.value)
        self._meter.put(table.SURVEYED, self._clock() / 1000)

    async def _streams(self) -> None:
        for stream in topology.STREAMS:
            info = await api(self._bus, f"STREAM.INFO.{stream.name}")
            messages, held = number(info, "state", "messages"), number(info, "state", "bytes")
            limit = number(info, "config", "max_bytes")
            self._meter.put(table.STREAM_BYTES, held, stream=stream.name)
            if limit > 0:
                self._meter.put(table.STREAM_LIMIT, limit, stream=stream.name)
            if stream in topology.QUEUES:
                self._meter.put(table.QUEUE_MESSAGES, messages, queue=stream.name)
            elif stream is topology.DEAD:
                self._meter.put(table.DEAD_LETTERS, messages)

    async def _store(self) -> None:
        info = await api(self._bus, "INFO")
        self._meter.put(table.STORE_BYTES, number(info, "storage"))
        limit = number(info, "limits", "max_storage")
        if limit > 0:
            self._meter.put(table.STORE_LIMIT, limit)

    async def _queue(self, queue: str) -> None:
        _, known = topology.WORKERS[queue]
        of_classes = (each for each in self._further() if each.stream == queue)
        pending = held = repeated = 0
        for consumer in (*known, *of_classes):
            # A class of jobs that came and went has none any more.
            with contextlib.suppress(NotFoundError):
                info = await api(self._bus, f"CONSUMER.INFO.{queue}.{consumer.name}")
                pending += number(info, "num_pending")
                held += number(info, "num_ack_pending")
                repeated += number(info, "num_redelivered")
        self._meter.put(table.QUEUE_PENDING, pending, queue=queue)
        self._meter.put(table.QUEUE_HELD, held, queue=queue)
        self._meter.put(table.QUEUE_REPEATED, repeated, queue=queue)


def surveying(
    exported: Exported,
    bus: Bus,
    index: JobIndex,
    further: Callable[[], Iterable[Consumer]],
    clock: Clock,
) -> tuple[Coroutine[None, None, None], ...]:
    """What a gateway has to run for its metrics: nothing, if nobody can see them."""
    if not exported.on:
        return ()
    follow_index(exported.meter, index)
    return (Survey(bus, partial(living, bus), further, exported.meter, clock).run(),)


def follow_index(meter: Meter, index: JobIndex) -> None:
    """What a gateway knows of jobs without asking."""

    def count(state: JobState) -> Callable[[], float]:
        return lambda: float(index.count(state))

    for state in JobState:
        if not state.terminal:
            meter.follow(table.JOBS, count(state), state=state.value)
    meter.follow(table.OUTBOX, lambda: float(index.undone_count))


def number(info: Mapping[str, Any], *path: str) -> int:
    """A number in what the server says; 0 when it does not say it."""
    value: Any = info
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if type(value) is int else 0
