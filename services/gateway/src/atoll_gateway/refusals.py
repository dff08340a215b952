"""What holders of access tokens are refused, put on record without letting them fill the stream.

Of each token the first refusal goes on record at once; those of the hour after it are counted,
and one record tells of them. When the stream is a quarter full, none is recorded any more: the
rest belongs to acts, and operators' acts need it. Whoever shows no token that was ever one here
is nobody, and is in the log only.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from atoll.audit import Action, Audit, AuditEntry, Outcome
from atoll.bus import Bus
from atoll.bus.jetstream import api
from atoll.errors import AtollError
from atoll.wire import topology
from atoll_gateway.audited import Recorder
from atoll_gateway.caller import Caller

_log = logging.getLogger(__name__)

PERIOD_S: Final = 3600.0
LOOK_S: Final = 5.0
SHARE: Final = 4
"""The part of the stream beyond which no refusal is recorded is one in so many."""


@dataclass(slots=True)
class _Told:
    """Of one token."""

    due_s: float
    """When its next record may be."""
    count: int = 0
    """Refusals since its last record."""
    entry: AuditEntry | None = None
    """The newest of them."""


class Refusals:
    """Counts refusals, and records them in the background.

    Args:
        monotonic: seconds of a clock that never goes back.
        has_room: whether the stream has room for what is not an act.
    """

    def __init__(
        self,
        recorder: Recorder,
        *,
        monotonic: Callable[[], float],
        has_room: Callable[[], Awaitable[bool]],
    ) -> None:
        self._recorder = recorder
        self._audit: Audit = recorder.audit
        self._monotonic = monotonic
        self._has_room = has_room
        self._told: dict[str, _Told] = {}

    def note(self, caller: Caller, operation: str, code: str) -> None:
        """`caller`, who holds a token or held one, was refused `operation` with `code`."""
        told = self._told.setdefault(caller.actor, _Told(due_s=self._monotonic()))
        told.count += 1
        entry = self._recorder.entry(Action.REQUEST_REFUSED, caller, operation)
        told.entry = replace(entry, outcome=Outcome.REFUSED, code=code)

    async def run(self) -> None:
        """Record what is due, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.record_due()

    async def end(self, within_s: float) -> None:
        """Record all that was counted, if the bus takes it in this time."""
        try:
            async with asyncio.timeout(within_s):
                await self.record_due(ending=True)
        except TimeoutError:
            _log.warning("refusals of the last hour are not on record")

    async def record_due(self, *, ending: bool = False) -> None:
        """Record what is due; at the end of this process, all that was counted."""
        now = self._monotonic()
        due = [told for told in self._told.values() if told.count and (ending or told.due_s <= now)]
        try:
            if due and not await self._has_room():
                _log.warning("the audit is too full for refusals: %d tokens", len(due))
                return
            for told in due:
                await self._record(told, now)
        except AtollError as error:
            _log.warning("refusals are not on record yet: %s", error.code)
        idle = [key for key, told in self._told.items() if not told.count and told.due_s <= now]
        for key in idle:
            del self._told[key]

    async def _record(self, told: _Told, now: float) -> None:
        entry, count = told.entry, told.count
        if entry is None:
            return
        more = f" and {count - 1} more" if count > 1 else ""
        told.due_s = now + PERIOD_S
        await self._audit.record(replace(entry, object=f"{entry.object}{more}".strip()))
        told.count -= count


async def has_room(bus: Bus) -> bool:
    """Whether the audit's stream is less than its share full.

    Raises:
        AtollError: the bus does not say.
    """
    info = await api(bus, f"STREAM.INFO.{topology.AUDIT.name}")
    try:
        held, limit = int(info["state"]["bytes"]), int(info["config"]["max_bytes"])
    except (KeyError, TypeError, ValueError):
        return False
    return limit <= 0 or held * SHARE < limit
