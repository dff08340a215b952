"""`atoll up` stopped and started again on the same directory: nothing is lost, and a second
one beside it is told so.
"""

import os
import signal
import socket
from pathlib import Path

import pytest

from atoll.computation.manifest import JobLimits
from atoll.wire.messages import EventType, JobState
from e2e.guests import sleeping
from e2e.inflight import started
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
from support.command import atoll
from support.stack import Stack, is_atoll, wait_until


@pytest.fixture(scope="module")
def spare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory that no stack uses; its keys are made once."""
    return tmp_path_factory.mktemp("spare")


def memory_of(enclave_id: str | None) -> Path:
    """Where an enclave has its memory-only storage."""
    return Path(f"/dev/shm/atoll-{enclave_id}")


async def test_after_a_restart_jobs_results_events_and_addresses_are_the_same(
    stack: Stack, tmp_path: Path
) -> None:
    async with stack.client() as client:
        draft = await drafted(client, party(), wat.echo(), data={"in": b"kept"})
        events = await see_through(client, draft)
        jobs = await client.list()
    before = stack.profile
    assert stack.stop() == 0
    stack.start()
    assert stack.profile == before
    async with stack.client() as client:
        assert await client.list() == jobs
        assert await until(client, events[0].job_id, ended) == events
        into = tmp_path / "result"
        result = await opened(client, draft, events[0].job_id, stack.appraiser(), into)
        assert (into / "results" / "out").read_bytes() == b"kept"
        assert result.exit.exit_code == 0
        # And it serves: the same draft is another job.
        assert (await see_through(client, draft))[-1].state is JobState.COMPLETED


async def test_a_job_that_runs_when_the_stack_stops_completes_after_it_started(
    stack: Stack, tmp_path: Path
) -> None:
    """Its owner follows all the while and releases the keys again."""
    module = tmp_path / "sleep.wasm"
    module.write_bytes(sleeping(1500))
    async with stack.client() as client, started(stack, client, module, tmp_path) as job:
        await job.at(reached(JobState.RUNNING))
        enclave = job.watcher.events[-1].enclave_id
        assert stack.stop() == 0
        assert not memory_of(enclave).exists()
        stack.start()
        outcome = await job.completed()
        assert outcome.view.attempt == 2
        assert job.count(EventType.RETRYING) == 1
        assert len(await job.stored_outcomes()) == 1


async def test_a_job_whose_owner_left_expires_after_the_restart(stack: Stack) -> None:
    job_limits = JobLimits(release_wait_ms=1000)
    async with stack.client() as client:
        draft = await drafted(client, party(), sleeping(2000), job_limits=job_limits)
        view = await submit(client, draft)
        events = await until(client, view.job_id, reached(JobState.AWAITING_ASSETS))
        await release(client, draft, events[-1])
        await until(client, view.job_id, reached(JobState.RUNNING))
    assert stack.stop() == 0
    stack.start()
    async with stack.client() as client:
        last = (await until(client, view.job_id, ended))[-1]
        assert last.state is JobState.EXPIRED
        assert last.reason is not None
        assert last.reason.code == "release.timeout"


async def test_a_stack_whose_supervisor_is_killed_leaves_no_process_and_loses_nothing(
    stack: Stack,
) -> None:
    async with stack.client() as client:
        draft = await drafted(client, party(), wat.echo(), data={"in": b"kept"})
        job_id = (await see_through(client, draft))[-1].job_id
    left = stack.kill_and_wait()
    assert left == []
    stack.start()
    async with stack.client() as client:
        assert (await client.get(job_id)).state is JobState.COMPLETED


async def test_enclaves_of_a_manager_that_was_killed_with_its_supervisor_end_by_themselves(
    stack: Stack, tmp_path: Path
) -> None:
    """Nobody starts another manager, which would find them."""
    module = tmp_path / "sleep.wasm"
    module.write_bytes(sleeping(300_000))
    async with stack.client() as client, started(stack, client, module, tmp_path) as job:
        await job.at(reached(JobState.RUNNING))
        enclave = job.watcher.events[-1].enclave_id
    below = list(stack.processes())
    os.kill(stack.service("manager"), signal.SIGKILL)
    stack.kill()
    wait_until(lambda: not any(map(is_atoll, below)), "all have ended", within_s=60)
    assert not memory_of(enclave).exists()
    stack.start()


def test_a_second_stack_on_the_same_directory_is_refused_and_the_first_serves_on(
    stack: Stack, tmp_path: Path
) -> None:
    said = atoll(tmp_path / "other", "up", "--json", "--data-dir", stack.data_dir)
    assert said.status == 1
    assert said.document()["error"]["code"] == "nats.data_in_use"
    assert not (tmp_path / "other" / "profile.json").exists()
    assert stack.atoll("status", "--json").status == 0


@pytest.mark.parametrize("which", ["--nats", "--http"])
def test_a_port_in_use_is_a_clear_error_and_nothing_stays(
    tmp_path: Path, spare: Path, which: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = atoll(tmp_path, "up", "--json", "--data-dir", spare, which, f"127.0.0.1:{port}")
    assert said.status == 1
    error = said.document()["error"]
    assert port in error["message"]
    assert "in use" in error["message"]
