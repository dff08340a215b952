"""The job's state machine: every state with every input, and what no sequence may break."""

from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.wire import schema
from atoll.wire.messages import (
    EventType,
    JobRecord,
    JobState,
    OutboxKind,
    Reason,
    Report,
    ReportKind,
    Tee,
)
from atoll_gateway import core
from atoll_gateway.core import CancelRequested, DeadlinePassed, Input, Undeliverable
from support.gateway import NOW_MS

JOB: Final = "job-1"
ENCLAVE: Final = "enclave-1"


def new() -> JobRecord:
    return core.submitted(
        job_id=JOB,
        tee=Tee.SIMULATED,
        manifest_digest="ab" * 32,
        now_ms=NOW_MS,
        deadline_ms=60_000,
        traceparent="",
        trace_id=None,
    )


def report(
    kind: ReportKind, *, attempt: int = 1, enclave: str = ENCLAVE, code: str | None = None
) -> Report:
    return Report(
        job_id=JOB,
        attempt=attempt,
        kind=kind,
        enclave_id=enclave,
        host_id="host-1",
        evidence_digest="cd" * 32 if kind is ReportKind.ADMITTED else None,
        outcome_digest="0c" * 32 if kind is ReportKind.FINISHED else None,
        asset="iris.csv" if kind is ReportKind.RELEASE_REFUSED else None,
        reason=Reason(code=code, message="why") if code else None,
    )


INPUTS: Final[dict[str, Input]] = {
    "leased": report(ReportKind.LEASED),
    "leased2": report(ReportKind.LEASED, attempt=2, enclave="enclave-2"),
    "attesting": report(ReportKind.ATTESTING),
    "admitted": report(ReportKind.ADMITTED),
    "started": report(ReportKind.STARTED),
    "refused": report(ReportKind.RELEASE_REFUSED, code="release.signature"),
    "finished": report(ReportKind.FINISHED),
    "trapped": report(ReportKind.FINISHED, code="workload.trap"),
    "gave_up": report(ReportKind.GAVE_UP, code="enclave.boot"),
    "waited": report(ReportKind.GAVE_UP, code="release.timeout"),
    "lost": report(ReportKind.LOST, code="enclave.lost"),
    "cancel": CancelRequested(),
    "deadline": DeadlinePassed(),
}

# What comes out of each state under each input; "-": nothing, "=": an event and no
# change. The inputs are about attempt 1, except `leased2`. `retrying` is `submitted`
# after attempt 1 was lost. In `submitted` a report stands for its lease as well, which comes
# later or never: then there are two events.
TABLE: Final = """
state           leased    leased2   attesting admitted        started refused finished  trapped gave_up waited  lost      cancel    deadline
submitted       scheduled scheduled attesting awaiting_assets running scheduled completed failed failed  expired submitted cancelled expired
retrying        -         scheduled -         -               -       -       -         -       -       -       -         cancelled expired
scheduled       -         scheduled attesting awaiting_assets running =       completed failed  failed  expired submitted cancelled expired
attesting       -         scheduled -         awaiting_assets running =       completed failed  failed  expired submitted cancelled expired
awaiting_assets -         scheduled -         -               running =       completed failed  failed  expired submitted cancelled expired
running         -         scheduled -         -               -       =       completed failed  failed  expired submitted cancelled expired
completed       -         -         -         -               -       -       -         -       -       -       -         -         -
failed          -         -         -         -               -       -       -         -       -       -       -         -         -
cancelled       -         -         -         -               -       -       -         -       -       -       -         -         -
expired         -         -         -         -               -       -       -         -       -       -       -         -         -
"""  # noqa: E501 - a table

ALONE: Final = {"leased", "leased2", "cancel", "deadline"}
"""Inputs that need no lease before them."""

PATHS: Final[dict[str, tuple[str, ...]]] = {
    "submitted": (),
    "retrying": ("leased", "attesting", "lost"),
    "scheduled": ("leased",),
    "attesting": ("leased", "attesting"),
    "awaiting_assets": ("leased", "attesting", "admitted"),
    "running": ("leased", "attesting", "admitted", "started"),
    "completed": ("leased", "finished"),
    "failed": ("leased", "trapped"),
    "cancelled": ("leased", "cancel"),
    "expired": ("leased", "deadline"),
}


