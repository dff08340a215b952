"""A gateway that has not heard yet of a raised level loses nothing of what others wrote."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest_asyncio

from atoll.bus import Bus, KeyValue, connect, provision
from atoll.wire import codec, level, topology
from atoll.wire.messages import JobRecord, JobState, JobView, Tee
from atoll_gateway.adapters import KvJobs
from support.nats import bus_config, running


@pytest_asyncio.fixture
async def own(tmp_path: Path) -> AsyncIterator[Bus]:
    async with running(tmp_path / "nats") as server, connect(bus_config(server)) as bus:
        await provision(bus, buckets=[topology.JOBS])
        yield bus


def record(job_id: str) -> JobRecord:
    view = JobView(
        job_id=job_id,
        state=JobState.SCHEDULED,
        tee=Tee.SIMULATED,
        manifest_digest="ab" * 32,
        attempt=2,
        seq=3,
        created_ms=1,
        updated_ms=2,
        expires_ms=3,
    )
    return JobRecord(view=view, holders=("e1", "e2"))


async def fields(bus: Bus, job_id: str) -> dict[str, object]:
    entry = await KeyValue(bus, topology.JOBS).get(job_id)
    assert entry is not None
    found: dict[str, object] = codec.unpackb(entry.value or b"")
    return found


async def test_what_a_peer_wrote_at_a_newer_level_stays_when_the_entry_is_written_anew(
    own: Bus,
) -> None:
    jobs = KvJobs(own)
    level.write(2)
    revision = await jobs.create(record("j1"))
    level.write(1)  # this one has not heard of it
    found = await jobs.get("j1")
    assert found == (record("j1"), revision)
    await jobs.update(replace(found[0], spawn_seq=7), revision)
    assert (await fields(own, "j1"))["holders"] == ["e1", "e2"]
    assert level.written() == 2


async def test_below_that_level_the_field_is_not_written(own: Bus) -> None:
    jobs = KvJobs(own)
    level.write(1)
    revision = await jobs.create(record("j2"))
    assert "holders" not in await fields(own, "j2")
    assert await jobs.get("j2") == (replace(record("j2"), holders=()), revision)
    assert level.written() == 1
