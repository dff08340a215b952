"""Bugs that the simulator must find, each planted in code that ships or in what calls it."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, Final
from unittest.mock import patch

from atoll.bus import publish
from atoll.client.connection import AtollClient
from atoll.wire import cloudevents, schema
from atoll.wire.messages import JobEvent, JobRecord, OutboxItem, Report, ReportKind
from atoll_agent.bus_ports import EnclaveBus
from atoll_gateway import core
from atoll_gateway.adapters import BusOutlet, KvJobs
from atoll_gateway.ledger import Ledger
from atoll_gateway.reports import ReportWorker
from atoll_gateway.sweeper import Sweeper
from atoll_manager import lease as leases
from atoll_manager import lease_terms as terms
from simulation import client
from simulation.manager import Attempt

Planted = Callable[[], AbstractContextManager[None]]


@contextmanager
def unfenced_ledger() -> Iterator[None]:
    """Takes every report for the current attempt's."""
    real = core.step

    def step(
        state: JobRecord, event: core.Input, *, now_ms: int
    ) -> tuple[JobRecord, tuple[OutboxItem, ...]]:
        view = state.view
        if isinstance(event, Report) and event.kind is not ReportKind.LEASED and view.enclave_id:
            event = replace(event, attempt=view.attempt, enclave_id=view.enclave_id)
        return real(state, event, now_ms=now_ms)

    with patch.object(core, "step", step):
        yield


@contextmanager
def terminal_state_left() -> Iterator[None]:
    """A cancellation that comes late still counts."""
    real = core.step

    def step(
        state: JobRecord, event: core.Input, *, now_ms: int
    ) -> tuple[JobRecord, tuple[OutboxItem, ...]]:
        if isinstance(event, core.CancelRequested):
            state = replace(state, view=replace(state.view, state=core._ORDER[0]))
        return real(state, event, now_ms=now_ms)

    with patch.object(core, "step", step):
        yield


@contextmanager
def outbox_cleared_unperformed() -> Iterator[None]:
    """Now and then the outbox is cleared first."""
    real = Ledger._perform

    async def perform(self: Ledger, record: JobRecord, revision: int) -> None:
        if record.view.seq % 3 == 0:
            await self._jobs.update(replace(record, outbox=()), revision)
        await real(self, record, revision)

    with patch.object(Ledger, "_perform", perform):
        yield


@contextmanager
def ack_before_effect() -> Iterator[None]:
    """A report is acknowledged before it is applied; now and then the gateway ends in between."""
    real = ReportWorker._handle

    async def handle(self: ReportWorker, delivery: Any) -> None:
        await delivery.ack()
        if delivery.stream_seq % 8:
            await real(self, delivery)

    with patch.object(ReportWorker, "_handle", handle):
        yield


@contextmanager
def lease_acked_at_once() -> Iterator[None]:
    """The spawn request is acknowledged when the job was taken, not when it has ended."""
    real = Attempt._carry_out

    async def carry_out(self: Attempt, command: Any, lease: leases.Lease) -> Any:
        if isinstance(command, terms.Tell) and command.kind is ReportKind.LEASED:
            await self.delivery.ack()
        return await real(self, command, lease)

    with patch.object(Attempt, "_carry_out", carry_out):
        yield


@contextmanager
def compare_and_set_ignored() -> Iterator[None]:
    """The ledger's entry is written whatever it holds by now."""

    async def update(self: KvJobs, record: JobRecord, revision: int) -> int:
        return await self._kv.put(record.view.job_id, schema.encode(record))

    with patch.object(KvJobs, "update", update):
        yield


@contextmanager
def events_without_ids() -> Iterator[None]:
    """An event is published without a look at the newest and without an id."""

    async def event(self: BusOutlet, event: JobEvent, record: JobRecord) -> None:
        headers, payload = cloudevents.binary(event, record.traceparent)
        subject = cloudevents.subject_of(event, record.view.tenant)
        await publish(self._bus, subject, payload, headers=headers)

    with patch.object(BusOutlet, "event", event):
        yield


@contextmanager
def spawn_published_last_of_all() -> Iterator[None]:
    """The spawn request is forgotten when the first performance of the outbox fails."""
    seen: set[str] = set()
    real = BusOutlet.spawn

    async def spawn(self: BusOutlet, record: JobRecord) -> None:
        if record.view.job_id not in seen:
            seen.add(record.view.job_id)
            await real(self, record)

    with patch.object(BusOutlet, "spawn", spawn):
        yield


