"""A service's part in the protocol level of its bus (ADR 17).

It first says what it speaks and then looks which level is in force, while whoever raises the
level first says so and then looks who speaks what: one of the two sees the other. It says so
again every few seconds, and takes up a level that was raised. One that does not speak the level
in force does not start; one that was away while it was raised stops.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Final

from atoll import version
from atoll.bus.connection import Bus
from atoll.bus.jetstream import api
from atoll.bus.kv import KeyValue
from atoll.errors import AtollError, ConfigError, ConflictError, NotFoundError
from atoll.wire import level, schema, topology
from atoll.wire.upgrade import IN_FORCE, Kind, LevelRecord, SpeakerRecord

_log = logging.getLogger(__name__)

PERIOD_S: Final = 5.0
LEAVE_S: Final = 2.0
MAX_MACHINE: Final = 255


async def in_force(bus: Bus) -> LevelRecord:
    """The level in force. A bus that no release with levels has provisioned has the first.

    Raises:
        UnreachableError: no answer.
        MessageError: the entry is none.
    """
    try:
        await api(bus, f"STREAM.INFO.KV_{topology.PROTOCOL.name}")
    except NotFoundError:
        return LevelRecord(level=1)
    entry = await KeyValue(bus, topology.PROTOCOL).get(IN_FORCE)
    if entry is None or entry.value is None:
        return LevelRecord(level=1)
    return schema.decode(LevelRecord, entry.value)


async def level_to_begin(bus: Bus) -> int:
    """The level that a bus has once it is provisioned: a new one the newest, one of a release
    without levels the first, any other its own.

    Raises:
        ConfigError: `protocol.too_old`, `protocol.too_new`: we do not speak it.
    """
    found = (await in_force(bus)).level
    level.require(found)
    try:
        await api(bus, f"STREAM.INFO.KV_{topology.JOBS.name}")
    except NotFoundError:
        return level.newest()
    return found


async def begin(bus: Bus, at: int) -> None:
    """Put the level `at` in force where none is."""
    record = schema.encode(LevelRecord(level=at))
    with contextlib.suppress(ConflictError):
        await KeyValue(bus, topology.PROTOCOL).create(IN_FORCE, record)


class Speaker:
    """One service. `join` before anything is read or written, then `run`, at last `leave`.

    Args:
        newest: the newest level that all it sees to speaks; now, not at its start.
    """

    def __init__(
        self,
        bus: Bus,
        kind: Kind,
        name: str,
        started_ms: int,
        newest: Callable[[], int] = level.newest,
    ) -> None:
        self._bus = bus
        self._kv = KeyValue(bus, topology.SPEAKERS)
        self._kind = kind
        self._name = name
        self._started_ms = started_ms
        self._newest = newest
        self.refused: ConfigError | None = None
        """Why this service may not go on; set before its stop event is."""

    async def join(self) -> None:
        """Say what we speak, and write the level in force.

        Raises:
            ConfigError: `protocol.too_old`, `protocol.too_new`; `protocol.not_provisioned`: a
                release without levels made this bus.
            UnreachableError: no bus.
        """
        try:
            await api(self._bus, f"STREAM.INFO.KV_{topology.SPEAKERS.name}")
        except NotFoundError as error:
            raise ConfigError(
                "this bus has no bucket `speakers`: it was not provisioned, or by an older release",
                code="protocol.not_provisioned",
                hint="run `atoll provision` of this release first; older services go on with it",
            ) from error
        await self._say()
        try:
            record = await in_force(self._bus)
            level.require(record.to_speak)
            level.write(record.level)
        except ConfigError:
            await self.leave()
            raise
        _log.info("protocol level %d is in force", record.level)
        await self._say()

    async def run(self, stop: asyncio.Event) -> None:
        """Say it again and follow the level until cancelled; set `stop` when we do not speak it.
        A lost beat is only logged, the next one follows."""
        while True:
            await asyncio.sleep(PERIOD_S)
            try:
                await self._follow()
                await self._say()
            except ConfigError as error:
                _log.error("%s; stopping", error.message)
                self.refused = error
                stop.set()
                return
            except AtollError as error:
                _log.warning("not told what is spoken here: %s", error.code)

    async def leave(self) -> None:
        """Take our word back, as far as the bus lets us: it expires anyway."""
        if not self._bus.connected:
            return
        try:
            async with asyncio.timeout(LEAVE_S):
                await self._kv.delete(self._record().key)
        except (AtollError, TimeoutError) as error:
            _log.warning("this service is listed until it expires: %r", error)

    async def _follow(self) -> None:
        found = (await in_force(self._bus)).level
        if found > level.written():
            level.write(found)
            _log.info("protocol level %d is in force from now on", found)

    async def _say(self) -> None:
        record = self._record()
        await self._kv.put(record.key, schema.encode(record))

    def _record(self) -> SpeakerRecord:
        return SpeakerRecord(
            kind=self._kind,
            name=self._name,
            machine=socket.gethostname()[:MAX_MACHINE],
            release=version.VERSION,
            started_ms=self._started_ms,
            oldest=level.OLDEST,
            newest=self._newest(),
            written=level.written(),
        )
