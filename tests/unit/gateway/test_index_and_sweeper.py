"""What a gateway remembers, and what it does when time passes."""

import itertools
import random
from dataclasses import replace
from typing import Any

from atoll.errors import UnreachableError
from atoll.wire.messages import (
    MAX_LISTED,
    JobRecord,
    JobState,
    JobView,
    OutboxItem,
    OutboxKind,
    Tee,
)
from atoll_gateway import core
from atoll_gateway.index import JobIndex
from atoll_gateway.ledger import Ledger
from atoll_gateway.sweeper import GRACE_MS, Sweeper
from support.gateway import NOW_MS, MemoryJobs, MemoryOutlet


def record(
    job_id: str,
    *,
    created: int = NOW_MS,
    state: JobState = JobState.SUBMITTED,
    seq: int = 1,
    done: bool = True,
    tenant: str = "main",
) -> JobRecord:
    view = JobView(
        job_id=job_id,
        state=state,
        tee=Tee.SIMULATED,
        manifest_digest="ab" * 32,
        attempt=0,
        seq=seq,
        created_ms=created,
        updated_ms=created,
        expires_ms=created + 10_000,
        tenant=tenant,
    )
    return JobRecord(view=view, outbox=() if done else (OutboxItem(kind=OutboxKind.SPAWN),))


def ids(views: tuple[JobView, ...]) -> list[str]:
    return [view.job_id for view in views]


def test_lists_the_newest_first_and_no_more_than_asked() -> None:
    index = JobIndex()
    for number in (2, 0, 3, 1):
        index.note(record(f"job-{number}", created=NOW_MS + number))
    assert ids(index.newest(limit=3, state=None)) == ["job-3", "job-2", "job-1"]
    assert len(index) == 4


def test_lists_only_the_state_asked_for() -> None:
    index = JobIndex()
    index.note(record("a"))
    index.note(record("b", state=JobState.RUNNING, seq=5))
    assert ids(index.newest(limit=10, state=JobState.RUNNING)) == ["b"]


def test_ignores_an_entry_older_than_the_one_it_knows() -> None:
    index = JobIndex()
    index.note(record("a", state=JobState.CANCELLED, seq=2))
    index.note(record("a", seq=1))
    assert index.newest(limit=1, state=None)[0].state is JobState.CANCELLED
    assert list(index.overdue(NOW_MS + 99_999)) == []


def test_only_open_jobs_are_overdue_and_only_from_their_deadline_on() -> None:
    index = JobIndex()
    index.note(record("open"))
    index.note(record("ended", state=JobState.COMPLETED, seq=6))
    assert list(index.overdue(NOW_MS + 9_999)) == []
    assert list(index.overdue(NOW_MS + 10_000)) == ["open"]


def test_knows_whose_outbox_waits_and_since_when() -> None:
    index = JobIndex()
    index.note(record("a", done=False))
    assert list(index.undone(NOW_MS - 1)) == []
    assert list(index.undone(NOW_MS)) == ["a"]
    index.note(record("a"))
    assert list(index.undone(NOW_MS)) == []


def ended(number: int, **changes: Any) -> JobRecord:
    changes = {"state": JobState.COMPLETED, "seq": 6, **changes}
    return record(f"job-{number:04}", created=NOW_MS + number, **changes)


def test_of_ended_jobs_the_newest_are_kept_and_every_list_is_whole() -> None:
    index = JobIndex()
    jobs = [ended(number) for number in range(2 * MAX_LISTED)]
    jobs += [
        ended(number, state=JobState.FAILED if number % 2 else JobState.COMPLETED, tenant="small")
        for number in (3000, 0, 1)
    ]
    jobs.append(ended(9, state=JobState.EXPIRED))
    jobs.append(record("job-open", created=NOW_MS - 1))
    shuffled = random.Random(7)
    shuffled.shuffle(jobs)
    for one in jobs:
        index.note(one)
        index.note(one)
    # The same job id under two tenants does not exist; the later one noted is the job.
    known = {one.view.job_id: one.view for one in jobs}
    newest = sorted(known.values(), key=lambda view: (view.created_ms, view.job_id), reverse=True)
    for state, tenant, limit in itertools.product(
        (None, *JobState), (None, "main", "small", "nobody"), (1, 3, MAX_LISTED)
    ):
        wanted = [
            view for view in newest if state in (None, view.state) and tenant in (None, view.tenant)
        ]
        assert list(index.newest(limit=limit, state=state, tenant=tenant)) == wanted[:limit]
    assert len(index) < MAX_LISTED + 10