def rows() -> list[tuple[str, str, str]]:
    head, *lines = TABLE.strip().splitlines()
    names = head.split()[1:]
    return [
        (line.split()[0], name, result)
        for line in lines
        for name, result in zip(names, line.split()[1:], strict=True)
    ]


def reach(state: str) -> JobRecord:
    record = new()
    for name in PATHS[state]:
        after = core.apply(record, INPUTS[name], now_ms=NOW_MS)
        assert after is not None
        record = after
    return record


def test_the_table_has_every_state_and_every_kind_of_input() -> None:
    assert {state for state, _, _ in rows()} - {"retrying"} == {state.value for state in JobState}
    kinds = {item.kind for item in INPUTS.values() if isinstance(item, Report)}
    assert kinds == set(ReportKind)
    assert {name for _, name, _ in rows()} == set(INPUTS)


@pytest.mark.parametrize(("state", "name", "result"), rows())
def test_every_state_takes_every_input_as_the_table_says(
    state: str, name: str, result: str
) -> None:
    record = reach(state)
    after = core.apply(record, INPUTS[name], now_ms=NOW_MS + 5)
    if result == "-":
        assert after is None
        return
    assert after is not None
    assert after.view.state.value == (state if result == "=" else result)
    new = 2 if state == "submitted" and name not in ALONE else 1
    assert after.view.seq == record.view.seq + new
    assert after.outbox[:-new] == record.outbox
    event = after.outbox[-1].event
    assert event is not None
    assert (event.seq, event.state, event.time_ms) == (
        after.view.seq,
        after.view.state,
        NOW_MS + 5,
    )


@pytest.mark.parametrize("state", [state for state in PATHS if PATHS[state][:1] == ("leased",)])
@pytest.mark.parametrize("name", [name for name in INPUTS if isinstance(INPUTS[name], Report)])
def test_a_report_about_an_older_attempt_changes_nothing(state: str, name: str) -> None:
    record = reach(state)
    newer = core.apply(record, INPUTS["leased2"], now_ms=NOW_MS) or record
    item = INPUTS[name]
    assert isinstance(item, Report)
    if item.attempt == 1:
        after = core.apply(newer, item, now_ms=NOW_MS) or newer
        assert replace(after, holders=newer.holders) == newer


@pytest.mark.parametrize("state", [state for state in PATHS if PATHS[state][:1] == ("leased",)])
def test_an_enclave_that_may_have_keys_is_named_until_it_is_gone(state: str) -> None:
    record = reach(state)
    had_work = record.view.state in (JobState.AWAITING_ASSETS, JobState.RUNNING)
    newer = core.apply(record, INPUTS["leased2"], now_ms=NOW_MS) or record
    assert newer.holders == ((ENCLAVE,) if had_work else ())
    lost = core.apply(newer, INPUTS["lost"], now_ms=NOW_MS)
    assert (lost is not None) == had_work
    if lost is not None:
        assert lost == replace(newer, holders=()), "and that is all: no event"


def test_earlier_enclaves_are_named_until_a_later_one_is_admitted() -> None:
    record = reach("running")
    for attempt in (2, 3):
        leased = report(ReportKind.LEASED, attempt=attempt, enclave=f"enclave-{attempt}")
        record = core.apply(record, leased, now_ms=NOW_MS) or record
        assert record.holders == (ENCLAVE,), "the second one had no work yet"
    admitted = report(ReportKind.ADMITTED, attempt=3, enclave="enclave-3")
    record = core.apply(record, admitted, now_ms=NOW_MS) or record
    assert record.holders == (), "its manager waited until they were gone"
    leased = report(ReportKind.LEASED, attempt=4, enclave="enclave-4")
    record = core.apply(record, leased, now_ms=NOW_MS) or record
    assert record.holders == ("enclave-3",)


def test_an_enclave_that_was_handed_back_is_gone() -> None:
    lost = core.apply(reach("running"), INPUTS["lost"], now_ms=NOW_MS)
    assert lost is not None
    newer = core.apply(lost, INPUTS["leased2"], now_ms=NOW_MS)
    assert newer is not None
    assert newer.holders == ()


