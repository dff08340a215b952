"""One attempt at one job: every way it can go, and the spawn request settled each time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from atoll.bus import Bus, WorkQueue, read_stream
from atoll.errors import RefusedError, UnreachableError
from atoll.wire import schema, subjects, topology
from atoll.wire.messages import JobState, Reason, ReportKind, SpawnRequest, Tee
from atoll.wire.topology import MAX_ATTEMPTS
from atoll_gateway import core
from atoll_manager import lease
from integration.manager.host import QUEUE, FakeEnclave, Host, host
from support.evidence import other_chain
from support.nats import wait_for


@asynccontextmanager
async def working(site: Host, slots: int = 2, **timing: float) -> AsyncIterator[None]:
    """The host's pool, stopped at the end as the manager stops it."""
    pool = site.pool(slots, **timing)
    running = site.group.create_task(pool.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait({running})
        assert running.cancelled(), "an attempt's trouble does not end the pool"
        assert pool.busy == 0


def kinds(*names: str) -> list[ReportKind]:
    return [ReportKind(name) for name in names]


async def settled(site: Host) -> None:
    async def empty() -> bool:
        return await site.queued() == 0

    await wait_for(empty, "the spawn request is settled")


async def test_an_admitted_enclave_gets_the_assignment_and_its_end_is_the_job_s(site: Bus) -> None:
    async def work(enclave: FakeEnclave) -> None:
        await enclave.attest(datetime.now(UTC))
        assignment = await enclave.assignment()
        assert (assignment.job_id, assignment.attempt) == (enclave.spec.job_id, 1)
        # As for an enclave that needs keys: nobody releases one before.
        await wait_for(lambda: ReportKind.ADMITTED in here.kinds(), "the admission is known")
        await here.finish(enclave)
        enclave.end(0)

    async with host(site, work) as here, working(here):
        record = await here.ended(await here.submit())
        await settled(here)
    assert record.view.state is JobState.COMPLETED
    assert record.view.host_id == "host-1"
    assert here.kinds() == kinds("leased", "admitted", "finished")
    assert here.driver.started[0].stops == 1


async def test_an_enclave_that_dies_is_replaced_by_another_attempt(site: Bus) -> None:
    async def work(enclave: FakeEnclave) -> None:
        if enclave.spec.attempt == 1:
            enclave.end(-9)
            return
        await here.finish(enclave)
        enclave.end(0)

    async with host(site, work) as here, working(here):
        record = await here.ended(await here.submit())
        await settled(here)
    assert record.view.state is JobState.COMPLETED
    assert record.view.attempt == 2
    assert here.kinds() == kinds("leased", "lost", "leased", "finished")
    assert here.reports[1].reason is not None
    assert here.reports[1].reason.code == "enclave.lost"


async def first_loss(here: Host) -> Reason:
    """Why the first attempt at a job was handed back."""
    await here.submit()
    await wait_for(lambda: ReportKind.LOST in here.kinds(), "the job is handed back")
    reason = next(report for report in here.reports if report.kind is ReportKind.LOST).reason
    assert reason is not None
    return reason


@pytest.mark.parametrize(
    ("status", "code"),
    [(1, "enclave.lost"), (2, "enclave.unfit_host"), (3, "enclave.lost"), (-9, "enclave.lost")],
)
async def test_how_an_enclave_ended_is_told(site: Bus, status: int, code: str) -> None:
    async def work(enclave: FakeEnclave) -> None:
        enclave.end(status)

    async with host(site, work) as here, working(here):
        assert (await first_loss(here)).code == code


async def test_after_the_last_attempt_the_job_fails_and_the_queue_is_empty(site: Bus) -> None:
    async def work(enclave: FakeEnclave) -> None:
        enclave.end(1)

    async with host(site, work) as here, working(here):
        record = await here.ended(await here.submit())
        await settled(here)
    assert record.view.state is JobState.FAILED
    assert record.view.reason is not None
    assert record.view.reason.code == "enclave.lost"
    assert record.view.attempt == MAX_ATTEMPTS
    assert here.kinds() == kinds("leased", "lost") * (MAX_ATTEMPTS - 1) + kinds("leased", "gave_up")


async def test_an_enclave_without_evidence_is_given_up_in_time(site: Bus) -> None:
    async with host(site) as here, working(here, boot_timeout_s=0.05):
        assert (await first_loss(here)).code == "enclave.boot_timeout"


async def test_evidence_that_does_not_pass_ends_the_job_at_the_first_attempt(site: Bus) -> None:
    async def work(enclave: FakeEnclave) -> None:
        await enclave.attest(datetime.now(UTC), signer=other_chain())

    async with host(site, work) as here, working(here):
        record = await here.ended(await here.submit())
        await settled(here)
    assert record.view.state is JobState.FAILED
    assert record.view.reason is not None
    assert record.view.reason.code == "ear.status"
    assert here.kinds() == kinds("leased", "gave_up")


async def test_an_attestor_that_does_not_answer_says_nothing_about_the_enclave(site: Bus) -> None:
    async def work(enclave: FakeEnclave) -> None:
        if enclave.spec.attempt == 2:
            here.keys_fail = None
        await enclave.attest(datetime.now(UTC))
        await enclave.assignment()
        await here.finish(enclave)
        enclave.end(0)

    async with host(site, work) as here:
        here.keys_fail = UnreachableError("nobody", code="bus.no_responders")
        async with working(here):
            record = await here.ended(await here.submit())
    assert record.view.state is JobState.COMPLETED
    assert here.kinds()[:2] == kinds("leased", "lost")


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (RefusedError("no memory", code="enclave.start"), "enclave.start"),
        (ZeroDivisionError("a bug"), "internal"),
    ],
)
async def test_a_driver_that_fails_hands_the_job_back_and_the_pool_goes_on(
    site: Bus, refusal: Exception, code: str
) -> None:
    async def work(enclave: FakeEnclave) -> None:
        await here.finish(enclave)
        enclave.end(0)

    async with host(site, work) as here:
        here.driver.refusal = refusal
        async with working(here):
            job = await here.submit()
            await wait_for(lambda: ReportKind.LOST in here.kinds(), "the job is handed back")
            here.driver.refusal = None
            assert (await here.ended(job)).view.state is JobState.COMPLETED
    reason = here.reports[1].reason
    assert reason is not None
    assert reason.code == code
    assert "a bug" not in reason.message


