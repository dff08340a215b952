"""The lease: every phase takes every event, and each way it can go ends in its settlement."""

import itertools
from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.wire.messages import (
    EvidenceRecord,
    JobState,
    Reason,
    Report,
    ReportKind,
    Tee,
)
from atoll.wire.topology import HANDOVER_S, MAX_ATTEMPTS
from atoll_gateway import core
from atoll_manager import lease as leases
from atoll_manager import lease_terms as terms
from atoll_manager import reasons
from atoll_manager.lease import Lease, Phase

TIMING: Final = leases.Timing(boot_timeout_s=20, stop_grace_s=3)
JOB, OURS = "job-1", "enclave-ours"
WHY: Final = Reason(code="bus.unreachable", message="gone")
GONE: Final = terms.Tell(ReportKind.LOST, reason=reasons.OVERTAKEN)
EVIDENCE: Final = EvidenceRecord(
    enclave_id=OURS, job_id=JOB, attempt=1, evidence=b"evidence", ear="ear"
)


def ledger(
    state: JobState = JobState.SUBMITTED,
    attempt: int = 0,
    enclave: str | None = None,
    spawn_seq: int = 0,
    code: str | None = None,
    *,
    holders: tuple[str, ...] = (),
) -> terms.LedgerSays:
    record = core.submitted(
        job_id=JOB,
        tee=Tee.SIMULATED,
        manifest_digest="ab" * 32,
        now_ms=1,
        deadline_ms=1,
        traceparent="",
        trace_id=None,
    )
    reason = Reason(code=code, message="") if code else None
    view = replace(record.view, state=state, attempt=attempt, enclave_id=enclave, reason=reason)
    return terms.LedgerSays(replace(record, view=view, spawn_seq=spawn_seq, holders=holders))


def begun(*, delivered: int = 1, is_last: bool = False) -> Lease:
    lease, commands = leases.begin(
        job_id=JOB,
        enclave_id=OURS,
        spawn_seq=7,
        delivered=delivered,
        is_last=is_last,
        timing=TIMING,
    )
    assert commands == (terms.AskLedger(),)
    return lease


def adopted(attempt: int = 1, *, delivered: int = 1) -> Lease:
    lease, commands = leases.begin(
        job_id=JOB,
        enclave_id=OURS,
        spawn_seq=7,
        delivered=delivered,
        is_last=False,
        timing=TIMING,
        adopted=attempt,
    )
    assert commands == (terms.AskLedger(),)
    return lease


def play(lease: Lease, *events: terms.Event) -> tuple[Lease, terms.Commands]:
    """After all of the events, and what the last one ordered."""
    commands: terms.Commands = ()
    for event in events:
        lease, commands = leases.step(lease, event)
    return lease, commands