@pytest.mark.parametrize("kind", [kind for kind in ReportKind if kind is not ReportKind.LEASED])
def test_a_report_by_another_enclave_changes_nothing(kind: ReportKind) -> None:
    foreign = report(kind, enclave="enclave-9", code="x.y")
    assert core.apply(reach("running"), foreign, now_ms=NOW_MS) is None


def test_a_lease_on_another_spawn_request_changes_nothing() -> None:
    record = core.apply(new(), leased_on(7), now_ms=NOW_MS)
    assert record is not None
    assert record.spawn_seq == 7
    for double in (leased_on(8), leased_on(8, attempt=2), leased_on(8, attempt=3)):
        assert core.apply(record, double, now_ms=NOW_MS) is None
    again = core.apply(record, leased_on(7, attempt=2), now_ms=NOW_MS)
    assert again is not None
    assert (again.view.attempt, again.spawn_seq) == (2, 7)


def test_a_lease_that_comes_late_still_says_on_which_spawn_request_it_is() -> None:
    ahead = core.apply(new(), INPUTS["attesting"], now_ms=NOW_MS)
    assert ahead is not None
    known = core.apply(ahead, leased_on(7), now_ms=NOW_MS)
    assert known is not None
    assert (known.view, known.outbox, known.spawn_seq) == (ahead.view, ahead.outbox, 7)
    assert core.apply(known, leased_on(7), now_ms=NOW_MS) is None


def leased_on(spawn_seq: int, attempt: int = 1) -> Report:
    return replace(report(ReportKind.LEASED, attempt=attempt), spawn_seq=spawn_seq)


def test_a_completed_job_names_its_outcome() -> None:
    after = core.apply(reach("running"), INPUTS["finished"], now_ms=NOW_MS)
    assert after is not None
    event = after.outbox[-1].event
    assert event is not None
    assert after.view.outcome_digest == event.outcome_digest == "0c" * 32


def test_without_an_outcome_no_job_is_completed() -> None:
    bare = replace(report(ReportKind.FINISHED), outcome_digest=None)
    after = core.apply(reach("running"), bare, now_ms=NOW_MS)
    assert after is not None
    assert after.view.state is JobState.FAILED
    assert after.view.reason is not None
    assert after.view.reason.code == "outcome.missing"


def test_a_step_leaves_the_outbox_alone_and_says_what_must_follow() -> None:
    record = new()
    state, commands = core.step(record, INPUTS["leased"], now_ms=NOW_MS)
    assert state.outbox == record.outbox
    assert [item.event.seq for item in commands if item.event] == [2]
    assert core.step(state, INPUTS["leased"], now_ms=NOW_MS) == (state, ())


def test_a_new_job_has_one_event_and_wants_one_enclave() -> None:
    record = new()
    kinds = [item.kind for item in record.outbox]
    assert kinds == [OutboxKind.EVENT, OutboxKind.SPAWN]
    assert record.view.expires_ms == NOW_MS + 60_000


def test_a_new_attempt_keeps_nothing_of_the_one_before() -> None:
    after = core.apply(reach("running"), INPUTS["leased2"], now_ms=NOW_MS)
    assert after is not None
    assert (after.view.attempt, after.view.enclave_id) == (2, "enclave-2")
    assert after.view.evidence_digest is None


def test_the_evidence_digest_stays_while_the_attempt_runs() -> None:
    assert reach("running").view.evidence_digest == "cd" * 32


def test_time_never_runs_backwards() -> None:
    after = core.apply(new(), INPUTS["leased"], now_ms=NOW_MS - 1000)
    assert after is not None
    assert after.view.updated_ms == NOW_MS


def test_the_reason_of_the_end_is_kept() -> None:
    after = core.apply(reach("running"), INPUTS["trapped"], now_ms=NOW_MS)
    assert after is not None
    assert after.view.reason is not None
    assert after.view.reason.code == "workload.trap"


def test_a_flood_of_refused_releases_is_no_longer_heard() -> None:
    record = reach("awaiting_assets")
    for _ in range(2 * core.MAX_NOTICES):
        record = core.apply(record, INPUTS["refused"], now_ms=NOW_MS) or record
    assert record.view.seq == core.MAX_NOTICES + 1
    ended = core.apply(record, INPUTS["finished"], now_ms=NOW_MS)
    assert ended is not None
    assert ended.view.state is JobState.COMPLETED