async def test_a_host_that_stops_hands_its_job_back_at_once(site: Bus) -> None:
    async with host(site) as here:
        async with working(here):
            job = await here.submit()
            await wait_for(lambda: len(here.driver.started) == 1, "the enclave is started")
        await wait_for(lambda: ReportKind.LOST in here.kinds(), "the ledger is told")
        assert here.reports[-1].reason is not None
        assert here.reports[-1].reason.code == "enclave.host_stopped"
        async with asyncio.timeout(10), WorkQueue(site, QUEUE) as queue:
            delivery = await queue.next()
            assert delivery.num_delivered == 2
            await delivery.ack()
        assert (await here.record(job)).view.state is JobState.SUBMITTED


async def test_a_job_that_is_cancelled_ends_its_enclave(site: Bus) -> None:
    async with host(site) as here, working(here):
        job = await here.submit()
        await wait_for(lambda: len(here.driver.started) == 1, "the enclave is started")
        await wait_for(lambda: ReportKind.LEASED in here.kinds(), "the lease is known")
        await here.change(job, core.CancelRequested())
        await settled(here)
        assert here.driver.started[0].stops == 1
    assert here.kinds() == kinds("leased")


async def test_a_job_that_has_ended_already_gets_no_enclave(site: Bus) -> None:
    async with host(site) as here:
        job = await here.submit()
        await here.change(job, core.CancelRequested())
        async with working(here):
            await settled(here)
    assert here.driver.started == []
    assert here.reports == []


async def test_an_attempt_that_was_overtaken_ends_its_enclave_and_says_that_it_is_gone(
    site: Bus,
) -> None:
    async with host(site) as here, working(here):
        job = await here.submit()
        await wait_for(lambda: ReportKind.LEASED in here.kinds(), "the lease is known")
        await wait_for(lambda: len(here.driver.started) == 1, "the enclave is started")
        later = replace(here.reports[0], attempt=2, enclave_id="elsewhere", host_id="host-2")
        await here.change(job, later)
        await wait_for(lambda: ReportKind.LOST in here.kinds(), "it says so")
        assert here.driver.started[0].stops == 1
    assert here.kinds() == kinds("leased", "lost")
    assert await here.queued() == 1  # it is the other manager's to settle


async def test_an_enclave_that_ends_well_and_never_reported_is_lost(
    site: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "FINISH_WAIT_S", 0.05)

    async def work(enclave: FakeEnclave) -> None:
        enclave.end(0)

    async with host(site, work) as here, working(here):
        reason = await first_loss(here)
    assert reason.code == "enclave.lost"
    assert "does not know why" in reason.message


async def test_the_last_report_of_an_enclave_may_take_its_time(site: Bus) -> None:
    async def work(enclave: FakeEnclave) -> None:
        enclave.end(0)
        await asyncio.sleep(0.1)
        await here.finish(enclave)

    async with host(site, work) as here, working(here):
        record = await here.ended(await here.submit())
    assert record.view.state is JobState.COMPLETED
    assert record.view.attempt == 1


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x80", b"\x81\xa1x\x01"])
async def test_a_spawn_request_that_is_none_is_buried_and_work_goes_on(
    site: Bus, payload: bytes
) -> None:
    async def work(enclave: FakeEnclave) -> None:
        await here.finish(enclave)
        enclave.end(0)

    async with host(site, work) as here, working(here, slots=1):
        await here.spawn(payload)
        record = await here.ended(await here.submit())
        await settled(here)
    assert record.view.state is JobState.COMPLETED
    dead = read_stream(site, topology.DEAD.name, subjects.DEAD.wildcard)
    buried = [message async for message in dead]
    assert [message.payload for message in buried] == [payload]
    assert buried[0].headers["atoll-reason"].startswith("message.")


async def test_a_request_for_a_job_that_nobody_knows_leaves_the_queue(site: Bus) -> None:
    request = SpawnRequest(
        job_id="ghost", tee=Tee.SIMULATED, manifest_digest="0" * 64, expires_ms=1
    )
    async with host(site) as here, working(here):
        await here.spawn(schema.encode(request))
        await settled(here)
    assert here.driver.started == []
    assert here.kinds()[-1] is ReportKind.GAVE_UP


async def test_no_more_is_pulled_than_there_are_slots(site: Bus) -> None:
    async with host(site) as here, working(here, slots=2):
        jobs = [await here.submit() for _ in range(3)]
        await wait_for(lambda: len(here.driver.started) == 2, "two enclaves run")
        for job in jobs:
            await here.change(job, core.CancelRequested())
        await settled(here)
        assert len({enclave.spec.job_id for enclave in here.driver.started}) <= 3
    assert all(enclave.stops == 1 for enclave in here.driver.started)
