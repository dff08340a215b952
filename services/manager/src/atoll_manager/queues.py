"""The work queues that a manager has open, one for each class that it takes jobs from."""

from collections.abc import Container
from types import TracebackType
from typing import Self

from atoll.bus import Bus, WorkQueue
from atoll.wire.topology_types import Consumer


class Queues:
    """Opened when first asked for, closed when unused or at the end, all by one task."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._open: dict[str, WorkQueue] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._open:
            _, queue = self._open.popitem()
            await queue.__aexit__(kind, error, trace)

    async def get(self, consumer: Consumer) -> WorkQueue:
        """The queue of this consumer."""
        if (found := self._open.get(consumer.name)) is not None:
            return found
        queue = WorkQueue(self._bus, consumer)
        await queue.__aenter__()
        self._open[consumer.name] = queue
        return queue

    async def close_unused(self, but: Container[str]) -> None:
        """Close those that hold nothing, but for the consumers of these names."""
        for name, queue in tuple(self._open.items()):
            if name not in but and queue.is_idle():
                del self._open[name]
                await queue.__aexit__(None, None, None)