SCHEDULED: Final = ledger(JobState.SCHEDULED, 1, OURS, 7)
HELD: Final = ledger(JobState.ATTESTING, 1, OURS, 7, holders=("earlier",))
TO: Final[dict[Phase, tuple[terms.Event, ...]]] = {
    Phase.ASKING: (),
    Phase.LEASING: (ledger(),),
    Phase.STARTING: (ledger(), terms.Done()),
    Phase.BOOTING: (ledger(), terms.Done(), terms.Done()),
}
TO[Phase.JUDGING] = (*TO[Phase.BOOTING], terms.EvidenceSeen(EVIDENCE))
TO[Phase.HOLDING] = (*TO[Phase.JUDGING], terms.Done())
TO[Phase.OFFERING] = (*TO[Phase.HOLDING], SCHEDULED)
TO[Phase.ADMITTING] = (*TO[Phase.OFFERING], terms.Done())
TO[Phase.WORKING] = (*TO[Phase.ADMITTING], terms.Done())
TO[Phase.FINISHING] = (*TO[Phase.WORKING], terms.Exited(0))
TO[Phase.LINGERING] = (*TO[Phase.WORKING], ledger(JobState.COMPLETED, 1, OURS, 7))
TO[Phase.STOPPING] = (*TO[Phase.WORKING], terms.Exited(1))
TO[Phase.TELLING] = (*TO[Phase.STOPPING], terms.Done())
TO[Phase.SETTLING] = (*TO[Phase.TELLING], terms.Done())
TO[Phase.OVER] = (*TO[Phase.SETTLING], terms.Done())
RUNNING: Final = [
    Phase.BOOTING,
    Phase.JUDGING,
    Phase.HOLDING,
    Phase.OFFERING,
    Phase.ADMITTING,
    Phase.WORKING,
    Phase.FINISHING,
]
EVENTS: Final = (
    terms.Done(),
    terms.Failed(WHY),
    terms.Failed(WHY, away=True),
    terms.Refused(WHY),
    terms.EvidenceSeen(EVIDENCE),
    terms.Exited(0),
    terms.Exited(1),
    terms.Exited(2),
    terms.TimedOut(),
    terms.StopAsked(),
    terms.WatchLost(WHY),
    SCHEDULED,
    HELD,
    ledger(JobState.COMPLETED, 1, OURS, 7),
    ledger(JobState.CANCELLED, 1, OURS, 7),
    ledger(JobState.SCHEDULED, 2, "other", 7),
    ledger(JobState.SCHEDULED, 1, "twin", 7),
    ledger(JobState.SCHEDULED, 1, "double", 9),
)


@pytest.mark.parametrize("phase", list(Phase))
def test_every_phase_is_reached_and_takes_every_event(phase: Phase) -> None:
    lease, _ = play(begun(), *TO[phase])
    assert lease.phase is phase
    for event in EVENTS:
        after, commands = leases.step(lease, event)
        slow = [one for one in commands if not isinstance(one, terms.SetTimer)]
        assert len(slow) <= 1, "one command is under way at a time"
        if phase is Phase.OVER:
            assert (after, commands) == (lease, ())
        if phase in (Phase.STARTING, Phase.STOPPING) and not isinstance(
            event, terms.Done | terms.Failed
        ):
            assert not slow, "starting and stopping are never abandoned"


def test_a_job_is_led_from_its_request_to_its_acknowledgement() -> None:
    lease, commands = play(begun(), ledger())
    assert commands == (terms.Tell(ReportKind.LEASED),)
    for event, ordered in (
        (terms.Done(), (terms.StartEnclave(),)),
        (terms.Done(), (terms.SetTimer(20), terms.Tell(ReportKind.ATTESTING))),
        (SCHEDULED, ()),
        (terms.EvidenceSeen(EVIDENCE), (terms.SetTimer(None), terms.Judge(EVIDENCE))),
        (terms.Done(), (terms.Offer(),)),
        (terms.Done(), (terms.Tell(ReportKind.ADMITTED, evidence=EVIDENCE),)),
        (terms.Done(), ()),
        (ledger(JobState.COMPLETED, 1, OURS, 7), (terms.SetTimer(3),)),
        (terms.Exited(0), (terms.SetTimer(None), terms.StopEnclave())),
        (terms.Done(), (terms.Ack(),)),
        (terms.Done(), ()),
    ):
        lease, commands = leases.step(lease, event)
        assert commands == ordered
    assert lease.phase is Phase.OVER


@pytest.mark.parametrize(
    ("delivered", "known", "attempt"), [(1, 0, 1), (2, 1, 2), (3, 0, 3), (1, 1, 2), (1, 3, 4)]
)
def test_an_attempt_is_above_all_that_the_ledger_knows(
    delivered: int, known: int, attempt: int
) -> None:
    """A server that was killed may have forgotten how often it delivered."""
    lease, _ = play(begun(delivered=delivered), ledger(JobState.SCHEDULED, known, "other", 7))
    assert (lease.attempt, lease.phase) == (attempt, Phase.LEASING)


