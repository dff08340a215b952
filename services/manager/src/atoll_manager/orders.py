"""What operators want of this host (bucket `host_orders`), obeyed as it changes."""

import logging
from collections.abc import Callable
from contextlib import aclosing

from atoll.bus import Bus, KeyValue
from atoll.bus.kv import Entry
from atoll.errors import MessageError
from atoll.wire import schema, topology
from atoll.wire.hosts import HostOrder, HostState, HostWish

_log = logging.getLogger(__name__)


def host_state(wish: HostWish, busy: int) -> HostState:
    """What a host is while `busy` enclaves run on it."""
    if wish is HostWish.ACTIVE:
        return HostState.ACTIVE
    return HostState.DRAINING if busy else HostState.DRAINED


class HostOrders:
    """The newest order for one host; `wish` is what is in force."""

    def __init__(self, bus: Bus, host_id: str) -> None:
        self._kv = KeyValue(bus, topology.HOST_ORDERS)
        self._host_id = host_id
        self.wish = HostWish.ACTIVE

    async def read(self) -> None:
        """Look once, before any work is taken. Raises: UnreachableError."""
        self._take(await self._kv.get(self._host_id))

    async def follow(self, obey: Callable[[HostWish], None]) -> None:
        """Until cancelled; `obey` is called with each order, the one in force first."""
        async with aclosing(self._kv.watch(self._host_id)) as entries:
            async for entry in entries:
                self._take(entry)
                obey(self.wish)

    def _take(self, entry: Entry | None) -> None:
        if entry is None or entry.value is None:
            self.wish = HostWish.ACTIVE
            return
        try:
            self.wish = schema.decode(HostOrder, entry.value).wish
        except MessageError as error:
            # It stays as it was: an order that nobody can read is no order to work.
            _log.error("an order for this host cannot be read: %s", error.message)
