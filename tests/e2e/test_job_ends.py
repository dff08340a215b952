"""Every way in which a job ends without a result, from every state."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from atoll.client.connection import AtollClient
from atoll.computation.manifest import JobLimits
from atoll.errors import NotFoundError
from atoll.wire.messages import EventType, JobEvent, JobState
from e2e.guests import sleeping
from support.client import drafted, ended, party, reached, release, submit, until
from support.stack import Stack

LIVING = (
    JobState.SUBMITTED,
    JobState.SCHEDULED,
    JobState.ATTESTING,
    JobState.AWAITING_ASSETS,
    JobState.RUNNING,
)


@pytest_asyncio.fixture
async def client(stack: Stack) -> AsyncIterator[AtollClient]:
    async with stack.client() as connected:
        yield connected


async def brought_to(client: AtollClient, state: JobState, limits: JobLimits) -> JobEvent:
    """A fresh job, at the first event that has it in `state` or beyond."""
    draft = await drafted(client, party(), sleeping(20_000), job_limits=limits)
    view = await submit(client, draft)
    if state is JobState.RUNNING:
        asked = (await until(client, view.job_id, reached(JobState.AWAITING_ASSETS)))[-1]
        await release(client, draft, asked)
    return (await until(client, view.job_id, reached(state)))[-1]


@pytest.mark.parametrize("state", LIVING, ids=lambda state: state.value)
async def test_a_cancelled_job_ends_cancelled_and_leaves_nothing(
    stack: Stack, client: AtollClient, state: JobState
) -> None:
    job = await brought_to(client, state, JobLimits())
    assert (await client.cancel(job.job_id)).state is JobState.CANCELLED
    last = (await until(client, job.job_id, ended))[-1]
    assert last.type is EventType.CANCELLED
    assert last.reason is not None
    assert last.reason.code == "job.cancelled"
    stack.require_nothing_left(last.enclave_id)
    with pytest.raises(NotFoundError) as caught:
        await client.outcome(job.job_id, last.attempt)
    assert caught.value.code == "result.not_found"


async def test_cancelling_an_ended_job_changes_nothing(client: AtollClient) -> None:
    job = await brought_to(client, JobState.SCHEDULED, JobLimits())
    ended_view = await client.cancel(job.job_id)
    assert await client.cancel(job.job_id) == ended_view


async def test_cancelling_a_job_that_never_was_is_refused(client: AtollClient) -> None:
    with pytest.raises(NotFoundError) as caught:
        await client.cancel("j" + "0" * 25)
    assert caught.value.code == "job.not_found"


@dataclass(frozen=True, slots=True)
class Late:
    state: JobState
    limits: JobLimits
    code: str


LATE = {
    "nobody releases the keys": Late(
        JobState.AWAITING_ASSETS, JobLimits(release_wait_ms=1000), "release.timeout"
    ),
    "the deadline comes before the keys": Late(
        JobState.AWAITING_ASSETS, JobLimits(deadline_ms=5000), "job.deadline"
    ),
    "the deadline comes while it runs": Late(
        JobState.RUNNING, JobLimits(deadline_ms=8000), "job.deadline"
    ),
}


@pytest.mark.parametrize("what", LATE)
async def test_a_late_job_expires_and_leaves_nothing(
    stack: Stack, client: AtollClient, what: str
) -> None:
    late = LATE[what]
    job = await brought_to(client, late.state, late.limits)
    last = (await until(client, job.job_id, ended))[-1]
    assert last.state is JobState.EXPIRED
    assert last.reason is not None
    assert last.reason.code == late.code
    stack.require_nothing_left(last.enclave_id)


async def test_a_job_with_no_free_slot_waits_and_can_be_cancelled(client: AtollClient) -> None:
    holding = [await brought_to(client, JobState.AWAITING_ASSETS, JobLimits()) for _ in range(2)]
    draft = await drafted(client, party(), sleeping(1))
    waiting = await submit(client, draft)
    assert (await client.cancel(waiting.job_id)).attempt == 0
    for one in holding:
        await client.cancel(one.job_id)
    events = await until(client, waiting.job_id, ended)
    assert [event.type for event in events] == [EventType.SUBMITTED, EventType.CANCELLED]
