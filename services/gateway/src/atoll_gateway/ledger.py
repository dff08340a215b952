"""The ledger: applies inputs to jobs by compare-and-set, then performs the outbox.

Any number of gateways may do this at once for the same job. The order of a job's
events is kept because an entry's outbox is always performed from its first item, and
each item carries an id by which the bus drops repetitions.
"""

import logging
from dataclasses import replace
from typing import Final

from atoll.errors import ConflictError, NotFoundError, RefusedError
from atoll.telemetry.metrics import table
from atoll.telemetry.metrics.metric import OK, UNMETERED, Meter
from atoll.wire.messages import JobRecord, JobView, OutboxKind
from atoll_gateway import core
from atoll_gateway.ports import Clock, JobStore, Outlet

_log = logging.getLogger(__name__)

FULL: Final = "bus.full"

MAX_UNDONE: Final = 32
"""Outbox items beyond which no further input is applied before they are performed."""


class Ledger:
    def __init__(
        self, jobs: JobStore, outlet: Outlet, clock: Clock, meter: Meter = UNMETERED
    ) -> None:
        self._meter = meter
        self._jobs = jobs
        self._outlet = outlet
        self._clock = clock

    async def submit(self, record: JobRecord) -> tuple[JobView, bool]:
        """Make `record` durable and perform its outbox; the same job again is a repair.

        Once it is durable it is accepted: when the bus is too full for what follows from it,
        that is done when there is room.

        Returns:
            The job as it is, and whether this call made it.

        Raises:
            ConflictError: `job.idempotency`: the id stands for another manifest.
            RefusedError: `bus.full`: there is no such job.
        """
        created = True
        try:
            revision = await self._jobs.create(record)
        except (ConflictError, RefusedError) as error:
            if isinstance(error, RefusedError) and error.code != FULL:
                raise
            found = await self._jobs.get(record.view.job_id)
            if found is None:
                raise
            existing, revision = found
            if existing.view.manifest_digest != record.view.manifest_digest:
                raise ConflictError(
                    "this idempotency key was used for another manifest",
                    code="job.idempotency",
                    hint="use a fresh key for each new job",
                ) from None
            record, created = existing, False
        else:
            self._count(record.view)
        await self._perform_with_room(record, revision)
        return record.view, created

    async def get(self, job_id: str) -> JobView:
        """Raises: NotFoundError `job.not_found`."""
        found = await self._jobs.get(job_id)
        if found is None:
            raise NotFoundError(f"there is no job {job_id!r}", code="job.not_found")
        return found[0].view

    async def apply(self, job_id: str, change: core.Input) -> JobView:
        """Apply one input; returns when its consequences are on the bus, if it has room.

        Applying the same input again performs what a crash may have left undone.

        Raises:
            NotFoundError: `job.not_found`.
            RefusedError: `bus.full`: it was not applied.
        """
        while True:
            found = await self._jobs.get(job_id)
            if found is None:
                raise NotFoundError(f"there is no job {job_id!r}", code="job.not_found")
            record, revision = found
            if len(record.outbox) > MAX_UNDONE:
                # Never decide more than the entry has room to remember.
                await self._perform(record, revision)
                continue
            after = core.apply(record, change, now_ms=self._clock())
            if after is None:
                await self._perform_with_room(record, revision)
                return record.view
            try:
                revision = await self._jobs.update(after, revision)
            except ConflictError:
                continue
            if (after.view.state, after.view.attempt) != (record.view.state, record.view.attempt):
                self._count(after.view)
            await self._perform_with_room(after, revision)
            return after.view

    async def recover(self, job_id: str) -> None:
        """Perform what an entry still has in its outbox."""
        found = await self._jobs.get(job_id)
        if found is not None:
            await self._perform(*found)

    def _count(self, view: JobView) -> None:
        """A job came into the state that it is in, by a write of ours."""
        self._meter.count(table.JOB_CHANGES, state=view.state.value)
        if view.state.terminal:
            code = OK if view.reason is None else view.reason.code
            self._meter.count(table.JOBS_ENDED, state=view.state.value, code=code)

    async def _perform_with_room(self, record: JobRecord, revision: int) -> None:
        """`_perform`; what is durable is not undone for lack of room, the sweeper goes on."""
        try:
            await self._perform(record, revision)
        except RefusedError as error:
            if error.code != FULL:
                raise
            _log.warning("outbox of %s waits: %s", record.view.job_id, error)

    async def _perform(self, record: JobRecord, revision: int) -> None:
        if not record.outbox:
            return
        for item in record.outbox:
            if item.kind is OutboxKind.EVENT and item.event is not None:
                await self._outlet.event(item.event, record)
            elif item.kind is OutboxKind.SPAWN and not record.view.state.terminal:
                await self._outlet.spawn(record)
        try:
            await self._jobs.update(replace(record, outbox=()), revision)
        except ConflictError:
            # Somebody appended meanwhile and performs the whole outbox again; the
            # bus drops what it has seen.
            _log.debug("outbox of %s was taken over", record.view.job_id)
