"""Enclaves that are started before there is a job for them.

Such an enclave has loaded its code and waits; it has no job and no key. A job gets one that is
ready, or else one is started for it as ever. It serves that job and ends: none is ever used again,
so none sees two jobs, and so not two tenants.

There are at least `minimum` of them and, when more jobs came in the last minute, as many as those,
up to `maximum`; but never more than the host has room for beside its jobs. All are of the image
that would be started now: those of another one are ended, also when a job comes.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from atoll.errors import AtollError
from atoll_manager.drivers.driver import EnclaveSpec, RunningEnclave, WarmDriver, WarmEnclave

_log = logging.getLogger(__name__)

DEMAND_S: Final = 60.0
"""How long a job counts as demand."""
LOOK_S: Final = 5.0
"""How often surplus and age are looked at, when nothing happens."""
FAILED_S: Final = 10.0
"""How long nothing is prepared after that failed."""
NO_GRACE_S: Final = 0.0
"""A waiting enclave has nothing to erase."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmLimits:
    minimum: int
    maximum: int


def wanted(limits: WarmLimits, *, demand: int, room: int) -> int:
    """How many should wait, when so many jobs came of late and so many more have room."""
    return max(0, min(max(limits.minimum, demand), limits.maximum, room))


_Ready = tuple[WarmEnclave, bytes | None]
"""An enclave that waits, and the state of before it was started."""


class WarmPool:
    """A driver that has some enclaves ready.

    Args:
        driver: starts enclaves, and prepares them.
        state: of what would be started now; with another one, it may have another image.
        limits: how many to have ready.
        room: how many more jobs this host could start now; 0 when it is to take none.
        changed: is called when there are more or fewer.
    """

    def __init__(
        self,
        driver: WarmDriver,
        state: Callable[[], bytes],
        limits: WarmLimits,
        room: Callable[[], int],
        *,
        changed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._driver = driver
        self._state = state
        self._limits = limits
        self._room = room
        self._changed = changed
        self._clock = clock
        self._ready: deque[_Ready] = deque()
        self._preparing: asyncio.Event | None = None
        """Set when the one that is being prepared is ready, or not to be had."""
        self._came: deque[float] = deque()
        self._news = asyncio.Event()
        self._surplus_since: float | None = None

    @property
    def ready(self) -> int:
        """How many wait for a job."""
        return len(self._ready)

    def poke(self) -> None:
        """Look again: there is more room, or less."""
        self._news.set()

    async def start(self, spec: EnclaveSpec) -> RunningEnclave:
        """One that is ready, or a fresh one.

        Raises:
            RefusedError: `enclave.start`.
        """
        self._came.append(self._clock())
        self.poke()
        while (enclave := await self._next()) is not None:
            leased = False
            try:
                leased = await enclave.lease(spec)
            finally:
                if not leased:
                    await enclave.stop(NO_GRACE_S)
            if leased:
                return enclave
        return await self._driver.start(spec)

    async def run(self) -> None:
        """Keep enclaves ready until cancelled; then end those that are."""
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    self._news.clear()
                    await self._tend(group)
                    try:
                        async with asyncio.timeout(LOOK_S):
                            await self._news.wait()
                    except TimeoutError:
                        pass
        finally:
            while self._ready:
                enclave, _ = self._ready.popleft()
                await enclave.stop(NO_GRACE_S)

    async def _next(self) -> WarmEnclave | None:
        if not self._ready and self._preparing is not None:
            # It is ahead of one that would be started now, and takes the place of it.
            await self._preparing.wait()
        while self._ready:
            enclave, state = self._ready.popleft()
            self._changed()
            if state is not None and state == self._now():
                return enclave
            await enclave.stop(NO_GRACE_S)
        return None

    async def _tend(self, group: asyncio.TaskGroup) -> None:
        """End what is too many or of another image; prepare one, if there are too few."""
        for each in tuple(self._ready):
            if each[1] is None or each[1] != self._now():
                await self._end(each)
        if len(self._ready) <= self._wanted():
            self._surplus_since = None
        elif self._surplus_since is None:
            # Not at once: a job that has just claimed its room is about to take one.
            self._surplus_since = self._clock()
        elif self._clock() - self._surplus_since >= LOOK_S:
            await self._end(self._ready[0])
            self.poke()
        if len(self._ready) < self._wanted() and self._preparing is None:
            self._preparing = asyncio.Event()
            group.create_task(self._prepare(group, self._preparing))

    def _now(self) -> bytes | None:
        """The state, or None: it cannot be said, and is like no other."""
        try:
            return self._state()
        except AtollError as error:
            _log.warning("no enclave can be prepared: %s (%s)", error.message, error.code)
            return None

    def _wanted(self) -> int:
        since = self._clock() - DEMAND_S
        while self._came and self._came[0] < since:
            self._came.popleft()
        return wanted(self._limits, demand=len(self._came), room=self._room())

    async def _prepare(self, group: asyncio.TaskGroup, done: asyncio.Event) -> None:
        pause_s = 0.0
        state = self._now()
        try:
            enclave = await self._driver.prepare()
        except AtollError as error:
            _log.warning("no enclave can be prepared: %s (%s)", error.message, error.code)
            pause_s = FAILED_S
        else:
            self._ready.append((enclave, state))
            group.create_task(self._watch((enclave, state)))
            self._changed()
        finally:
            done.set()
        await asyncio.sleep(pause_s)
        self._preparing = None
        self.poke()

    async def _watch(self, each: _Ready) -> None:
        """Forget it when it ends while it waits."""
        status = await each[0].wait()
        if each in self._ready:
            _log.warning("enclave %s ended unused with status %d", each[0].enclave_id, status)
            await self._end(each)
            self.poke()

    async def _end(self, each: _Ready) -> None:
        """End one that waits; nothing, if a job has it by now."""
        if each in self._ready:
            self._ready.remove(each)
            self._changed()
            await each[0].stop(NO_GRACE_S)
