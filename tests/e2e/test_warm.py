"""A host that has enclaves ready: a job runs in one of them, bound as ever, and no other does."""

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio

from atoll.client.connection import AtollClient
from atoll.evidence.document import parse
from atoll.evidence.snp import AttestationReport
from atoll.wire.messages import JobEvent, JobState
from support import wat
from support.client import Draft, drafted, ended, party, reached, release, submit, until
from support.nats import wait_for
from support.stack import Stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = Stack(tmp_path_factory.mktemp("warm"), slots=2, warm=1)
    made.start()
    yield made
    made.stop()


@pytest_asyncio.fixture
async def client(stack: Stack) -> AsyncIterator[AtollClient]:
    async with stack.client() as connected:
        yield connected


def waiting(stack: Stack) -> set[int]:
    """The enclaves' processes that were started without a job."""
    found = set()
    for pid in stack.agents():
        with suppress(OSError):
            if b"ATOLL_AGENT_LEASE_FD" in Path(f"/proc/{pid}/environ").read_bytes():
                found.add(pid)
    return found


async def ready(client: AtollClient, count: int) -> None:
    async def seen() -> bool:
        return [host.warm for host in await client.hosts()] == [count]

    await wait_for(seen, f"{count} enclaves are ready", within_s=30)


async def job(client: AtollClient) -> tuple[Draft, JobEvent]:
    """A job whose enclave waits for its keys."""
    draft = await drafted(client, party(), wat.echo(), data={"in": b"x"})
    view = await submit(client, draft)
    return draft, (await until(client, view.job_id, reached(JobState.AWAITING_ASSETS)))[-1]


async def test_a_job_runs_in_an_enclave_that_was_ready(stack: Stack, client: AtollClient) -> None:
    await ready(client, 1)
    (before,) = waiting(stack)
    draft, event = await job(client)
    assert before in stack.agents(), "it is the same process"
    assert event.enclave_id is not None
    evidence = parse((await client.evidence(event.enclave_id)).evidence)
    assert evidence.manifest_digest == draft.digest
    assert AttestationReport.from_bytes(evidence.report).body.host_data == bytes(32)
    await release(client, draft, event)
    last = (await until(client, event.job_id, ended))[-1]
    assert (last.state, last.attempt) == (JobState.COMPLETED, 1)
    await wait_for(lambda: before not in stack.agents(), "it ends after its job")


async def test_no_enclave_serves_two_jobs(stack: Stack, client: AtollClient) -> None:
    served: set[str | None] = set()
    processes: set[int] = set()
    for number in range(4):
        await ready(client, 1)
        processes |= waiting(stack)
        draft, event = await job(client)
        await release(client, draft, event)
        await until(client, event.job_id, ended)
        served.add(event.enclave_id)
        assert len(served) == number + 1
    assert len(processes) >= 4


async def test_a_host_that_is_drained_has_none(stack: Stack, client: AtollClient) -> None:
    await ready(client, 1)
    stack.atoll("hosts", "drain", "local", "--json", "--data-dir", stack.data_dir)
    await ready(client, 0)
    await wait_for(lambda: not waiting(stack), "none is left")
    stack.atoll("hosts", "resume", "local", "--json", "--data-dir", stack.data_dir)
    await ready(client, 1)


async def test_those_of_a_manager_that_was_killed_do_not_stay(
    stack: Stack, client: AtollClient
) -> None:
    await ready(client, 1)
    before = waiting(stack)
    stack.kill_service("manager")
    await wait_for(lambda: not waiting(stack) & before, "the old one is gone", within_s=30)
    await ready(client, 1)
    draft, event = await job(client)
    await release(client, draft, event)
    assert (await until(client, event.job_id, ended))[-1].state is JobState.COMPLETED