def test_an_ended_job_that_is_too_old_to_list_is_still_known_by_its_outbox() -> None:
    index = JobIndex()
    for number in range(1, MAX_LISTED + 1):
        index.note(ended(number))
    index.note(ended(0, done=False))
    assert index.undone(NOW_MS) == ["job-0000"]
    index.note(ended(0))
    assert index.undone(NOW_MS) == []
    assert len(index) == MAX_LISTED


def test_a_job_moves_from_state_to_state_and_is_of_its_manifest_until_it_ends() -> None:
    index = JobIndex()
    index.note(record("a"))
    index.note(record("a", state=JobState.RUNNING, seq=5))
    assert index.newest(limit=9, state=JobState.SUBMITTED) == ()
    assert index.of_manifest("ab" * 32) == ("a",)
    index.note(record("a", state=JobState.FAILED, seq=6))
    assert index.of_manifest("ab" * 32) == ()
    assert ids(index.newest(limit=9, state=None)) == ["a"]


def test_what_is_erased_from_the_ledger_is_forgotten() -> None:
    index = JobIndex()
    index.note(record("a", done=False))
    index.note(ended(1))
    for job_id in ("a", "job-0001", "unknown", ""):
        index.forget(job_id)
    assert index.newest(limit=9, state=None) == ()
    assert (index.overdue(NOW_MS * 2), index.undone(NOW_MS * 2), len(index)) == ([], [], 0)


async def test_follows_the_bucket() -> None:
    jobs, index = MemoryJobs(), JobIndex()
    jobs.write(record("a"))
    jobs.write(record("b"))
    await index.follow(jobs)
    assert len(index) == 2


def job(job_id: str) -> JobRecord:
    return core.submitted(
        job_id=job_id,
        tee=Tee.SIMULATED,
        manifest_digest="ab" * 32,
        now_ms=NOW_MS,
        deadline_ms=10_000,
        traceparent="",
        trace_id=None,
    )


async def swept(jobs: MemoryJobs, outlet: MemoryOutlet, now_ms: int) -> None:
    index = JobIndex()
    await index.follow(jobs)
    await Sweeper(Ledger(jobs, outlet, lambda: now_ms), index, lambda: now_ms).sweep()


async def test_ends_what_is_overdue() -> None:
    jobs, outlet = MemoryJobs(), MemoryOutlet()
    jobs.write(job("late"))
    await swept(jobs, outlet, NOW_MS + 10_000)
    found = jobs.peek("late")
    assert found is not None
    assert found[0].view.state is JobState.EXPIRED
    assert [event.seq for event in outlet.events] == [1, 2]


async def test_performs_what_a_dead_gateway_left_but_not_before_its_grace() -> None:
    jobs, outlet = MemoryJobs(), MemoryOutlet()
    jobs.write(job("left"))
    await swept(jobs, outlet, NOW_MS + GRACE_MS - 1)
    assert outlet.events == []
    await swept(jobs, outlet, NOW_MS + GRACE_MS)
    assert [event.seq for event in outlet.events] == [1]
    assert outlet.spawned == ["left"]


class OneSick(MemoryJobs):
    """Cannot answer for one job."""

    async def get(self, job_id: str) -> tuple[JobRecord, int] | None:
        if job_id == "sick":
            raise UnreachableError("not this one")
        return await super().get(job_id)


async def test_one_sick_job_does_not_keep_the_others_from_their_deadline() -> None:
    for names in (("sick", "well"), ("well", "sick")):
        jobs, outlet = OneSick(), MemoryOutlet()
        for name in names:
            jobs.write(job(name))
        await swept(jobs, outlet, NOW_MS + 10_000)
        found = jobs.peek("well")
        assert found is not None
        assert found[0].view.state is JobState.EXPIRED


def test_an_outbox_that_was_performed_is_known_by_the_same_seq() -> None:
    index = JobIndex()
    waiting = record("a", done=False)
    index.note(waiting)
    index.note(replace(waiting, outbox=()))
    assert list(index.undone(NOW_MS)) == []
