"""The judge of a chaos run: it passes a run in which everything held, and finds each violation
that is planted into the facts of one.
"""

from dataclasses import replace

import pytest

from atoll.wire.messages import EventType, JobEvent, JobState, JobView, Reason, Tee
from chaos.facts import Accepted, Facts, Kill, Outcome, Released, Sighting, Told
from chaos.judge import Wrong, judge
from chaos.plan import Target

JOB = "j1"
FIRST, SECOND = "e1", "e2"
DIGEST = "ab" * 32


def told(
    seq: int, kind: EventType, attempt: int, enclave: str | None, *, reason: Reason | None = None
) -> Told:
    """The event `seq`, stored a tenth of a second after the one before it."""
    notices = {EventType.RETRYING: JobState.SUBMITTED}
    event = JobEvent(
        job_id=JOB,
        seq=seq,
        type=kind,
        state=notices.get(kind) or JobState(kind.value),
        attempt=attempt,
        time_ms=seq * 100,
        enclave_id=enclave,
        reason=reason,
    )
    return Told(time_ms=seq * 100, event=event)


HISTORY = (
    told(1, EventType.SUBMITTED, 0, None),
    told(2, EventType.SCHEDULED, 1, FIRST),
    told(3, EventType.ATTESTING, 1, FIRST),
    told(4, EventType.AWAITING_ASSETS, 1, FIRST),
    told(5, EventType.RETRYING, 1, None),
    told(6, EventType.SCHEDULED, 2, SECOND),
    told(7, EventType.AWAITING_ASSETS, 2, SECOND),
    told(8, EventType.RUNNING, 2, SECOND),
    told(9, EventType.COMPLETED, 2, SECOND),
)
VIEW = JobView(
    job_id=JOB,
    state=JobState.COMPLETED,
    tee=Tee.SIMULATED,
    manifest_digest=DIGEST,
    attempt=2,
    seq=9,
    created_ms=100,
    updated_ms=900,
    expires_ms=10_000,
    enclave_id=SECOND,
)


def released(attempt: int, enclave: str, time_ms: int) -> Released:
    return Released(time_ms=time_ms, job_id=JOB, attempt=attempt, enclave_id=enclave, asset="data")


def seen(enclave: str, attempt: int, last_ms: int) -> Sighting:
    return Sighting(enclave_id=enclave, job_id=JOB, attempt=attempt, last_ms=last_ms)


GOOD = Facts(
    accepted=(Accepted(job_id=JOB, submissions=1, opened=True),),
    views={JOB: VIEW},
    history={JOB: HISTORY},
    outcomes=(Outcome(job_id=JOB, attempt=2),),
    releases=(released(1, FIRST, 410), released(2, SECOND, 710)),
    sightings=(seen(FIRST, 1, 500), seen(SECOND, 2, 920)),
    kills=(Kill(time_ms=480, target=Target.AGENT, pid=1, job_id=JOB, attempt=1),),
)


def history(*events: Told) -> dict[str, tuple[Told, ...]]:
    return {JOB: events}


def ended(kind: EventType, code: str, *, attempt: int = 1, kills: tuple[Kill, ...] = ()) -> Facts:
    """A run whose one job did not complete."""
    reason = Reason(code=code, message="as it says")
    events = (
        told(1, EventType.SUBMITTED, 0, None),
        told(2, EventType.SCHEDULED, attempt, FIRST),
        told(3, kind, attempt, FIRST, reason=reason),
    )
    view = replace(
        VIEW, state=JobState(kind.value), attempt=attempt, seq=3, enclave_id=FIRST, reason=reason
    )
    return Facts(
        accepted=(Accepted(job_id=JOB, submissions=1),),
        views={JOB: view},
        history=history(*events),
        kills=kills,
    )


def hit(target: Target, *, job_id: str = "", attempt: int = 0, time_ms: int = 250) -> Kill:
    return Kill(time_ms=time_ms, target=target, pid=1, job_id=job_id, attempt=attempt)


def test_a_run_in_which_everything_held_passes() -> None:
    verdict = judge(GOOD)

    assert verdict.findings == ()
    assert (verdict.completed, verdict.failed, verdict.late_releases) == (1, 0, 0)


