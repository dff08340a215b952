"""The life of a job as a pure state machine.

    submitted -> scheduled -> attesting -> awaiting_assets -> running -> completed | failed
    any of these -> cancelled | expired | failed, and back to submitted when an enclave is lost

`step(state, event) -> (state, commands)`: the state is the ledger's entry, the commands are
what must happen on the bus because it changed. `apply` puts them into the entry's outbox, so
that one compare-and-set makes both durable; the shell performs the outbox afterwards, as often
as it takes.

Rules:

1. A terminal state is never left.
2. An event about an attempt older than the current one, or by another enclave, is ignored
   (fencing): an enclave that was given up can no longer change anything. Nor can a lease on
   another spawn request than the first that was leased: that one is a double.
3. Within an attempt the state only moves forward. Reports may arrive out of order or
   twice; a late one changes nothing. One that comes before its lease stands for it too.
4. Every change of state appends exactly one event, numbered without gaps. A refused
   key release is a notice: an event without a change of state.
5. A job is completed only with an outcome, and names its digest: readers take that one.
6. Who is overtaken while it may have keys is a holder, until its manager says that it is gone, or
   the next manager admits its enclave, for which it waited long enough (`atoll_manager.lease`).
"""

from dataclasses import dataclass, replace
from typing import Final, assert_never

from atoll.wire.access import DEFAULT_TENANT
from atoll.wire.messages import (
    EventType,
    JobEvent,
    JobRecord,
    JobState,
    JobView,
    OutboxItem,
    OutboxKind,
    Reason,
    Report,
    ReportKind,
    Tee,
)

EXPIRY_CODES: Final = frozenset({"job.deadline", "release.timeout"})
"""Reasons for which a job is `expired` rather than `failed`."""

MAX_NOTICES: Final = 64
"""Notices per job; beyond that a peer who floods them is no longer heard."""

_ORDER: Final = (
    JobState.SUBMITTED,
    JobState.SCHEDULED,
    JobState.ATTESTING,
    JobState.AWAITING_ASSETS,
    JobState.RUNNING,
)
_OFFERED: Final = frozenset({JobState.AWAITING_ASSETS, JobState.RUNNING})
"""Keys may be on their way to the enclave, or in it."""

MAX_HOLDERS: Final = 16
"""As many as an entry may name; there are fewer attempts than that."""

_RANK: Final = {state: rank for rank, state in enumerate(_ORDER)}


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """Its owner no longer wants the job."""


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """The manifest's deadline is over."""


@dataclass(frozen=True, slots=True)
class ConsentWithdrawn:
    """A party took its consent back. A job that has all its keys goes on."""

    party: str


@dataclass(frozen=True, slots=True)
class Undeliverable:
    """Its spawn request is a dead letter: nobody will start it any more."""


Input = Report | CancelRequested | DeadlinePassed | ConsentWithdrawn | Undeliverable


def submitted(
    *,
    job_id: str,
    tee: Tee,
    manifest_digest: str,
    now_ms: int,
    deadline_ms: int,
    traceparent: str,
    trace_id: str | None,
    tenant: str = DEFAULT_TENANT,
    guests: tuple[str, ...] = (),
) -> JobRecord:
    """The first entry of a job: one event and the wish for an enclave to be published."""
    view = JobView(
        job_id=job_id,
        state=JobState.SUBMITTED,
        tee=tee,
        manifest_digest=manifest_digest,
        attempt=0,
        seq=1,
        created_ms=now_ms,
        updated_ms=now_ms,
        expires_ms=now_ms + deadline_ms,
        trace_id=trace_id,
        tenant=tenant,
        guests=guests,
    )
    event = _event(view, EventType.SUBMITTED)
    outbox = (
        OutboxItem(kind=OutboxKind.EVENT, event=event),
        OutboxItem(kind=OutboxKind.SPAWN),
    )
    return JobRecord(view=view, traceparent=traceparent, outbox=outbox)


