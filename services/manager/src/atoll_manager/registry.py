"""This host in the registry (bucket `hosts`): its lease on its id, renewed every few seconds.

The lease is the entry. It is taken and renewed by compare-and-set, and the bus removes
it when it was not renewed for the bucket's time-to-live. Who holds it is the data
directory's instance: a manager that was killed and comes back on the same directory is the
same host; one on another directory is not, whatever it is called.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from atoll.bus import Bus, KeyValue
from atoll.errors import AtollError, ConflictError, MessageError, RefusedError
from atoll.wire import schema, topology
from atoll.wire.hosts import HostRecord

_log = logging.getLogger(__name__)

PERIOD_S = 5.0
WITHDRAW_S = 2.0


class HostRegistry:
    """One host's entry. `claim` first; only one of its methods at a time, but for `poke`."""

    def __init__(self, bus: Bus, describe: Callable[[], HostRecord]) -> None:
        self._kv = KeyValue(bus, topology.HOSTS)
        self._describe = describe
        self._revision: int | None = None
        self._news = asyncio.Event()

    async def claim(self) -> None:
        """Take the lease on this host's id.

        Raises:
            RefusedError: `host.identity_in_use`: another manager holds it.
            UnreachableError: no bus.
        """
        record = self._describe()
        holder = await self._set(record)
        if holder is not None:
            raise RefusedError(
                f"host id {record.host_id} is in use {_by(holder)}",
                code="host.identity_in_use",
                hint=f"give this host another id, or stop that manager and wait "
                f"{topology.HOSTS.ttl_s:g} s",
            )

    async def run(self) -> None:
        """Renew until cancelled; a lost heartbeat is only logged, the next one follows.

        Raises:
            RefusedError: `host.identity_lost`: the lease ran out and another manager took it.
        """
        while True:
            try:
                async with asyncio.timeout(PERIOD_S):
                    await self._news.wait()
            except TimeoutError:
                pass
            self._news.clear()
            try:
                record = self._describe()
                holder = await self._set(record)
            except AtollError as error:
                _log.warning("heartbeat lost: %s", error.code)
                continue
            if holder is not None:
                raise RefusedError(
                    f"host id {record.host_id} was taken while this manager was away, and is in "
                    f"use {_by(holder)}",
                    code="host.identity_lost",
                )

    def poke(self) -> None:
        """What is to be told has changed: tell it now."""
        self._news.set()

    async def withdraw(self) -> None:
        """Take this host off the list, as far as the bus lets us: it expires anyway."""
        try:
            async with asyncio.timeout(WITHDRAW_S):
                await self._kv.delete(self._describe().host_id, revision=self._revision)
        except ConflictError:
            return  # it is another's
        except (AtollError, TimeoutError) as error:
            _log.warning("this host stays listed until it expires: %r", error)

    async def _set(self, record: HostRecord) -> HostRecord | None:
        """Write the entry if it is ours or nobody's; else who holds it."""
        raw = schema.encode(record)
        while True:
            try:
                if self._revision is None:
                    self._revision = await self._kv.create(record.host_id, raw)
                else:
                    self._revision = await self._kv.update(
                        record.host_id, raw, revision=self._revision
                    )
            except ConflictError:
                entry = await self._kv.get(record.host_id)
            else:
                return None
            if entry is None or entry.value is None:
                self._revision = None  # it expired
                continue
            try:
                holder = schema.decode(HostRecord, entry.value)
            except MessageError:
                _log.warning("replacing an entry that is no host's")
            else:
                if holder.instance != record.instance:
                    return holder
            self._revision = entry.revision


def _by(holder: HostRecord) -> str:
    since = datetime.fromtimestamp(holder.started_ms / 1000, UTC)
    return f"by a manager on {holder.machine or 'another machine'} since {since:%Y-%m-%d %H:%M:%SZ}"
