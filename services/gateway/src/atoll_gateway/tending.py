"""Keeps the queues of jobs in order: repairs them, retires unused ones, clears what is over.

A gateway may die between any two steps of making a queue, and may retire one at the moment in
which a job comes to it. So every gateway also looks, now and then, at what the stream really
holds. All of it may be repeated, and done by several at once.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final

from atoll.bus import Bus, StreamMessage, publish
from atoll.bus import dead_letter as dead
from atoll.bus.dead_letter import Letter
from atoll.bus.jetstream import api, erase, message_after
from atoll.errors import AtollError, InputError
from atoll.wire import schema, subjects, topology
from atoll.wire.messages import JobRecord, SpawnRequest
from atoll.wire.placement import consumer_of
from atoll_gateway.placing import HOUR_MS, Placing
from atoll_gateway.ports import Clock, JobStore

_log = logging.getLogger(__name__)

LOOK_S: Final = 30.0
UNUSED_MS: Final = 24 * HOUR_MS
RETIRED_S: Final = 600.0
"""How long a retired consumer is kept after the last manager has asked it."""
OVERDUE_MS: Final = 60_000
"""A manager that has such a request settles it by then."""
MAX_LOOKED_AT: Final = 200
"""Requests of one queue in one look; the next look goes on after them."""
LOST: Final = "placement.unknown"


class Tending:
    """What one gateway does for all queues of jobs."""

    def __init__(self, bus: Bus, placing: Placing, jobs: JobStore, clock: Clock) -> None:
        self._bus = bus
        self._placing = placing
        self._jobs = jobs
        self._clock = clock
        self._place_in: dict[str, int] = {}
        """By subject: the number up to which it was looked through."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.look()
            except AtollError as error:
                _log.warning("a look at the queues of jobs failed: %s", error.code)

    async def look(self) -> None:
        """Once."""
        await self._repair()
        held = await self._subjects()
        await self._retire(held)
        known = {consumer.filter for consumer in self._placing.consumers()}
        for subject in held:
            if subject not in known and not _is_plain(subject):
                await self._find_homes(subject)
            else:
                await self._clear(subject)
        self._place_in = {each: place for each, place in self._place_in.items() if each in held}

    async def _repair(self) -> None:
        """Make the consumers that are told of and not there."""
        there = await _consumer_names(self._bus)
        for name, (place, _) in tuple(self._placing.known.items()):
            if name not in there:
                await self._placing.make(place)

    async def _subjects(self) -> frozenset[str]:
        """Where requests are, whatever becomes of them."""
        info = await api(self._bus, f"STREAM.INFO.{topology.SPAWN.name}", {"subjects_filter": ">"})
        state = info.get("state")
        found = state.get("subjects") if isinstance(state, dict) else None
        return frozenset(found) if isinstance(found, dict) else frozenset()

    async def _retire(self, held: frozenset[str]) -> None:
        now = self._clock()
        for name, (place, _) in tuple(self._placing.known.items()):
            if place.subject not in held and now - place.used_ms > UNUSED_MS:
                await self._placing.retire(name, idle_s=RETIRED_S)
                _log.info("no job has used %s for a day: retired", name)

    async def _find_homes(self, subject: str) -> None:
        """Nobody knows of this queue: make it known, or move what is in it where it belongs."""
        for _ in range(MAX_LOOKED_AT):
            message = await message_after(self._bus, topology.SPAWN.name, 1, subject)
            if message is None:
                return
            job = await self._job(message)
            if job is None:
                await self._bury(message)
                continue
            place = await self._placing.place(job)
            if place.subject == subject:
                return
            await publish(
                self._bus,
                place.subject,
                message.payload,
                msg_id=f"moved.{message.seq}",
                headers={
                    name: value for name, value in message.headers.items() if name == "traceparent"
                },
            )
            await erase(self._bus, topology.SPAWN.name, message.seq)

    async def _clear(self, subject: str) -> None:
        """Erase requests whose jobs are over, which no host may ever take."""
        place = self._place_in.get(subject, 0)
        for _ in range(MAX_LOOKED_AT):
            message = await message_after(self._bus, topology.SPAWN.name, place + 1, subject)
            if message is None:
                self._place_in.pop(subject, None)  # from the start again
                return
            self._place_in[subject] = place = message.seq
            if self._is_overdue(message):
                job = await self._job(message)
                if job is not None and job.view.state.terminal:
                    await erase(self._bus, topology.SPAWN.name, message.seq)

    def _is_overdue(self, message: StreamMessage) -> bool:
        try:
            request = schema.decode(SpawnRequest, message.payload)
        except AtollError:
            return False  # whoever takes it buries it
        return request.expires_ms + OVERDUE_MS < self._clock()

    async def _job(self, message: StreamMessage) -> JobRecord | None:
        try:
            request = schema.decode(SpawnRequest, message.payload)
        except AtollError:
            return None
        found = await self._jobs.get(request.job_id)
        return None if found is None else found[0]

    async def _bury(self, message: StreamMessage) -> None:
        letter = Letter.about(
            message,
            stream=topology.SPAWN.name,
            code=LOST,
            text="in a queue that nobody knows, for a job that nobody knows",
            deliveries=0,
        )
        await dead.keep(self._bus, letter)
        await erase(self._bus, topology.SPAWN.name, message.seq)


def _is_plain(subject: str) -> bool:
    try:
        subjects.SPAWN.read(subject)
        consumer_of(subject)
    except InputError:
        return False
    return True


async def _consumer_names(bus: Bus) -> frozenset[str]:
    """Needs permission for `$JS.API.CONSUMER.NAMES.<stream>`."""
    found: set[str] = set()
    while True:
        page = await api(bus, f"CONSUMER.NAMES.{topology.SPAWN.name}", {"offset": len(found)})
        names = _names(page)
        found |= names
        total = page.get("total")
        if not names or type(total) is not int or len(found) >= total:
            return frozenset(found)


def _names(page: Mapping[str, Any]) -> set[str]:
    names = page.get("consumers")
    return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()
