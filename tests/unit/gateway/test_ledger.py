"""The ledger survives conflicts, and a crash at any moment."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import ConflictError, NotFoundError, UnreachableError
from atoll.wire.messages import JobEvent, JobRecord, JobState, Reason, Report, ReportKind, Tee
from atoll_gateway import core
from atoll_gateway.ledger import MAX_UNDONE, Ledger
from support.gateway import NOW_MS, Crash, Fate, MemoryJobs, MemoryOutlet

JOB = "job-1"
STEPS = (
    ReportKind.LEASED,
    ReportKind.ATTESTING,
    ReportKind.ADMITTED,
    ReportKind.STARTED,
    ReportKind.FINISHED,
)


def new(digest: str = "ab") -> JobRecord:
    return core.submitted(
        job_id=JOB,
        tee=Tee.SIMULATED,
        manifest_digest=digest * 32,
        now_ms=NOW_MS,
        deadline_ms=60_000,
        traceparent="",
        trace_id=None,
    )


def report(kind: ReportKind, attempt: int = 1) -> Report:
    return Report(
        job_id=JOB,
        attempt=attempt,
        kind=kind,
        enclave_id=f"enclave-{attempt}",
        outcome_digest="0c" * 32 if kind is ReportKind.FINISHED else None,
    )


def ledger(jobs: MemoryJobs, outlet: MemoryOutlet) -> Ledger:
    return Ledger(jobs, outlet, lambda: NOW_MS)


def script(book: Ledger) -> list[Callable[[], Awaitable[object]]]:
    def applying(kind: ReportKind) -> Callable[[], Awaitable[object]]:
        return lambda: book.apply(JOB, report(kind))

    return [lambda: book.submit(new()), *(applying(kind) for kind in STEPS)]


async def run(steps: list[Callable[[], Awaitable[object]]]) -> None:
    for step in steps:
        await step()


def seqs(outlet: MemoryOutlet) -> list[int]:
    return [event.seq for event in outlet.events]


async def count_steps() -> int:
    fate = Fate()
    for step in script(ledger(MemoryJobs(fate=fate), MemoryOutlet(fate=fate))):
        await step()
    return fate.steps


async def test_a_crash_at_any_moment_loses_no_event_and_doubles_none() -> None:
    total = await count_steps()
    assert total > 40
    for die_at in range(1, total + 1):
        fate = Fate(die_at=die_at)
        jobs, outlet = MemoryJobs(fate=fate), MemoryOutlet(fate=fate)
        crashed = 0
        for step in script(ledger(jobs, outlet)):
            try:
                await step()
            except Crash:
                crashed += 1
                await step()  # the bus delivers again, the client asks again
        found = jobs.peek(JOB)
        assert crashed == 1, die_at
        assert found is not None
        assert found[0].view.state is JobState.COMPLETED
        assert found[0].outbox == (), die_at
        assert seqs(outlet) == list(range(1, 7)), die_at
        assert outlet.spawned == [JOB]


async def test_after_a_crash_anybody_else_can_perform_what_was_decided() -> None:
    for die_at in range(1, await count_steps() + 1):
        fate = Fate(die_at=die_at)
        jobs, outlet = MemoryJobs(fate=fate), MemoryOutlet(fate=fate)
        with pytest.raises(Crash):
            await run(script(ledger(jobs, outlet)))
        await ledger(jobs, outlet).recover(JOB)
        found = jobs.peek(JOB)
        decided = found[0].view.seq if found else 0
        assert seqs(outlet) == list(range(1, decided + 1)), die_at
        assert found is None or found[0].outbox == ()


async def test_a_second_crash_while_recovering_changes_nothing() -> None:
    for die_at in range(1, 30):
        jobs, outlet = MemoryJobs(), MemoryOutlet()
        book = ledger(jobs, outlet)
        outlet.fate = Fate(die_at=1)
        with pytest.raises(Crash):
            await book.submit(new())
        outlet.fate = jobs.fate = Fate(die_at=die_at)
        try:
            await book.recover(JOB)
        except Crash:
            await book.recover(JOB)
        assert seqs(outlet) == [1]
        assert outlet.spawned == [JOB]


async def test_a_competing_change_is_read_again_and_decided_again() -> None:
    jobs, outlet = MemoryJobs(), MemoryOutlet()
    book = ledger(jobs, outlet)
    await book.submit(new())
    rivals = 3

    def compete(_: JobRecord) -> None:
        nonlocal rivals
        if rivals:
            rivals -= 1
            current = jobs.peek(JOB)
            assert current is not None
            attempt = current[0].view.attempt + 1
            after = core.apply(current[0], report(ReportKind.LEASED, attempt), now_ms=NOW_MS)
            assert after is not None
            jobs.write(after)

    jobs.before_update = compete
    view = await book.apply(JOB, core.CancelRequested())
    assert view.state is JobState.CANCELLED
    assert rivals == 0
    assert seqs(outlet) == [1, 2, 3, 4, 5]


async def test_losing_the_race_for_the_end_leaves_the_winners_end() -> None:
    jobs, outlet = MemoryJobs(), MemoryOutlet()
    book = ledger(jobs, outlet)
    await book.submit(new())
    await book.apply(JOB, report(ReportKind.LEASED))

    def compete(_: JobRecord) -> None:
        jobs.before_update = None
        current = jobs.peek(JOB)
        assert current is not None
        after = core.apply(current[0], report(ReportKind.FINISHED), now_ms=NOW_MS)
        assert after is not None
        jobs.write(after)

    jobs.before_update = compete
    view = await book.apply(JOB, core.DeadlinePassed())
    assert view.state is JobState.COMPLETED
    assert seqs(outlet) == [1, 2, 3]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 30), max_size=6), min_size=2, max_size=4))
def test_gateways_side_by_side_publish_one_history(pauses: list[list[int]]) -> None:
    async def gateway(book: Ledger, waits: list[int]) -> None:
        for kind, wait in zip(STEPS, [*waits, *[0] * len(STEPS)], strict=False):
            for _ in range(wait):
                await asyncio.sleep(0)
            await book.apply(JOB, report(kind))

    async def race() -> None:
        jobs, outlet = MemoryJobs(), MemoryOutlet()
        await ledger(jobs, outlet).submit(new())
        await asyncio.gather(*(gateway(ledger(jobs, outlet), waits) for waits in pauses))
        found = jobs.peek(JOB)
        assert found is not None
        assert found[0].view.state is JobState.COMPLETED
        assert found[0].outbox == ()
        assert seqs(outlet) == list(range(1, found[0].view.seq + 1))

    asyncio.run(race())


async def test_the_same_submission_again_is_the_same_job() -> None:
    jobs, outlet = MemoryJobs(), MemoryOutlet()
    book = ledger(jobs, outlet)
    first, made = await book.submit(new())
    again, made_again = await book.submit(new())
    assert (made, made_again) == (True, False)
    assert first == again
    assert outlet.spawned == [JOB]


async def test_refuses_an_id_that_stands_for_another_manifest() -> None:
    book = ledger(MemoryJobs(), MemoryOutlet())
    await book.submit(new())
    with pytest.raises(ConflictError) as caught:
        await book.submit(new(digest="cd"))
    assert caught.value.code == "job.idempotency"


async def test_a_job_that_ended_before_its_spawn_was_published_spawns_nothing() -> None:
    jobs, outlet = MemoryJobs(), MemoryOutlet()
    outlet.fate = Fate(die_at=1)
    book = ledger(jobs, outlet)
    with pytest.raises(Crash):
        await book.submit(new())
    await book.apply(JOB, core.CancelRequested())
    assert outlet.spawned == []
    assert seqs(outlet) == [1, 2]


async def test_an_unknown_job_is_said_to_be_unknown() -> None:
    book = ledger(MemoryJobs(), MemoryOutlet())
    for call in (book.get("nobody"), book.apply("nobody", core.CancelRequested())):
        with pytest.raises(NotFoundError) as caught:
            await call
        assert caught.value.code == "job.not_found"
    await book.recover("nobody")


class DownOutlet(MemoryOutlet):
    """Cannot publish while `down`."""

    down = True

    async def event(self, event: JobEvent, record: JobRecord) -> None:
        if self.down:
            raise UnreachableError("no bus")
        await super().event(event, record)


async def test_an_outbox_never_grows_beyond_what_an_entry_can_hold() -> None:
    jobs, outlet = MemoryJobs(), DownOutlet()
    book = ledger(jobs, outlet)
    changes = [report(ReportKind.LEASED, attempt) for attempt in range(1, 3 * MAX_UNDONE)]
    for submit_or_apply in (lambda: book.submit(new()), *(_lease(book, item) for item in changes)):
        with pytest.raises(UnreachableError):
            await submit_or_apply()
    found = jobs.peek(JOB)  # decodes: the entry is still legal
    assert found is not None
    assert len(found[0].outbox) == MAX_UNDONE + 1
    outlet.down = False
    reason = Reason(code="x.y", message="")
    ended = Report(
        job_id=JOB,
        attempt=found[0].view.attempt,
        kind=ReportKind.GAVE_UP,
        enclave_id=f"enclave-{found[0].view.attempt}",
        reason=reason,
    )
    view = await book.apply(JOB, ended)
    assert view.state is JobState.FAILED
    assert seqs(outlet) == list(range(1, view.seq + 1))


def _lease(book: Ledger, item: Report) -> Callable[[], Awaitable[object]]:
    return lambda: book.apply(JOB, item)