@pytest.mark.parametrize("phase", RUNNING)
@pytest.mark.parametrize(
    "news", [ledger(JobState.SCHEDULED, 2, "other", 7), ledger(JobState.SCHEDULED, 1, "twin", 7)]
)
def test_who_is_overtaken_ends_its_enclave_and_says_that_it_is_gone(
    phase: Phase, news: terms.LedgerSays
) -> None:
    lease, commands = play(begun(), *TO[phase], news)
    assert commands == (terms.SetTimer(None), terms.StopEnclave())
    lease, commands = play(lease, terms.Done())
    assert commands == (GONE,)
    for event in (terms.Done(), terms.Failed(WHY), terms.Failed(WHY, away=True)):
        after, commands = play(lease, event)
        assert (after.phase, commands) == (Phase.OVER, ()), "the request is not its to settle"


@pytest.mark.parametrize("lease", ["begun", "adopted"])
def test_no_work_is_offered_while_an_earlier_enclave_may_have_keys(lease: str) -> None:
    first = begun() if lease == "begun" else adopted()
    before = TO[Phase.BOOTING] if lease == "begun" else (SCHEDULED,)
    admitted = (*before, HELD, terms.EvidenceSeen(EVIDENCE), terms.Done())
    held, commands = play(first, *admitted)
    assert (held.phase, commands) == (Phase.HOLDING, (terms.Hold(HANDOVER_S),))
    assert play(held, HELD) == (held, ()), "the time runs on"
    for event in (SCHEDULED, terms.Done()):
        after, commands = play(held, event)
        assert (after.phase, commands) == (Phase.OFFERING, (terms.Offer(),))


def test_no_work_is_offered_before_the_ledger_has_the_lease() -> None:
    """Until then nobody who was overtaken has heard of it."""
    known = ledger(JobState.RUNNING, 1, "earlier", 7)
    evidence = replace(EVIDENCE, attempt=2)
    lease, commands = play(
        begun(delivered=2), known, *[terms.Done()] * 2, terms.EvidenceSeen(evidence), terms.Done()
    )
    assert (lease.phase, commands) == (Phase.HOLDING, ())
    assert play(lease, known) == (lease, ()), "an older word of the ledger's"
    ours = ledger(JobState.ATTESTING, 2, OURS, 7, holders=("earlier",))
    assert play(lease, ours)[1] == (terms.Hold(HANDOVER_S),)


@pytest.mark.parametrize("phase", RUNNING)
def test_a_double_of_the_spawn_request_is_acknowledged(phase: Phase) -> None:
    lease, _ = play(begun(), *TO[phase], ledger(JobState.SCHEDULED, 1, "first", 6))
    assert play(lease, terms.Done())[1] == (terms.Ack(),)


def test_a_double_gets_no_enclave() -> None:
    assert play(begun(), ledger(JobState.RUNNING, 1, "first", 6))[1] == (terms.Ack(),)


@pytest.mark.parametrize("phase", RUNNING)
def test_a_job_that_is_cancelled_ends_its_enclave_at_once(phase: Phase) -> None:
    _, commands = play(begun(), *TO[phase], ledger(JobState.CANCELLED, 1, OURS, 7))
    assert terms.StopEnclave() in commands


def test_a_stop_while_the_enclave_starts_waits_for_it_and_stops_it() -> None:
    lease, commands = play(begun(), *TO[Phase.STARTING], terms.StopAsked())
    assert commands == ()
    lease, commands = play(lease, terms.Done())
    assert commands == (terms.StopEnclave(),)
    lease, commands = play(lease, terms.Done())
    assert commands[0] == terms.SetTimer(leases.HAND_BACK_S)
    assert isinstance(commands[1], terms.Tell)
    assert commands[1].kind is ReportKind.LOST
    assert play(lease, terms.TimedOut())[0].phase is Phase.OVER


def test_a_last_attempt_that_the_ledger_never_took_is_handed_back() -> None:
    """There was a twin, whose end nobody told; giving ours up would say nothing about the job."""
    lease, commands = play(begun(delivered=MAX_ATTEMPTS), *TO[Phase.BOOTING], terms.Exited(1))
    lease, commands = play(lease, terms.Done())
    assert isinstance(commands[0], terms.Tell)
    assert commands[0].kind is ReportKind.GAVE_UP
    assert isinstance(play(lease, terms.Done())[1][0], terms.Nak)


