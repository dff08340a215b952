"""Any process is killed at any moment: each job still ends once, with one result, and its
history has no gap. The guest sleeps, so that there is a middle of the job to kill in.
"""

import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from atoll.bus import Bus
from atoll.bus.jetstream import api
from atoll.bus.upload import CHUNK_SIZE
from atoll.client.assets import PIECE, upload_pieces
from atoll.client.connection import AtollClient
from atoll.computation.manifest import Dataset
from atoll.wire import topology
from atoll.wire.messages import EventType, JobState
from e2e.guests import sleeping, writing
from e2e.inflight import InFlight, started
from support import wat
from support.client import (
    drafted,
    ended,
    opened,
    party,
    reached,
    release,
    see_through,
    submit,
    until,
)
from support.nats import wait_for
from support.stack import Stack, wait_until

NAP_MS = 1500
RUNNING = reached(JobState.RUNNING)


@pytest_asyncio.fixture
async def client(stack: Stack) -> AsyncIterator[AtollClient]:
    async with stack.client() as connected:
        yield connected


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """The sleeping guest, as a file."""
    path = tmp_path / "sleep.wasm"
    path.write_bytes(sleeping(NAP_MS))
    return path


@pytest_asyncio.fixture
async def job(
    stack: Stack, client: AtollClient, module: Path, tmp_path: Path
) -> AsyncIterator[InFlight]:
    """A job, from its start; cancelled if the test leaves it running."""
    async with started(stack, client, module, tmp_path) as running:
        yield running


def memory_of(enclave_id: str | None) -> Path:
    """Where an enclave has its memory-only storage."""
    return Path(f"/dev/shm/atoll-{enclave_id}")


def sigkill(pids: list[int]) -> None:
    (pid,) = pids
    os.kill(pid, signal.SIGKILL)


def answers(address: tuple[str, int]) -> bool:
    """Whether somebody takes connections there."""
    try:
        with socket.create_connection(address, timeout=1.0):
            return True
    except OSError:
        return False


async def test_a_killed_agent_is_replaced_and_there_is_one_result(
    stack: Stack, job: InFlight
) -> None:
    await job.at(RUNNING)
    killed = job.watcher.events[-1].enclave_id
    sigkill(stack.agents())
    outcome = await job.completed()
    assert outcome.view.attempt == 2
    assert job.count(EventType.RETRYING) == 1
    assert job.count(EventType.SCHEDULED) == 2
    assert await job.stored_outcomes() == [2]
    assert len(job.watcher.appraisals) == 2
    for enclave in (killed, outcome.view.enclave_id):
        stack.require_nothing_left(enclave)


async def test_a_killed_worker_fails_the_job_with_a_code_and_a_receipt(
    stack: Stack, job: InFlight
) -> None:
    """The enclave itself is well: to it, this is a guest that crashed its sandbox."""
    await job.at(RUNNING)
    wait_until(lambda: bool(stack.workers()), "the guest runs")
    sigkill(stack.workers())
    outcome = await job.task
    assert outcome.view.state is JobState.FAILED
    assert outcome.view.reason is not None
    assert outcome.view.reason.code == "workload.crash"
    assert outcome.result is not None
    assert outcome.result.receipt.receipt.outcome == "workload.crash"
    stack.require_nothing_left(outcome.view.enclave_id)


async def test_a_killed_manager_finds_its_enclave_again_which_completes_the_job(
    stack: Stack, job: InFlight
) -> None:
    await job.at(RUNNING)
    enclave = job.watcher.events[-1].enclave_id
    stack.kill_service("manager")
    outcome = await job.completed()
    assert (outcome.view.attempt, outcome.view.enclave_id) == (1, enclave)
    assert job.count(EventType.RETRYING) == 0
    assert await job.stored_outcomes() == [1]
    stack.require_settled(enclave)


async def test_a_manager_and_its_enclave_killed_at_once_leave_nothing(
    stack: Stack, job: InFlight
) -> None:
    await job.at(RUNNING)
    enclave = job.watcher.events[-1].enclave_id
    agents, keepers = stack.agents(), stack.keepers()
    assert memory_of(enclave).exists()
    for pid in (stack.service("manager"), *keepers, *agents):
        os.kill(pid, signal.SIGKILL)
    outcome = await job.completed()
    assert outcome.view.attempt == 2
    assert await job.stored_outcomes() == [2]
    assert not memory_of(enclave).exists()
    stack.require_settled(outcome.view.enclave_id)


async def test_a_killed_keeper_takes_its_enclave_with_it_and_the_job_is_done_again(
    stack: Stack, job: InFlight
) -> None:
    await job.at(RUNNING)
    enclave = job.watcher.events[-1].enclave_id
    sigkill(stack.keepers())
    outcome = await job.completed()
    assert outcome.view.attempt == 2
    assert not memory_of(enclave).exists()
    stack.require_settled(outcome.view.enclave_id)


