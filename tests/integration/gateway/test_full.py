"""No room: a job is accepted and ends, or it is refused and does not exist; real servers."""

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from atoll.bus import last_message, publish
from atoll.bus.jetstream import api
from atoll.errors import RefusedError
from atoll.wire import schema, subjects, topology
from atoll.wire.messages import JobState, Report, ReportKind
from atoll_gateway.adapters import KvJobs
from atoll_gateway.index import JobIndex
from atoll_gateway.reports import ReportWorker
from atoll_gateway.sweeper import GRACE_MS, Sweeper
from integration.gateway.client import Answer, Gateway
from integration.gateway.conftest import gateway_on
from support.gateway import submission
from support.nats import restart, running, wait_for
from support.stack import recorder

CLEANLY_REFUSED = ("KV_manifests", "KV_jobs")
ACCEPTED = ("EVENTS", "SPAWN")


async def submit(gateway: Gateway, key: str = "key") -> Answer:
    return await gateway.post("/v1/jobs", schema.to_plain(submission(key=key), json=True))


async def jobs(gateway: Gateway) -> int:
    return int((await api(gateway.bus, "STREAM.INFO.KV_jobs"))["state"]["messages"])


@asynccontextmanager
async def full(gateway: Gateway, stream: str) -> AsyncIterator[None]:
    """The stream takes nothing while the block runs."""
    config = (await api(gateway.bus, f"STREAM.INFO.{stream}"))["config"]
    await api(gateway.bus, f"STREAM.UPDATE.{stream}", {**config, "max_bytes": 1})
    yield
    await api(gateway.bus, f"STREAM.UPDATE.{stream}", config)


@asynccontextmanager
async def sweeping(gateway: Gateway) -> AsyncIterator[None]:
    """What a gateway does beside answering, with no patience for others."""
    index, jobs = JobIndex(), KvJobs(gateway.bus)
    clock = time.time_ns() // 1_000_000 + 10 * GRACE_MS
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(index.follow(jobs)),
            group.create_task(Sweeper(gateway.ledger, index, lambda: clock).run()),
        ]
        yield
        for task in tasks:
            task.cancel()


async def events(gateway: Gateway) -> int:
    return int((await api(gateway.bus, "STREAM.INFO.EVENTS"))["state"]["messages"])


async def spawns(gateway: Gateway) -> int:
    return int((await api(gateway.bus, "STREAM.INFO.SPAWN"))["state"]["messages"])


@pytest.mark.parametrize("stream", CLEANLY_REFUSED)
async def test_a_job_that_cannot_be_kept_is_refused_and_does_not_exist(
    gateway: Gateway, stream: str
) -> None:
    async with full(gateway, stream):
        answer = await submit(gateway)
        assert answer.status == 507
        assert answer.json["code"] == "bus.full"
        assert int(answer.headers["retry-after"]) > 0
    assert (await jobs(gateway), await events(gateway), await spawns(gateway)) == (0, 0, 0)
    again = await submit(gateway)
    assert again.status == 201
    assert (await jobs(gateway), await events(gateway), await spawns(gateway)) == (1, 1, 1)


@pytest.mark.parametrize("stream", ACCEPTED)
async def test_a_job_that_was_kept_goes_on_when_there_is_room(
    gateway: Gateway, stream: str
) -> None:
    async with sweeping(gateway):
        async with full(gateway, stream):
            answer = await submit(gateway)
            assert answer.status == 201
            assert (await submit(gateway)).status == 200, "the same key: the same job"
            assert await spawns(gateway) == 0
        await wait_for(lambda: _are(gateway, 1), "the outbox was performed")
    assert await jobs(gateway) == 1
    job_id = answer.json["job_id"]
    await gateway.report(job_id, ReportKind.LEASED)
    await gateway.report(job_id, ReportKind.FINISHED)
    assert (await gateway.ledger.get(job_id)).state is JobState.COMPLETED


async def _are(gateway: Gateway, count: int) -> bool:
    return await spawns(gateway) == await events(gateway) == count


@pytest.mark.parametrize("stream", ["KV_jobs", "KV_manifests", "EVENTS", "SPAWN"])
async def test_the_same_submission_again_finds_its_job_in_a_full_bus(
    gateway: Gateway, stream: str
) -> None:
    first = await submit(gateway)
    async with full(gateway, stream):
        again = await submit(gateway)
    assert (again.status, again.json["job_id"]) == (200, first.json["job_id"])