@contextmanager
def nobody_sweeps() -> Iterator[None]:
    """What a crashed gateway left undone stays undone."""

    async def sweep(self: Sweeper) -> None:
        return

    with patch.object(Sweeper, "sweep", sweep):
        yield


@contextmanager
def last_delivery_handed_back() -> Iterator[None]:
    """There is always another attempt, one thinks."""
    with (
        patch.object(leases.Lease, "last", property(lambda _: False)),
        patch.object(leases, "MAX_ATTEMPTS", 1000),
    ):
        yield


@contextmanager
def keys_for_whoever_asked() -> Iterator[None]:
    """The owner goes by the event, not by what the job is now."""
    with patch.object(client, "require_waiting", lambda *_, **__: None):
        yield


@contextmanager
def any_outcome_taken() -> Iterator[None]:
    """The reader takes the first attempt's outcome, whichever the ledger names."""
    real = AtollClient.outcome

    async def outcome(
        self: AtollClient, job_id: str, attempt: int, *, digest: str | None = None
    ) -> Any:
        for earlier in range(1, attempt):
            try:
                return await real(self, job_id, earlier)
            except Exception:  # noqa: BLE001 (a planted bug)
                continue
        return await real(self, job_id, attempt, digest=digest)

    with patch.object(AtollClient, "outcome", outcome):
        yield


@contextmanager
def finished_before_stored() -> Iterator[None]:
    """The enclave reports its end, then stores what it made."""
    real = EnclaveBus.store_outcome

    async def store(self: EnclaveBus, results: dict[str, bytes], receipt: bytes) -> str:
        promised = await _digest(self, results, receipt)
        await self.report(ReportKind.FINISHED, outcome_digest=promised)
        return await real(self, results, receipt)

    async def _digest(self: EnclaveBus, results: dict[str, bytes], receipt: bytes) -> str:
        from atoll.wire.messages import OutcomeRecord

        record = OutcomeRecord(
            job_id=self._job_id, attempt=self._attempt, results=results, receipt=receipt
        )
        return hashlib.sha256(schema.encode(record)).hexdigest()

    with patch.object(EnclaveBus, "store_outcome", store):
        yield


@contextmanager
def doubles_not_told_apart() -> Iterator[None]:
    """A second spawn request for a job counts like the first."""
    real = leases.step

    def step(lease: leases.Lease, event: Any) -> leases.Step:
        if isinstance(event, terms.LedgerSays):
            event = terms.LedgerSays(replace(event.record, spawn_seq=0))
        return real(lease, event)

    def leased(record: JobRecord, report: Report, now_ms: int) -> JobRecord | None:
        same = report.attempt == record.view.attempt
        return None if same else core._lease(record, report, now_ms)

    with patch.object(leases, "step", step), patch.object(core, "_leased", leased):
        yield


@contextmanager
def attempts_not_told_apart() -> Iterator[None]:
    """The attempt is the delivery count, and another enclave in it is not noticed."""
    real = leases.step

    def step(lease: leases.Lease, event: Any) -> leases.Step:
        if isinstance(event, terms.LedgerSays):
            view = event.record.view
            if lease.phase is leases.Phase.ASKING:
                view = replace(view, attempt=0)
            elif view.attempt == lease.attempt:
                view = replace(view, enclave_id=None)
            event = terms.LedgerSays(replace(event.record, view=view))
        return real(lease, event)

    with patch.object(leases, "step", step):
        yield


@contextmanager
def holders_not_awaited() -> Iterator[None]:
    """Work is offered while an earlier enclave may have keys."""
    real = leases.step

    def step(lease: leases.Lease, event: Any) -> leases.Step:
        if isinstance(event, terms.LedgerSays):
            event = terms.LedgerSays(replace(event.record, holders=()))
        return real(lease, event)

    with patch.object(leases, "step", step):
        yield


@contextmanager
def handover_cut_short() -> Iterator[None]:
    """A second attempt waits, but not for as long as an enclave can outlive its manager."""
    with patch.object(leases, "HANDOVER_S", 0.5):
        yield


BUGS: Final[dict[str, Planted]] = {
    bug.__name__: bug
    for bug in (
        unfenced_ledger,
        terminal_state_left,
        outbox_cleared_unperformed,
        ack_before_effect,
        lease_acked_at_once,
        compare_and_set_ignored,
        events_without_ids,
        spawn_published_last_of_all,
        nobody_sweeps,
        last_delivery_handed_back,
        keys_for_whoever_asked,
        any_outcome_taken,
        finished_before_stored,
        doubles_not_told_apart,
        attempts_not_told_apart,
        holders_not_awaited,
        handover_cut_short,
    )
}