def step(
    state: JobRecord, event: Input, *, now_ms: int
) -> tuple[JobRecord, tuple[OutboxItem, ...]]:
    """The state after `event`, and what must follow from that, in this order.

    The outbox of `state` is what earlier steps wanted; it is neither looked at nor changed.
    """
    after = _next(replace(state, outbox=()), event, now_ms)
    if after is None:
        return state, ()
    return replace(after, outbox=state.outbox), after.outbox


def apply(record: JobRecord, change: Input, *, now_ms: int) -> JobRecord | None:
    """The entry after `change`, its consequences in the outbox; None if nothing changes."""
    after, commands = step(record, change, now_ms=now_ms)
    if after is record:
        return None
    return replace(after, outbox=(*after.outbox, *commands))


def _next(record: JobRecord, change: Input, now_ms: int) -> JobRecord | None:
    if record.view.state.terminal:
        return None
    match change:
        case CancelRequested():
            reason = Reason(code="job.cancelled", message="cancelled on request")
            return _end(record, JobState.CANCELLED, reason, now_ms)
        case DeadlinePassed():
            reason = Reason(code="job.deadline", message="not finished before its deadline")
            return _end(record, JobState.EXPIRED, reason, now_ms)
        case ConsentWithdrawn():
            if record.view.state is JobState.RUNNING:
                return None
            reason = Reason(
                code="consent.withdrawn", message=f"party {change.party} took its consent back"
            )
            return _end(record, JobState.CANCELLED, reason, now_ms)
        case Undeliverable():
            reason = Reason(
                code="job.undeliverable", message="no host took it to an end in all its attempts"
            )
            return _end(record, JobState.FAILED, reason, now_ms)
        case Report():
            if change.attempt < record.view.attempt:
                return _gone(record, change)
            return _report(record, change, now_ms)
        case _:
            assert_never(change)


def _gone(record: JobRecord, report: Report) -> JobRecord | None:
    """Of an older attempt nothing counts but that nothing is left of its enclave."""
    if report.kind is not ReportKind.LOST or report.enclave_id not in record.holders:
        return None
    left = tuple(one for one in record.holders if one != report.enclave_id)
    return replace(record, holders=left)


def _report(record: JobRecord, report: Report, now_ms: int) -> JobRecord | None:
    view = record.view
    if report.kind is ReportKind.LEASED:
        return _leased(record, report, now_ms)
    if report.attempt > view.attempt:
        # Its lease is on the way: a gateway died holding it, and the bus waits to repeat it.
        leased = _lease(record, report, now_ms)
        return _report(leased, report, now_ms) or leased
    if report.attempt != view.attempt or report.enclave_id != view.enclave_id:
        return None
    match report.kind:
        case ReportKind.ATTESTING:
            return _advance(record, JobState.ATTESTING, report, now_ms)
        case ReportKind.ADMITTED:
            return _admitted(record, report, now_ms)
        case ReportKind.STARTED:
            return _advance(record, JobState.RUNNING, report, now_ms)
        case ReportKind.RELEASE_REFUSED:
            return _notice(record, report, now_ms)
        case ReportKind.FINISHED | ReportKind.GAVE_UP:
            return _finish(record, report, now_ms)
        case ReportKind.LOST:
            return _retry(record, report, now_ms)
        case _:
            assert_never(report.kind)


def _finish(record: JobRecord, report: Report, now_ms: int) -> JobRecord:
    """The end by the word of the current attempt's enclave or manager."""
    reason = report.reason
    if report.kind is ReportKind.FINISHED:
        view = replace(record.view, outcome_digest=report.outcome_digest)
        record = replace(record, view=view)
        if reason is None:
            if report.outcome_digest is not None:
                return _end(record, JobState.COMPLETED, None, now_ms)
            reason = Reason(code="outcome.missing", message="the enclave stored no outcome")
    expired = reason is not None and reason.code in EXPIRY_CODES
    return _end(record, JobState.EXPIRED if expired else JobState.FAILED, reason, now_ms)