reports = st.builds(
    Report,
    job_id=st.just(JOB),
    attempt=st.integers(0, 4),
    kind=st.sampled_from(ReportKind),
    enclave_id=st.sampled_from(["enclave-0", "enclave-1", "enclave-2"]),
    host_id=st.just("host-1"),
    evidence_digest=st.sampled_from([None, "ef" * 32]),
    outcome_digest=st.sampled_from([None, "0c" * 32]),
    spawn_seq=st.sampled_from([0, 7, 8]),
    reason=st.sampled_from(
        [None, Reason(code="x.y", message=""), Reason(code="job.deadline", message="")]
    ),
)
inputs = st.lists(
    st.one_of(reports, reports, reports, st.just(CancelRequested()), st.just(DeadlinePassed())),
    max_size=25,
)
CHANGES_NO_STATE: Final = {EventType.RELEASE_REFUSED}


def stands_for_its_lease(record: JobRecord, change: Input) -> bool:
    """Whether this report is the first that is heard of its attempt."""
    early = isinstance(change, Report) and change.attempt > record.view.attempt
    if not early or not isinstance(change, Report) or change.kind is ReportKind.LEASED:
        return False
    return change.kind is not ReportKind.RELEASE_REFUSED or record.view.seq < core.MAX_NOTICES


def test_a_lease_that_comes_after_its_reports_changes_nothing() -> None:
    """A gateway died with the lease in its hands; the bus repeats it when it is old news."""
    ahead = core.apply(new(), INPUTS["attesting"], now_ms=NOW_MS)
    assert ahead is not None
    kinds = [item.event.type for item in ahead.outbox if item.event is not None]
    assert kinds == [EventType.SUBMITTED, EventType.SCHEDULED, EventType.ATTESTING]
    assert core.apply(ahead, INPUTS["leased"], now_ms=NOW_MS) is None


@settings(max_examples=300, deadline=None)
@given(inputs, st.lists(st.integers(0, 2**41), min_size=25, max_size=25))
def test_no_sequence_of_inputs_breaks_the_invariants(
    sequence: list[Input], clocks: list[int]
) -> None:
    record = new()
    for change, now_ms in zip(sequence, clocks, strict=False):
        after = core.apply(record, change, now_ms=now_ms)
        if after is None:
            continue
        assert not record.view.state.terminal
        if after.view == record.view:
            assert after.outbox == record.outbox
            if after.holders == record.holders:
                # A lease that came after its enclave's first report says on what it is.
                assert (record.spawn_seq, bool(after.spawn_seq)) == (0, True)
            else:
                assert isinstance(change, Report)
                assert set(record.holders) - set(after.holders) == {change.enclave_id}
            record = after
            continue
        events_more = after.view.seq - record.view.seq
        assert events_more == (2 if stands_for_its_lease(record, change) else 1)
        assert after.view.attempt >= record.view.attempt
        if isinstance(change, Report):
            assert change.attempt == after.view.attempt
        assert len(after.outbox) == len(record.outbox) + events_more
        event = after.outbox[-1].event
        assert event is not None
        if events_more == 1:
            assert (event.type in CHANGES_NO_STATE) == (
                (after.view.state, after.view.attempt) == (record.view.state, record.view.attempt)
            )
        assert after.view.updated_ms >= record.view.updated_ms
        record = after
    events = [item.event for item in record.outbox if item.event is not None]
    assert [event.seq for event in events] == list(range(1, record.view.seq + 1))
    assert sum(event.state.terminal for event in events) == int(record.view.state.terminal)
    assert schema.decode(JobRecord, schema.encode(record)) == record


@pytest.mark.parametrize("state", PATHS)
def test_a_job_that_nobody_starts_any_more_ends_unless_it_has(state: str) -> None:
    record = reach(state)
    after = core.apply(record, Undeliverable(), now_ms=NOW_MS)
    if record.view.state.terminal:
        assert after is None
        return
    assert after is not None
    assert after.view.state is JobState.FAILED
    assert after.view.reason is not None
    assert after.view.reason.code == "job.undeliverable"
    assert after.view.seq == record.view.seq + 1