def test_the_last_attempt_is_given_up_and_said_until_the_bus_takes_it() -> None:
    ours = ledger(JobState.SCHEDULED, MAX_ATTEMPTS, OURS, 7)
    lease, commands = play(
        begun(delivered=MAX_ATTEMPTS), *TO[Phase.BOOTING], ours, terms.Exited(1), terms.Done()
    )
    assert isinstance(commands[0], terms.Tell)
    assert commands[0].kind is ReportKind.GAVE_UP
    for _ in range(3):
        lease, again = play(lease, terms.Failed(WHY, away=True))
        assert again == commands
    lease, commands = play(lease, terms.Done())
    assert commands == (terms.Ack(),)
    assert play(lease, terms.Failed(WHY, away=True))[1] == (terms.Ack(),)


def test_beyond_the_last_attempt_no_enclave_is_started() -> None:
    known = ledger(JobState.SUBMITTED, MAX_ATTEMPTS, None, 7)
    lease, commands = play(begun(delivered=MAX_ATTEMPTS + 1), known)
    assert lease.reason is not None
    assert commands == (terms.Tell(ReportKind.GAVE_UP, reason=lease.reason),)
    assert lease.reason.code == "job.attempts"


@pytest.mark.parametrize(
    "known",
    [ledger(), SCHEDULED, ledger(JobState.ATTESTING, 1, OURS, 7)],
    ids=["behind", "scheduled", "attesting"],
)
def test_an_adopted_enclave_that_has_no_work_yet_is_awaited_and_judged(
    known: terms.LedgerSays,
) -> None:
    lease, commands = play(adopted(), known)
    assert commands == (terms.SetTimer(20), terms.Tell(ReportKind.ATTESTING))
    assert (lease.phase, lease.attempt) == (Phase.BOOTING, 1)
    assert play(lease, terms.EvidenceSeen(EVIDENCE))[1][1] == terms.Judge(EVIDENCE)
    assert play(lease, terms.TimedOut())[1] == (terms.SetTimer(None), terms.StopEnclave())


@pytest.mark.parametrize("state", [JobState.AWAITING_ASSETS, JobState.RUNNING])
def test_an_adopted_enclave_that_has_its_work_is_neither_leased_nor_judged_again(
    state: JobState,
) -> None:
    lease, commands = play(adopted(2), ledger(state, 2, OURS, 7))
    assert (lease.phase, commands) == (Phase.WORKING, ())
    lease, commands = play(lease, terms.EvidenceSeen(EVIDENCE))
    assert (lease.phase, commands) == (Phase.WORKING, ())
    lease, _ = play(lease, terms.Exited(0), ledger(JobState.COMPLETED, 2, OURS, 7))
    assert play(lease, terms.Done())[1] == (terms.Ack(),)


@pytest.mark.parametrize(
    ("known", "settled"),
    [
        (ledger(JobState.SCHEDULED, 2, "other", 7), (GONE,)),
        (ledger(JobState.RUNNING, 1, "twin", 7), (GONE,)),
        (ledger(JobState.RUNNING, 1, "first", 6), (terms.Ack(),)),
        (ledger(JobState.CANCELLED, 1, OURS, 7), (terms.Ack(),)),
        (ledger(JobState.EXPIRED, 1, OURS, 7, "job.deadline"), (terms.Ack(),)),
        (ledger(JobState.COMPLETED, 2, "other", 7), (terms.Ack(),)),
    ],
    ids=["overtaken", "twin", "double", "cancelled", "expired", "done-elsewhere"],
)
def test_an_adopted_enclave_whose_job_is_over_or_elsewhere_is_stopped_before_anything(
    known: terms.LedgerSays, settled: terms.Commands
) -> None:
    lease, commands = play(adopted(), known)
    assert commands == (terms.SetTimer(None), terms.StopEnclave())
    assert play(lease, terms.Done())[1] == settled