async def test_a_job_without_room_for_its_history_ends_all_the_same(gateway: Gateway) -> None:
    job_id = (await submit(gateway)).json["job_id"]
    async with sweeping(gateway):
        async with full(gateway, "EVENTS"):
            await gateway.report(job_id, ReportKind.LEASED)
            await gateway.report(job_id, ReportKind.FINISHED)
            assert (await gateway.ledger.get(job_id)).state is JobState.COMPLETED
            assert await events(gateway) == 1
        await wait_for(lambda: _history(gateway, 3), "its history is complete")


async def _history(gateway: Gateway, count: int) -> bool:
    return await events(gateway) == count


async def test_a_report_without_room_in_the_ledger_is_not_taken(gateway: Gateway) -> None:
    job_id = (await submit(gateway)).json["job_id"]
    report = Report(job_id=job_id, attempt=1, kind=ReportKind.LEASED, enclave_id="e1")
    async with full(gateway, "KV_jobs"):
        with pytest.raises(RefusedError) as caught:
            await gateway.ledger.apply(job_id, report)
        assert caught.value.code == "bus.full"
    assert (await gateway.ledger.apply(job_id, report)).state is JobState.SCHEDULED


async def test_a_report_waits_in_its_queue_until_the_ledger_has_room(gateway: Gateway) -> None:
    job_id = (await submit(gateway)).json["job_id"]
    report = Report(job_id=job_id, attempt=1, kind=ReportKind.LEASED, enclave_id="e1")

    async def refused() -> bool:
        info = await api(gateway.bus, "CONSUMER.INFO.REPORTS.ledger")
        return int(info["num_redelivered"]) > 0

    async def applied() -> bool:
        return (await gateway.ledger.get(job_id)).state is JobState.SCHEDULED

    async with asyncio.TaskGroup() as group:
        worker = group.create_task(ReportWorker(gateway.bus, gateway.ledger, recorder()).run())
        async with full(gateway, "KV_jobs"):
            await publish(gateway.bus, subjects.REPORT.of(job_id), schema.encode(report))
            await wait_for(refused, "it was tried again")
            assert not await applied()
        await wait_for(applied, "it is applied", within_s=30)
        worker.cancel()
    assert await last_message(gateway.bus, "DEAD", subjects.DEAD.wildcard) is None


async def fill(gateway: Gateway) -> None:
    """Store until nothing fits any more."""
    block = os.urandom(64 << 10)
    count = 0
    while len(block) > 16:
        count += 1
        try:
            await publish(gateway.bus, f"$KV.collateral.k{count}", block)
        except RefusedError as error:
            if error.code != "bus.full":
                raise
            block = block[: len(block) // 2]


async def test_a_store_at_its_limit_refuses_and_recovers(tmp_path: Path) -> None:
    # What streams may take is set aside in the store; buckets take what they need.
    small = [replace(stream, max_bytes=1 << 18) for stream in topology.STREAMS]
    async with (
        running(tmp_path / "nats", max_file=8 << 20) as server,
        gateway_on(server, streams=small) as here,
    ):
        await fill(here)
        answer = await submit(here)
        assert (answer.status, answer.json["code"]) == (507, "bus.full")
        assert await jobs(here) == 0
        await api(here.bus, "STREAM.PURGE.KV_collateral", {})
        again = await submit(here)
        assert again.status == 201
        assert (await here.ledger.get(again.json["job_id"])).state is JobState.SUBMITTED


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a file system takes root")
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", place], check=False, capture_output=True
    )
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.decode()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


async def test_a_disk_that_somebody_else_filled_loses_nothing(small_disk: Path) -> None:
    """nats-server answers nothing then, and writes to a stream that failed only after it was
    started anew (docs/reliability.md)."""
    async with running(small_disk / "nats") as server, gateway_on(server) as here:
        kept = (await submit(here, "before")).json["job_id"]
        junk = small_disk / "junk"
        with suppress(OSError), junk.open("wb", buffering=0) as file:
            while file.write(bytes(1 << 16)):
                pass
        answer = await submit(here, "during")
        assert answer.status in {201, 503, 507}, answer.body
        junk.unlink()
        await restart(server)
        again = await submit(here, "during")
        assert again.status in {200, 201}
        assert await jobs(here) == 2
        assert (await here.ledger.get(kept)).state is JobState.SUBMITTED
