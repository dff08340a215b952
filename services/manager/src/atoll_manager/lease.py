"""One lease on one job as a pure state machine: `step(state, event) -> (state, commands)`.

    asking -> leasing -> starting -> booting -> judging -> holding
        -> offering -> admitting -> working
    asking -> booting | working, with an adopted enclave
    working -> finishing | lingering; any of these -> stopping -> settling -> over

The shell performs the commands and says what came of them:

* At most one command is under way. It ends with `Done`, `Refused` or `Failed`. A new command
  takes the place of the one under way, which is abandoned: it may have had its effect or not.
  `StartEnclave` and `StopEnclave` are never abandoned.
* There is one timer. `SetTimer` sets it anew or, with None, stops it.
* `AskLedger` is done with a first `LedgerSays`; every later change of the job is one more.
* After a started or adopted enclave come `EvidenceSeen` and `Exited`, when it is time.

Rules:

1. The attempt's number is above every one that the ledger knows, and at least the delivery count:
   a server that was killed may have forgotten how often it delivered.
2. Who is overtaken (a later attempt, or another enclave for the same one) ends its enclave and
   says that it is gone; the spawn request is somebody else's to settle.
3. A spawn request other than the one the job was leased under is a double: it is acknowledged.
4. The enclave of a manager that died is adopted: its lease is known to the bus, so it is neither
   leased nor started again. If it still is the job's, the lease goes on where the ledger says
   that it was; else the enclave is stopped first, and the request settled as ever.
5. The spawn request is acknowledged when the ledger says that the job has ended, and handed back
   when nothing of the enclave is left. After the last attempt nobody gets it: the job is given up.
6. No enclave is offered work, hence keys, before the ledger has its lease, and while an earlier
   enclave may have keys: until the ledger no longer names one, or for `HANDOVER_S`, by when the
   host of one that nobody speaks for has heard of us and ended it, or its keeper has.
"""

from dataclasses import replace
from typing import Final, assert_never

from atoll.wire.messages import (
    JobRecord,
    JobState,
    JobView,
    Reason,
    ReportKind,
)
from atoll.wire.topology import HANDOVER_S, MAX_ATTEMPTS
from atoll_manager import reasons
from atoll_manager.lease_state import Ending, Lease, Phase, Timing
from atoll_manager.lease_terms import (
    Ack,
    AskLedger,
    Command,
    Commands,
    Done,
    Event,
    EvidenceSeen,
    Exited,
    Failed,
    Hold,
    Judge,
    LedgerSays,
    Nak,
    Offer,
    Refused,
    SetTimer,
    StartEnclave,
    StopAsked,
    StopEnclave,
    Tell,
    TimedOut,
    WatchLost,
)

__all__ = ["Ending", "Lease", "Phase", "Step", "Timing", "begin", "step"]

FINISH_WAIT_S: Final = 30.0
"""How long the ledger may take to apply an enclave's last report."""

HAND_BACK_S: Final = 5.0
"""How long a stopping host tries to settle; then the lease runs out by itself."""

NAK_STEP_S: Final = 0.2
"""How much longer each further attempt has to wait for its turn."""


_RUNNING: Final = frozenset(
    {
        Phase.BOOTING,
        Phase.JUDGING,
        Phase.HOLDING,
        Phase.OFFERING,
        Phase.ADMITTING,
        Phase.WORKING,
    }
)


_OFFERED: Final = frozenset({JobState.AWAITING_ASSETS, JobState.RUNNING})
"""The enclave was admitted and has its assignment."""


Step = tuple[Lease, Commands]


def begin(
    *,
    job_id: str,
    enclave_id: str,
    spawn_seq: int,
    delivered: int,
    is_last: bool,
    timing: Timing,
    adopted: int | None = None,
) -> Step:
    """The lease on a spawn request that was just delivered, or that was taken over.

    Args:
        adopted: the attempt for which the enclave was started by an earlier manager of this
            host, which had leased the job for it; None: there is no enclave yet.
    """
    lease = Lease(
        job_id=job_id,
        enclave_id=enclave_id,
        spawn_seq=spawn_seq,
        delivered=delivered,
        is_last=is_last,
        timing=timing,
        attempt=delivered if adopted is None else adopted,
        adopted=adopted is not None,
    )
    return lease, (AskLedger(),)


def step(lease: Lease, event: Event) -> Step:
    """The lease after `event`, and what is to be done, in this order. Total."""
    if lease.phase is Phase.OVER:
        return lease, ()
    match event:
        case Done():
            return _done(lease)
        case Failed():
            return _failed(lease, event)
        case Refused() | EvidenceSeen():
            return _evidence(lease, event)
        case LedgerSays():
            return _ledger(lease, event.record)
        case Exited():
            return _exited(lease, event.status)
        case TimedOut():
            return _timed_out(lease)
        case StopAsked():
            return _stop_asked(lease)
        case WatchLost():
            return _end(lease, Ending.HAND_BACK, event.reason) if lease.works else (lease, ())
        case _:
            assert_never(event)


