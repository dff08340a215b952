"""Who is taken for a process of the attacked stack: nobody else's may ever be killed."""

import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest_asyncio

from chaos.census import Census
from chaos.plan import Target
from support.nats import wait_for

OURS = "nats://127.0.0.1:1"
OTHERS = "nats://127.0.0.1:2"
SLEEPS = "import time; time.sleep(600)"


@pytest_asyncio.fixture
async def census(tmp_path: Path) -> AsyncIterator[Census]:
    watched = Census(nats_url=OURS, data_dir=tmp_path)
    yield watched
    watched.close()


@contextlib.contextmanager
def agent(url: str, enclave: str) -> Iterator[int]:
    """A process that looks like an enclave's agent."""
    settings = {
        "ATOLL_AGENT_NATS_URL": url,
        "ATOLL_AGENT_ENCLAVE_ID": enclave,
        "ATOLL_AGENT_JOB_ID": "j1",
        "ATOLL_AGENT_ATTEMPT": "2",
    }
    command = [sys.executable, "-c", SLEEPS, "atoll_agent.main"]
    with subprocess.Popen(command, env=settings) as process:
        try:
            yield process.pid
        finally:
            process.kill()


async def seen(census: Census, pid: int) -> None:
    """Look until `pid` is among the agents."""

    def there() -> bool:
        census.look()
        return pid in [one.pid for one in census.living(Target.AGENT)]

    await wait_for(there, f"{pid} is seen")


async def test_an_enclave_of_this_stack_is_known_with_its_job_and_one_of_another_is_not(
    census: Census,
) -> None:
    with agent(OTHERS, "e-other") as other, agent(OURS, "e-own") as own:
        await seen(census, own)
        (found,) = census.living(Target.AGENT)
        assert (found.pid, found.enclave_id, found.job_id, found.attempt) == (own, "e-own", "j1", 2)
        assert other != own
        (sighting,) = census.sightings()
        assert (sighting.enclave_id, sighting.job_id, sighting.attempt) == ("e-own", "j1", 2)


async def test_a_kill_names_whom_it_hit_and_a_dead_one_is_not_killed_again(census: Census) -> None:
    with agent(OURS, "e-own") as own:
        await seen(census, own)
        (found,) = census.living(Target.AGENT)
        kill = census.kill(found)
        assert kill is not None
        assert (kill.target, kill.pid, kill.job_id, kill.attempt) == (Target.AGENT, own, "j1", 2)
        await wait_for(lambda: census.living(Target.AGENT) == [], "its death is told")
        assert census.kill(found) is None
        before = census.sightings()
        census.look()
        assert census.sightings() == before