def test_an_adopted_enclave_that_said_its_last_word_may_erase_by_itself() -> None:
    lease, commands = play(adopted(), ledger(JobState.COMPLETED, 1, OURS, 7))
    assert (lease.phase, commands) == (Phase.LINGERING, (terms.SetTimer(3),))
    assert play(lease, terms.Exited(0), terms.Done())[1] == (terms.Ack(),)


@pytest.mark.parametrize("known", [ledger(), SCHEDULED, ledger(JobState.RUNNING, 1, OURS, 7)])
def test_an_adopted_enclave_that_died_meanwhile_is_handed_back(known: terms.LedgerSays) -> None:
    lease, commands = play(adopted(), known, terms.Exited(-9))
    assert commands == (terms.SetTimer(None), terms.StopEnclave())
    lease, commands = play(lease, terms.Done())
    assert isinstance(commands[0], terms.Tell)
    assert commands[0].kind is ReportKind.LOST
    assert play(lease, terms.Done())[1] == (terms.Nak(leases.NAK_STEP_S),)


@pytest.mark.parametrize(
    "event", [terms.Failed(WHY, away=True), terms.WatchLost(WHY), terms.StopAsked()]
)
def test_an_adopted_enclave_that_nobody_can_ask_about_is_stopped_and_handed_back(
    event: terms.Event,
) -> None:
    lease, commands = play(adopted(), event)
    assert commands == (terms.SetTimer(None), terms.StopEnclave())
    assert lease.ending is leases.Ending.HAND_BACK


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(EVENTS), max_size=40))
def test_whatever_happens_an_adopted_enclave_is_gone_before_the_request_is_settled(
    events: list[terms.Event],
) -> None:
    lease = adopted()
    runs = True
    for event in events:
        under_way = lease.phase
        lease, commands = leases.step(lease, event)
        assert not any(
            isinstance(one, terms.StartEnclave) or one == terms.Tell(ReportKind.LEASED)
            for one in commands
        )
        if under_way is Phase.STOPPING and isinstance(event, terms.Done | terms.Failed):
            runs = False
        if any(isinstance(one, terms.Ack | terms.Nak) for one in commands):
            assert not runs
        if lease.phase is Phase.OVER:
            assert not runs
            return


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(EVENTS), max_size=40))
def test_whatever_happens_the_enclave_is_gone_before_the_request_is_settled(
    events: list[terms.Event],
) -> None:
    lease = begun()
    runs = False
    for event in events:
        under_way = lease.phase
        lease, commands = leases.step(lease, event)
        if under_way is Phase.STARTING and isinstance(event, terms.Done):
            runs = True
        if under_way is Phase.STOPPING and isinstance(event, terms.Done | terms.Failed):
            runs = False
        if any(isinstance(one, terms.Ack | terms.Nak) for one in commands):
            assert not runs
        if lease.phase is Phase.OVER:
            assert not runs
            return


def test_core_and_lease_agree_on_who_is_current() -> None:
    """What the lease takes for overtaken, the ledger does not listen to; and the other way."""
    for attempt, enclave in itertools.product((1, 2), (OURS, "other")):
        record = core.submitted(
            job_id=JOB,
            tee=Tee.SIMULATED,
            manifest_digest="ab" * 32,
            now_ms=1,
            deadline_ms=1,
            traceparent="",
            trace_id=None,
        )
        held = core.apply(record, _report(ReportKind.LEASED, attempt, enclave), now_ms=1)
        assert held is not None
        lease, _ = play(begun(), *TO[Phase.WORKING], terms.LedgerSays(held))
        listens = core.apply(held, _report(ReportKind.STARTED, 1, OURS), now_ms=1) is not None
        assert (lease.phase is Phase.WORKING) == listens


def _report(kind: ReportKind, attempt: int, enclave: str) -> Report:
    return Report(job_id=JOB, attempt=attempt, kind=kind, enclave_id=enclave, spawn_seq=7)