def _evidence(lease: Lease, event: EvidenceSeen | Refused) -> Step:
    if isinstance(event, Refused) and lease.phase is Phase.JUDGING:
        # A verdict on the enclave. That the attestor does not answer is another thing.
        told = Tell(ReportKind.GAVE_UP, reason=event.reason)
        return replace(lease, phase=Phase.WORKING), (told,)
    if isinstance(event, EvidenceSeen) and lease.phase is Phase.BOOTING:
        judging = replace(lease, phase=Phase.JUDGING, evidence=event.record)
        return judging, (SetTimer(None), Judge(event.record))
    return lease, ()


def _done(lease: Lease) -> Step:
    match lease.phase:
        case Phase.LEASING:
            return replace(lease, phase=Phase.STARTING), (StartEnclave(),)
        case Phase.STARTING:
            if lease.ending is not None:
                return replace(lease, phase=Phase.STOPPING), (StopEnclave(),)
            return _boot(lease)
        case Phase.JUDGING:
            return _hold(replace(lease, phase=Phase.HOLDING))
        case Phase.HOLDING:
            return replace(lease, phase=Phase.OFFERING), (Offer(),)
        case Phase.OFFERING:
            told = Tell(ReportKind.ADMITTED, evidence=lease.evidence)
            return replace(lease, phase=Phase.ADMITTING), (told,)
        case Phase.ADMITTING:
            return replace(lease, phase=Phase.WORKING), ()
        case Phase.STOPPING:
            return _settle(lease)
        case Phase.TELLING | Phase.SETTLING:
            return _said(lease)
        case _:
            return lease, ()


def _failed(lease: Lease, event: Failed) -> Step:
    match lease.phase:
        case Phase.STARTING:
            # Nothing runs that would have to be stopped.
            if lease.ending is None:
                lease = replace(lease, ending=Ending.HAND_BACK, reason=event.reason)
            return _settle(lease)
        case Phase.STOPPING:
            return _settle(lease)
        case Phase.FINISHING | Phase.LINGERING:
            # What was still to be said no longer matters.
            return lease, ()
        case Phase.TELLING:
            if lease.given_up and event.away:
                # Nobody else would tell the ledger, so this is said however long it takes.
                return lease, (Tell(ReportKind.GAVE_UP, reason=lease.reason),)
            # Unsaid it does no harm: the next attempt's lease says as much, and waits longer.
            return _done(lease)
        case Phase.SETTLING:
            if event.away and (lease.ending is Ending.ACK or lease.given_up):
                return lease, (Ack(),)
            return replace(lease, phase=Phase.OVER), ()
        case _:
            return _end(lease, Ending.HAND_BACK, event.reason)


def _ledger(lease: Lease, record: JobRecord) -> Step:
    if lease.phase is Phase.SETTLING:
        return lease, ()
    view = record.view
    if view.state.terminal:
        return _job_ended(lease, view)
    if record.spawn_seq not in (0, lease.spawn_seq):
        return _end(lease, Ending.ACK)
    if lease.phase is Phase.ASKING and not lease.adopted:
        return _take(lease, view)
    twin = view.attempt == lease.attempt and view.enclave_id not in (None, lease.enclave_id)
    if view.attempt > lease.attempt or twin:
        return _end(lease, Ending.LET_GO)
    before = lease
    if view.attempt == lease.attempt:
        lease = replace(lease, listed=True, holders=record.holders)
    if lease.phase is Phase.ASKING:
        return _go_on(lease, view)
    waits = lease.holders and before.listed  # and its time runs
    if lease.phase is Phase.HOLDING and not waits:
        return _hold(lease)
    return lease, ()


def _hold(lease: Lease) -> Step:
    """Offer work as soon as nobody else of this job can have keys."""
    if not lease.listed:
        return lease, ()
    if lease.holders:
        return lease, (Hold(HANDOVER_S),)
    return replace(lease, phase=Phase.OFFERING), (Offer(),)


def _go_on(lease: Lease, view: JobView) -> Step:
    """With an adopted enclave. A ledger that is behind has its lease still to apply."""
    if view.attempt == lease.attempt and view.state in _OFFERED:
        # Not judged again: the result that admitted it may have expired.
        return replace(lease, phase=Phase.WORKING), ()
    return _boot(lease)


def _boot(lease: Lease) -> Step:
    timer = SetTimer(lease.timing.boot_timeout_s)
    return replace(lease, phase=Phase.BOOTING), (timer, Tell(ReportKind.ATTESTING))


