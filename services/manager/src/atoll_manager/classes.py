"""The queues that this host may take jobs from (bucket `spawn_classes`), as they come and go."""

import logging
from collections.abc import Callable, Iterable
from contextlib import aclosing

from atoll.bus import Bus, KeyValue
from atoll.bus.kv import Entry
from atoll.errors import AtollError, MessageError
from atoll.wire import schema, topology
from atoll.wire.placement import SpawnClass

_log = logging.getLogger(__name__)


class Classes:
    """By name, those of which this host could start a job if it were empty.

    Args:
        bus: the connection.
        can_start: whether this host could.
        plain: those that are there whatever stands in the bucket.
    """

    def __init__(
        self, bus: Bus, can_start: Callable[[SpawnClass], bool], plain: Iterable[SpawnClass]
    ) -> None:
        self._kv = KeyValue(bus, topology.SPAWN_CLASSES)
        self._can_start = can_start
        self.current = {each.consumer.name: each for each in plain if can_start(each)}

    async def follow(self, changed: Callable[[], None]) -> None:
        """Until cancelled; `changed` is called when one comes or goes."""
        async with aclosing(self._kv.watch()) as entries:
            async for entry in entries:
                if self._take(entry):
                    changed()

    def _take(self, entry: Entry) -> bool:
        found = _read(entry)
        if found is None or not self._can_start(found):
            return self.current.pop(entry.key, None) is not None
        new = entry.key not in self.current
        self.current[entry.key] = found
        return new


def _read(entry: Entry) -> SpawnClass | None:
    """The class of an entry; one under a name that is not its own is none."""
    if entry.value is None:
        return None
    try:
        found = schema.decode(SpawnClass, entry.value)
        if found.is_plain or found.consumer.name != entry.key:
            raise MessageError("it is the entry of another class")
    except AtollError as error:
        _log.error("the class %s of jobs cannot be read: %s", entry.key, error.message)
        return None
    return found
