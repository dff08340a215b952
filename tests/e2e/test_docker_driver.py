"""Enclaves as containers without a network: a job ends once, whatever is killed meanwhile."""

import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from atoll.client.connection import AtollClient
from atoll.evidence.document import parse
from atoll.evidence.snp import AttestationReport
from atoll.measure.container import archived_image, measure_container
from atoll.measure.guest import DOCKER_FILE
from atoll.wire.messages import EventType, JobState
from e2e.guests import sleeping
from e2e.inflight import InFlight, started
from support import iris
from support.client import drafted, ended, opened, party, reached, see_through, until
from support.dockerd import Dockerd, dockerd
from support.guest_image import guest_image
from support.stack import Stack, wait_until

__all__ = ["dockerd", "guest_image"]

pytestmark = pytest.mark.timeout(240)
RUNNING = reached(JobState.RUNNING)


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory,
    dockerd: Dockerd,
    guest_image: Path,
) -> Iterator[Stack]:
    made = Stack(
        tmp_path_factory.mktemp("containers"), docker=dockerd.host, image=str(guest_image), slots=2
    )
    made.start()
    yield made
    assert made.stop() == 0, made.log.read_text()
    client = dockerd.client()
    try:
        assert client.containers(all=True) == []
    finally:
        client.close()


@pytest_asyncio.fixture
async def client(stack: Stack) -> AsyncIterator[AtollClient]:
    async with stack.client() as connected:
        yield connected


@pytest_asyncio.fixture
async def job(stack: Stack, client: AtollClient, tmp_path: Path) -> AsyncIterator[InFlight]:
    module = tmp_path / "sleep.wasm"
    module.write_bytes(sleeping(3000))
    async with started(stack, client, module, tmp_path) as running:
        yield running


def main_process(stack: Stack, enclave_id: str | None) -> int:
    record = json.loads((stack.data_dir / "enclaves" / f"{enclave_id}.json").read_bytes())
    assert record["kind"] == "container"
    return int(record["agent"][0])


def settled(stack: Stack) -> None:
    enclaves = stack.data_dir / "enclaves"
    wait_until(lambda: not list(enclaves.glob("*.json")), "the enclaves are forgotten")
    assert not list((stack.data_dir / "channels").iterdir())


async def test_a_job_runs_in_a_container_and_its_receipt_verifies(
    stack: Stack,
    client: AtollClient,
    guest_image: Path,
    tmp_path: Path,
) -> None:
    flowers = {"iris": iris.FLOWERS.read_bytes()}
    draft = await drafted(client, party(), iris.program("train").read_bytes(), data=flowers)
    events = await see_through(client, draft)
    assert events[-1].state is JobState.COMPLETED
    assert await until(client, events[0].job_id, ended) == events
    await opened(client, draft, events[0].job_id, stack.appraiser(), tmp_path / "result")
    iris.require_good((tmp_path / "result" / "results" / "metrics.json").read_bytes())
    enclave_id = events[-1].enclave_id
    assert enclave_id is not None
    evidence = parse((await client.evidence(enclave_id)).evidence)
    report = AttestationReport.from_bytes(evidence.report)
    assert report.body.measurement == measure_container(archived_image(guest_image / DOCKER_FILE))
    settled(stack)


async def test_a_container_that_is_killed_is_followed_by_another_and_one_result(
    stack: Stack, job: InFlight
) -> None:
    await job.at(RUNNING)
    os.kill(main_process(stack, job.watcher.events[-1].enclave_id), signal.SIGKILL)
    outcome = await job.completed()
    assert outcome.view.attempt == 2
    assert job.count(EventType.RETRYING) == 1
    assert len(await job.stored_outcomes()) == 1
    settled(stack)


async def test_a_container_outlives_its_manager(stack: Stack, job: InFlight) -> None:
    await job.at(RUNNING)
    enclave_id = job.watcher.events[-1].enclave_id
    process = main_process(stack, enclave_id)
    stack.kill_service("manager")
    outcome = await job.completed()
    assert outcome.view.attempt == 1
    assert outcome.view.enclave_id == enclave_id
    wait_until(lambda: not Path(f"/proc/{process}").exists(), "it has ended")
    settled(stack)
