"""The port that services record through, and it on the bus."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final, Protocol

from atoll.audit.chain import Chain, digest
from atoll.audit.record import AuditEntry, AuditRecord, Outcome
from atoll.bus import Bus, last_message, publish
from atoll.errors import (
    AtollError,
    ConflictError,
    InputError,
    NotFoundError,
    RefusedError,
    UnreachableError,
)
from atoll.wire import schema, subjects, topology

_log = logging.getLogger(__name__)

_REFUSALS: Final = (InputError, NotFoundError, ConflictError, RefusedError)


class Audit(Protocol):
    """Where a service says what was done."""

    async def record(self, entry: AuditEntry) -> None:
        """Durable when this returns.

        Raises:
            RefusedError: `audit.unavailable`: it is not on record.
        """
        ...


class AuditWriter:
    """One chain of records on the bus; one for each run of a process.

    Args:
        writer: names the run, and no other: a subject token.
        clock: milliseconds since the epoch.
    """

    def __init__(self, bus: Bus, writer: str, clock: Callable[[], int]) -> None:
        self._bus = bus
        self._clock = clock
        self._chain = Chain(writer=writer)
        self._begun = False
        self._lock = asyncio.Lock()
        self._unsettled: AuditRecord | None = None
        self._unrecorded = 0

    async def record(self, entry: AuditEntry) -> None:
        """As `Audit.record`; records are stored one after another."""
        async with self._lock:
            try:
                await self._begin()
                await self._settle()
                record = self._chain.link(entry, time_ms=self._clock(), unrecorded=self._unrecorded)
                self._unsettled = record
                await self._settle()
            except AtollError as error:
                if self._unsettled is None:
                    self._unrecorded += 1
                raise RefusedError(
                    f"{entry.action.value} cannot be recorded: {error.message}",
                    code="audit.unavailable",
                    hint="the stream AUDIT is full or away; see docs/audit.md",
                ) from error

    async def _begin(self) -> None:
        if self._begun:
            return
        newest = await last_message(self._bus, topology.AUDIT.name, subjects.AUDIT.wildcard)
        if newest is not None:
            self._chain.previous = digest(newest.payload)
        self._begun = True

    async def _settle(self) -> None:
        """Have the stream take the record whose fate is open. It keeps its place in the chain
        until that is known, and its message id, by which the bus drops a second copy."""
        record = self._unsettled
        if record is None:
            return
        raw = schema.encode(record)
        try:
            await publish(
                self._bus,
                subjects.AUDIT.of(record.tenant, record.action.value),
                raw,
                msg_id=f"audit.{record.writer}.{record.seq}",
            )
        except UnreachableError:
            raise
        except AtollError:
            self._unsettled = None
            raise
        self._unsettled = None
        self._unrecorded = 0
        self._chain.took(raw)


@dataclass(slots=True)
class Act:
    """What is being done; whoever does it may say more of it."""

    entry: AuditEntry
    changed: bool = True
    """False: nothing came of it, and a user's act goes unrecorded."""

    def about(self, what: str) -> None:
        """Name the object, once it is known."""
        self.entry = replace(self.entry, object=what)


@asynccontextmanager
async def audited(audit: Audit, entry: AuditEntry, *, strict: bool) -> AsyncIterator[Act]:
    """Put what is done in this block on record.

    Args:
        strict: for operators' acts: `begun` is stored first, and if it cannot be, the block is
            not entered; then how it ended. Without: only what was done, afterwards, and a record
            that cannot be stored is logged and counted.

    Raises (before the block):
        RefusedError: `audit.unavailable`.
    """
    act = Act(entry)
    if strict:
        await audit.record(replace(entry, outcome=Outcome.BEGUN))
    try:
        yield act
    except AtollError as error:
        if strict:
            outcome = Outcome.REFUSED if isinstance(error, _REFUSALS) else Outcome.FAILED
            await _afterwards(audit, replace(act.entry, outcome=outcome, code=error.code))
        raise
    except Exception:
        if strict:
            failed = replace(act.entry, outcome=Outcome.FAILED, code="internal")
            await _afterwards(audit, failed)
        raise
    if strict or act.changed:
        await _afterwards(audit, replace(act.entry, outcome=Outcome.DONE))


async def _afterwards(audit: Audit, entry: AuditEntry) -> None:
    # It has happened: refusing now would only make the caller do it again.
    try:
        await audit.record(entry)
    except RefusedError as error:
        _log.error(
            "not on record: %s %s of %s by %s: %s",
            entry.action.value,
            entry.outcome.value,
            entry.object,
            entry.actor,
            error.message,
        )