RUNNING = replace(VIEW, state=JobState.RUNNING, seq=8)
CASES = {
    "the ledger forgot it": (replace(GOOD, views={}), Wrong.LOST),
    "it never ended": (
        replace(GOOD, views={JOB: RUNNING}, history=history(*HISTORY[:-1]), outcomes=()),
        Wrong.LOST,
    ),
    "its end was not told": (replace(GOOD, history=history(*HISTORY[:-1])), Wrong.LOST),
    "nothing was told": (replace(GOOD, history={}), Wrong.LOST),
    "something was not published": (replace(GOOD, undone=frozenset({JOB})), Wrong.LOST),
    "it has no receipt": (replace(GOOD, outcomes=()), Wrong.LOST),
    "its receipt is not valid": (
        replace(GOOD, outcomes=(Outcome(job_id=JOB, attempt=2, fault="receipt.signature"),)),
        Wrong.LOST,
    ),
    "only another attempt has a receipt": (
        replace(GOOD, outcomes=(Outcome(job_id=JOB, attempt=1),)),
        Wrong.LOST,
    ),
    "its owner could not open it": (
        replace(GOOD, accepted=(Accepted(job_id=JOB, submissions=1),)),
        Wrong.LOST,
    ),
    "its owner met a fault": (
        replace(GOOD, accepted=(Accepted(job_id=JOB, submissions=1, fault="seal.broken"),)),
        Wrong.LOST,
    ),
    "the run met a fault": (replace(GOOD, faults=("a dead letter",)), Wrong.LOST),
    "it ended twice": (
        replace(GOOD, history=history(*HISTORY, told(10, EventType.FAILED, 2, SECOND))),
        Wrong.DUPLICATED,
    ),
    "an attempt has two results": (
        replace(GOOD, outcomes=(*GOOD.outcomes, Outcome(job_id=JOB, attempt=2))),
        Wrong.DUPLICATED,
    ),
    "a later attempt than the ledger's has a result": (
        replace(GOOD, outcomes=(*GOOD.outcomes, Outcome(job_id=JOB, attempt=3))),
        Wrong.DUPLICATED,
    ),
    "a job of nobody is in the ledger": (
        replace(GOOD, views={JOB: VIEW, "j2": replace(VIEW, job_id="j2")}),
        Wrong.DUPLICATED,
    ),
    "a job of nobody is in the history": (
        replace(GOOD, history={**GOOD.history, "j2": HISTORY}),
        Wrong.DUPLICATED,
    ),
    "a job of nobody has a result": (
        replace(GOOD, outcomes=(*GOOD.outcomes, Outcome(job_id="j2", attempt=1))),
        Wrong.DUPLICATED,
    ),
    "an event is missing": (
        replace(GOOD, history=history(*HISTORY[:3], *HISTORY[4:])),
        Wrong.GAP,
    ),
    "an event came twice": (
        replace(GOOD, history=history(*HISTORY[:4], HISTORY[3], *HISTORY[4:])),
        Wrong.GAP,
    ),
    "events are out of order": (
        replace(GOOD, history=history(*HISTORY[:2], HISTORY[3], HISTORY[2], *HISTORY[4:])),
        Wrong.GAP,
    ),
    "an attempt came back": (
        replace(
            GOOD,
            history=history(
                *HISTORY[:6], told(7, EventType.AWAITING_ASSETS, 1, FIRST), *HISTORY[7:]
            ),
        ),
        Wrong.GAP,
    ),
    "time ran back": (
        replace(
            GOOD,
            history=history(
                *HISTORY[:7],
                replace(HISTORY[7], event=replace(HISTORY[7].event, time_ms=600)),
                HISTORY[8],
            ),
        ),
        Wrong.GAP,
    ),
    "something followed the end": (
        replace(GOOD, history=history(*HISTORY, told(10, EventType.RETRYING, 2, None))),
        Wrong.GAP,
    ),
    "an attempt was two enclaves'": (
        replace(
            GOOD,
            history=history(
                *HISTORY[:6], told(7, EventType.AWAITING_ASSETS, 2, "e3"), *HISTORY[7:]
            ),
        ),
        Wrong.DOUBLE_RELEASE,
    ),
    "a key went to an enclave that nobody named": (
        replace(GOOD, releases=(*GOOD.releases, released(2, "e9", 720))),
        Wrong.DOUBLE_RELEASE,
    ),
    "a key went to an enclave as another attempt": (
        replace(GOOD, releases=(released(2, FIRST, 410),)),
        Wrong.DOUBLE_RELEASE,
    ),
    "the enclave before lived when a key was released": (
        replace(GOOD, sightings=(seen(FIRST, 1, 711), seen(SECOND, 2, 920))),
        Wrong.DOUBLE_RELEASE,
    ),
    "a late key came while the next enclave lived": (
        replace(GOOD, releases=(*GOOD.releases, released(1, FIRST, 800))),
        Wrong.DOUBLE_RELEASE,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_planted_violation_is_found(case: str) -> None:
    facts, wrong = CASES[case]

    assert wrong in {finding.wrong for finding in judge(facts).findings}


def test_a_late_key_for_a_dead_enclave_is_counted_and_no_violation() -> None:
    facts = replace(GOOD, releases=(released(1, FIRST, 510), released(2, SECOND, 710)))
    verdict = judge(facts)

    assert verdict.findings == ()
    assert verdict.late_releases == 1


def test_a_result_of_an_attempt_that_was_given_up_is_counted_and_no_violation() -> None:
    verdict = judge(replace(GOOD, outcomes=(*GOOD.outcomes, Outcome(job_id=JOB, attempt=1))))

    assert verdict.findings == ()
    assert verdict.orphaned_results == 1


def test_a_second_enclave_of_an_attempt_without_a_key_is_counted_and_no_violation() -> None:
    verdict = judge(replace(GOOD, sightings=(*GOOD.sightings, seen("e3", 2, 950))))

    assert verdict.findings == ()
    assert verdict.twins == 1


def test_enclaves_that_lived_together_without_keys_are_no_violation() -> None:
    facts = replace(
        GOOD,
        releases=(released(2, SECOND, 710),),
        sightings=(seen(FIRST, 1, 900), seen(SECOND, 2, 920)),
    )
    assert judge(facts).findings == ()


FIVE = (
    hit(Target.MANAGER),
    hit(Target.NATS),
    hit(Target.SUPERVISOR),
    hit(Target.ATTESTOR),
    hit(Target.AGENT, job_id=JOB, attempt=4),
)
EXPLAINED = {
    "its worker was killed": ended(
        EventType.FAILED, "workload.crash", kills=(hit(Target.WORKER, job_id=JOB, attempt=1),)
    ),
    "every attempt was killed": ended(EventType.FAILED, "enclave.lost", attempt=5, kills=FIVE),
}
UNEXPLAINED = {
    "no worker was killed": ended(EventType.FAILED, "workload.crash"),
    "another job's worker was killed": ended(
        EventType.FAILED, "workload.crash", kills=(hit(Target.WORKER, job_id="j2", attempt=1),)
    ),
    "another attempt's worker was killed": ended(
        EventType.FAILED, "workload.crash", kills=(hit(Target.WORKER, job_id=JOB, attempt=2),)
    ),
    "attempts were left": ended(EventType.FAILED, "enclave.lost", attempt=4, kills=FIVE),
    "there were fewer kills than attempts": ended(
        EventType.FAILED, "enclave.lost", attempt=5, kills=FIVE[1:]
    ),
    "one of the kills was another job's agent": ended(
        EventType.FAILED,
        "enclave.lost",
        attempt=5,
        kills=(*FIVE[:4], hit(Target.AGENT, job_id="j2", attempt=4)),
    ),
    "one of the kills came before it": ended(
        EventType.FAILED,
        "enclave.lost",
        attempt=5,
        kills=(*FIVE[1:], hit(Target.MANAGER, time_ms=99)),
    ),
    "it expired": ended(EventType.EXPIRED, "release.timeout", attempt=5, kills=FIVE),
    "it was cancelled": ended(EventType.CANCELLED, "job.cancelled", attempt=5, kills=FIVE),
    "no result of the guest's making": ended(
        EventType.FAILED, "workload.trap", kills=(hit(Target.WORKER, job_id=JOB, attempt=1),)
    ),
}


@pytest.mark.parametrize("case", EXPLAINED)
def test_an_end_that_the_kills_explain_is_none_of_the_products(case: str) -> None:
    verdict = judge(EXPLAINED[case])

    assert verdict.findings == ()
    assert (verdict.completed, verdict.failed) == (0, 1)


@pytest.mark.parametrize("case", UNEXPLAINED)
def test_an_end_that_no_kill_explains_is_found(case: str) -> None:
    verdict = judge(UNEXPLAINED[case])

    assert [finding.wrong for finding in verdict.findings] == [Wrong.UNEXPLAINED]
    assert verdict.failed == 1
