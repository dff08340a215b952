"""When this manager works: while it is wanted and its id is its own, until it is to stop."""

import asyncio
import logging
import signal

from atoll.errors import RefusedError
from atoll.wire.hosts import HostWish
from atoll_manager.orders import HostOrders
from atoll_manager.pool import SlotPool
from atoll_manager.registry import HostRegistry

_log = logging.getLogger(__name__)


class Duty:
    """Joins what others want of this host to its pool."""

    def __init__(
        self, pool: SlotPool, orders: HostOrders, registry: HostRegistry, stop: asyncio.Event
    ) -> None:
        self._pool = pool
        self._orders = orders
        self._registry = registry
        self._stop = stop
        self.lost: RefusedError | None = None
        """Why this manager may not go on; set before the stop event is."""
        self._act(orders.wish)

    async def obey(self) -> None:
        """Follow the operators' orders until cancelled."""
        await self._orders.follow(self._act)

    async def hold_identity(self) -> None:
        """Renew the lease until cancelled, or until it is lost: then stop the manager."""
        try:
            await self._registry.run()
        except RefusedError as error:
            if error.code != "host.identity_lost":
                raise
            _log.error("%s; ending what runs here", error.message)
            self.lost = error
            self._stop.set()

    async def lame_duck(self, seconds: float) -> None:
        """Let what runs go on for so long, but no longer than to its end or the next signal."""
        self._pool.pause()
        self._registry.poke()
        if seconds <= 0 or self.lost is not None:
            return
        again = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, again.set)
        _log.info("waiting up to %g s for %d jobs", seconds, self._pool.busy)
        waiting = [loop.create_task(again.wait()), loop.create_task(self._pool.idle())]
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()

    def _act(self, wish: HostWish) -> None:
        if wish is HostWish.ACTIVE and not self._stop.is_set():
            self._pool.resume()
        else:
            self._pool.pause()
        if wish is HostWish.DRAIN_NOW:
            self._pool.hand_back()
        self._registry.poke()