def _leased(record: JobRecord, report: Report, now_ms: int) -> JobRecord | None:
    if record.spawn_seq and report.spawn_seq and report.spawn_seq != record.spawn_seq:
        return None
    if report.attempt == record.view.attempt:
        return _identified(record, report)
    return _lease(record, report, now_ms)


def _lease(record: JobRecord, report: Report, now_ms: int) -> JobRecord:
    """A manager took the job: a new attempt, with nothing left of the one before."""
    before = record.view
    holders = record.holders
    if before.enclave_id is not None and before.state in _OFFERED:
        holders = (*holders, before.enclave_id)
    view = replace(
        record.view,
        state=JobState.SCHEDULED,
        attempt=report.attempt,
        enclave_id=report.enclave_id,
        host_id=report.host_id,
        evidence_digest=None,
        outcome_digest=None,
        reason=None,
    )
    leased = replace(
        record, spawn_seq=record.spawn_seq or report.spawn_seq, holders=holders[-MAX_HOLDERS:]
    )
    return _append(leased, view, EventType.SCHEDULED, now_ms)


def _admitted(record: JobRecord, report: Report, now_ms: int) -> JobRecord | None:
    after = _advance(record, JobState.AWAITING_ASSETS, report, now_ms)
    return None if after is None else replace(after, holders=())


def _identified(record: JobRecord, report: Report) -> JobRecord | None:
    """A lease that comes after its enclave's first report: now it is known on what it is."""
    if record.spawn_seq or not report.spawn_seq or report.enclave_id != record.view.enclave_id:
        return None
    return replace(record, spawn_seq=report.spawn_seq)


def _advance(record: JobRecord, state: JobState, report: Report, now_ms: int) -> JobRecord | None:
    if _RANK[state] <= _RANK[record.view.state]:
        return None
    digest = report.evidence_digest or record.view.evidence_digest
    host_id = record.view.host_id or report.host_id
    view = replace(record.view, state=state, evidence_digest=digest, host_id=host_id)
    return _append(record, view, EventType(state.value), now_ms)


def _retry(record: JobRecord, report: Report, now_ms: int) -> JobRecord | None:
    if record.view.state is JobState.SUBMITTED:
        return None
    view = replace(
        record.view, state=JobState.SUBMITTED, enclave_id=None, host_id=None, evidence_digest=None
    )
    return _append(record, view, EventType.RETRYING, now_ms, reason=report.reason)


def _notice(record: JobRecord, report: Report, now_ms: int) -> JobRecord | None:
    if record.view.seq > MAX_NOTICES:
        return None
    return _append(
        record,
        record.view,
        EventType.RELEASE_REFUSED,
        now_ms,
        reason=report.reason,
        asset=report.asset,
    )


def _end(record: JobRecord, state: JobState, reason: Reason | None, now_ms: int) -> JobRecord:
    view = replace(record.view, state=state, reason=reason)
    return _append(record, view, EventType(state.value), now_ms, reason=reason)


def _append(
    record: JobRecord,
    view: JobView,
    kind: EventType,
    now_ms: int,
    *,
    reason: Reason | None = None,
    asset: str | None = None,
) -> JobRecord:
    # Time never runs backwards within a job, whichever gateway's clock wrote last.
    numbered = replace(view, seq=view.seq + 1, updated_ms=max(now_ms, view.updated_ms))
    event = _event(numbered, kind, reason=reason, asset=asset)
    item = OutboxItem(kind=OutboxKind.EVENT, event=event)
    return replace(record, view=numbered, outbox=(*record.outbox, item))


def _event(
    view: JobView, kind: EventType, *, reason: Reason | None = None, asset: str | None = None
) -> JobEvent:
    return JobEvent(
        job_id=view.job_id,
        seq=view.seq,
        type=kind,
        state=view.state,
        attempt=view.attempt,
        time_ms=view.updated_ms,
        enclave_id=view.enclave_id,
        host_id=view.host_id,
        evidence_digest=view.evidence_digest,
        outcome_digest=view.outcome_digest,
        reason=reason,
        asset=asset,
    )