def _take(lease: Lease, view: JobView) -> Step:
    taken = replace(lease, attempt=max(lease.delivered, view.attempt + 1))
    if taken.attempt > MAX_ATTEMPTS:
        return _end(taken, Ending.HAND_BACK, reasons.NO_END)
    return replace(taken, phase=Phase.LEASING), (Tell(ReportKind.LEASED),)


def _job_ended(lease: Lease, view: JobView) -> Step:
    runs = lease.phase in _RUNNING or (lease.phase is Phase.ASKING and lease.adopted)
    if runs and _ended_by_itself(lease, view):
        # Its last word is said; let it send its spans and erase by itself.
        ended = replace(lease, phase=Phase.LINGERING, ending=Ending.ACK)
        return ended, (SetTimer(lease.timing.stop_grace_s),)
    if lease.phase is Phase.LINGERING:
        return lease, ()
    return _end(lease, Ending.ACK)


def _ended_by_itself(lease: Lease, view: JobView) -> bool:
    """Whether the job ended by its enclave's word, and not by its owner's or the clock's."""
    overdue = view.reason is not None and view.reason.code == "job.deadline"
    ours = (view.attempt, view.enclave_id) == (lease.attempt, lease.enclave_id)
    return ours and view.state is not JobState.CANCELLED and not overdue


def _exited(lease: Lease, status: int) -> Step:
    if lease.phase is Phase.LINGERING:
        return _end(lease, Ending.ACK)
    if lease.ending is not None or lease.phase is Phase.FINISHING:
        return lease, ()
    if status == 0:
        # Its word that its last report is durable on the bus.
        return replace(lease, phase=Phase.FINISHING), (SetTimer(FINISH_WAIT_S),)
    return _end(lease, Ending.HAND_BACK, reasons.exited(lease.enclave_id, status))


def _timed_out(lease: Lease) -> Step:
    match lease.phase:
        case Phase.BOOTING:
            reason = reasons.without_evidence(lease.enclave_id, lease.timing.boot_timeout_s)
            return _end(lease, Ending.HAND_BACK, reason)
        case Phase.FINISHING:
            return _end(lease, Ending.HAND_BACK, reasons.unknown_end(lease.enclave_id))
        case Phase.LINGERING:
            return _end(lease, Ending.ACK)
        case Phase.TELLING | Phase.SETTLING if lease.stopping:
            return replace(lease, phase=Phase.OVER), ()
        case _:
            return lease, ()


def _stop_asked(lease: Lease) -> Step:
    """Hand the job back at once rather than let the lease run out."""
    asked = replace(lease, stopping=True)
    if lease.phase is Phase.LINGERING:
        return _end(asked, Ending.ACK)
    if lease.ending is None:
        return _end(asked, Ending.HAND_BACK, reasons.STOPPING)
    if lease.phase in (Phase.TELLING, Phase.SETTLING):
        return asked, (SetTimer(HAND_BACK_S),)
    return asked, ()


def _end(lease: Lease, ending: Ending, reason: Reason | None = None) -> Step:
    """Settle like that as soon as nothing of the enclave is left.

    What is known last counts: a job that ended needs no other attempt, and who is overtaken
    has nothing to hand back.
    """
    ended = replace(lease, ending=ending, reason=reason)
    match lease.phase:
        case Phase.STARTING | Phase.STOPPING:
            return ended, ()
        case Phase.ASKING if not lease.adopted:
            return _settle(ended)
        case Phase.LEASING | Phase.TELLING:
            return _settle(ended)
        case _:
            return replace(ended, phase=Phase.STOPPING), (SetTimer(None), StopEnclave())


def _settle(lease: Lease) -> Step:
    timer: Commands = (SetTimer(HAND_BACK_S),) if lease.stopping else ()
    match lease.ending:
        case Ending.ACK:
            return replace(lease, phase=Phase.SETTLING), (*timer, Ack())
        case Ending.HAND_BACK:
            # What the ledger never took, for it knows a twin, says nothing to it about the job:
            # whoever comes next gives it up, being above both.
            heard = lease.listed or lease.is_last or lease.attempt > MAX_ATTEMPTS
            telling = replace(lease, phase=Phase.TELLING, given_up=lease.last and heard)
            kind = ReportKind.GAVE_UP if lease.last else ReportKind.LOST
            return telling, (*timer, Tell(kind, reason=lease.reason))
        case _:
            told = Tell(ReportKind.LOST, reason=reasons.OVERTAKEN)
            return replace(lease, phase=Phase.TELLING), (*timer, told)


def _said(lease: Lease) -> Step:
    if lease.phase is Phase.SETTLING or lease.ending is Ending.LET_GO:
        return replace(lease, phase=Phase.OVER), ()
    return replace(lease, phase=Phase.SETTLING), (_settlement(lease),)


def _settlement(lease: Lease) -> Command:
    if lease.given_up or lease.ending is Ending.ACK:
        return Ack()
    return Nak(NAK_STEP_S * lease.attempt)
