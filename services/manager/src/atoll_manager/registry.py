"""Says every few seconds that this host lives and what it offers (bucket `hosts`)."""

import asyncio
import logging
from collections.abc import Callable

from atoll.bus import Bus, KeyValue
from atoll.errors import AtollError
from atoll.wire import schema, topology
from atoll.wire.messages import HostRecord

_log = logging.getLogger(__name__)

PERIOD_S = 5.0
WITHDRAW_S = 2.0


class HostRegistry:
    def __init__(self, bus: Bus, describe: Callable[[], HostRecord]) -> None:
        self._kv = KeyValue(bus, topology.HOSTS)
        self._describe = describe

    async def announce(self) -> None:
        """Raises: UnreachableError."""
        record = self._describe()
        await self._kv.put(record.host_id, schema.encode(record))

    async def run(self) -> None:
        """Until cancelled; a lost heartbeat is only logged, the next one follows."""
        while True:
            await asyncio.sleep(PERIOD_S)
            try:
                await self.announce()
            except AtollError as error:
                _log.warning("heartbeat lost: %s", error.code)

    async def withdraw(self) -> None:
        """Take this host off the list, as far as the bus lets us: it expires anyway."""
        try:
            async with asyncio.timeout(WITHDRAW_S):
                await self._kv.delete(self._describe().host_id)
        except (AtollError, TimeoutError) as error:
            _log.warning("this host stays listed until it expires: %r", error)
