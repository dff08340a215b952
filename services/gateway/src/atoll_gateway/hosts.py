"""Orders for hosts: written here, obeyed by the managers that watch them."""

import logging
from collections.abc import Callable

from atoll.bus import Bus, KeyValue
from atoll.errors import MessageError, NotFoundError
from atoll.wire import schema, topology
from atoll.wire.hosts import MAX_HOSTS, HostList, HostOrder, HostOrderRequest, HostRecord

_log = logging.getLogger(__name__)


async def living(bus: Bus) -> list[HostRecord]:
    """The hosts that have announced themselves in the last half minute."""
    found = []
    for entry in await KeyValue(bus, topology.HOSTS).entries():
        try:
            found.append(schema.decode(HostRecord, entry.value or b""))
        except MessageError as error:
            _log.error("host %s cannot be read: %s", entry.key, error.message)
    return found


class HostOrders:
    """Bucket `host_orders`, key: host id."""

    def __init__(self, bus: Bus, clock: Callable[[], int]) -> None:
        self._bus = bus
        self._hosts = KeyValue(bus, topology.HOSTS)
        self._orders = KeyValue(bus, topology.HOST_ORDERS)
        self._clock = clock

    async def list(self) -> HostList:
        """Those that live, by id."""
        found = sorted(await living(self._bus), key=lambda host: host.host_id)
        return HostList(hosts=tuple(found[:MAX_HOSTS]))

    async def order(self, request: HostOrderRequest) -> HostOrder:
        """Let an order stand until the next one.

        Raises:
            NotFoundError: `host.not_found`: no host of that id lives, or had an order before.
        """
        key = request.host_id
        if await self._hosts.get(key) is None and await self._orders.get(key) is None:
            raise NotFoundError(
                f"no host {key} is registered",
                code="host.not_found",
                hint="`atoll hosts list` names those that are",
            )
        order = HostOrder(
            host_id=key, wish=request.wish, since_ms=self._clock(), reason=request.reason
        )
        await self._orders.put(key, schema.encode(order))
        return order