async def test_a_killed_gateway_comes_back_and_the_job_never_noticed(
    stack: Stack, job: InFlight
) -> None:
    await job.at(RUNNING)
    stack.kill_service("gateway")
    outcome = await job.completed()
    assert outcome.view.attempt == 1


def test_a_killed_gateway_answers_http_again_where_the_profile_says(stack: Stack) -> None:
    url = urlsplit(stack.profile.http_url)
    assert url.hostname
    assert url.port
    there = (url.hostname, url.port)
    stack.kill_service("gateway")
    wait_until(lambda: answers(there), f"a gateway answers at {there}")


async def test_a_gateway_killed_at_the_submission_loses_nothing(
    stack: Stack, job: InFlight
) -> None:
    await job.at(reached(JobState.SUBMITTED))
    stack.kill_service("gateway")
    await job.completed()


async def test_a_gateway_that_dies_with_the_lease_in_its_hands_does_not_strand_the_job(
    stack: Stack, client: AtollClient, module: Path, tmp_path: Path
) -> None:
    """The bus repeats the lease after a while; what comes after it must not be lost meanwhile."""
    manager, gateway = stack.service("manager"), stack.service("gateway")
    os.kill(manager, signal.SIGSTOP)
    async with started(stack, client, module, tmp_path) as job, stack.bus("operator") as operator:
        await job.at(reached(JobState.SUBMITTED))
        os.kill(gateway, signal.SIGSTOP)
        os.kill(manager, signal.SIGCONT)

        async def delivered() -> bool:
            info = await api(operator, f"CONSUMER.INFO.REPORTS.{topology.LEDGER_CONSUMER.name}")
            return bool(info["num_ack_pending"])

        await wait_for(delivered, "the lease was delivered to the gateway")
        stack.kill_service("gateway")
        outcome = await job.completed()
        assert outcome.view.attempt == 1
        assert job.count(EventType.SCHEDULED) == 1


async def test_an_attestor_killed_before_the_appraisal_delays_the_job_only(
    stack: Stack, job: InFlight
) -> None:
    await job.at(reached(JobState.SUBMITTED))
    stack.kill_service("attestor")
    await job.completed()


async def test_a_nats_server_killed_in_the_middle_of_a_job_loses_nothing(
    stack: Stack, job: InFlight
) -> None:
    await job.at(RUNNING)
    stack.kill_service("nats-server")
    outcome = await job.completed()
    assert await job.stored_outcomes() == [outcome.view.attempt]


async def test_a_nats_server_killed_while_an_enclave_uploads_its_result_costs_no_attempt(
    stack: Stack, client: AtollClient, tmp_path: Path
) -> None:
    """It must be allowed everything that going on with an interrupted upload takes."""
    size = 64 << 20
    draft = await drafted(client, party(), writing(size), data={"in": b"unread"})
    async with stack.bus("operator") as operator:
        before = await chunks_of(operator)
        view = await submit(client, draft)
        asked = (await until(client, view.job_id, reached(JobState.AWAITING_ASSETS)))[-1]
        assert asked.enclave_id is not None
        await release(client, draft, asked)

        async def uploading() -> bool:
            return await chunks_of(operator) > before

        await wait_for(uploading, "the enclave uploads", within_s=60)
        agent = stack.agent(asked.enclave_id)
        assert agent is not None
        os.kill(agent, signal.SIGSTOP)
        assert await chunks_of(operator) < before + size // CHUNK_SIZE
    stack.kill_service("nats-server")
    os.kill(agent, signal.SIGCONT)
    last = (await until(client, view.job_id, ended))[-1]
    assert (last.state, last.attempt, last.reason) == (JobState.COMPLETED, 1, None)
    result = await opened(client, draft, view.job_id, stack.appraiser(), tmp_path / "out")
    (out,) = (file for file in result.files if file.name == "results/answer")
    assert out.path.stat().st_size == size


async def chunks_of(bus: Bus) -> int:
    """How many messages there are in the bucket of results."""
    info = await api(bus, f"STREAM.INFO.OBJ_{topology.RESULTS.name}")
    return int(info["state"]["messages"])


async def test_a_nats_server_killed_during_an_upload_loses_nothing(
    stack: Stack, client: AtollClient, tmp_path: Path
) -> None:
    keys, content = party(), secrets.token_bytes(12 * PIECE)

    def pieces() -> Iterator[bytes]:
        for number in range(12):
            if number == 6:
                stack.kill_service("nats-server")
            yield content[number * PIECE : (number + 1) * PIECE]

    uploaded = await upload_pieces(client, pieces(), provider=keys.name)
    draft = await drafted(client, keys, wat.echo(), data={"in": b"replaced below"})
    draft = replace(
        draft.changed(datasets={"in": Dataset(asset=uploaded.ref)}),
        assets={**draft.assets, "in": uploaded},
    )
    view = (await see_through(client, draft))[-1]
    assert view.state is JobState.COMPLETED
    result = await opened(client, draft, view.job_id, stack.appraiser(), tmp_path / "out")
    (out,) = (file for file in result.files if file.name == "results/out")
    assert out.path.read_bytes() == content[:4096]
