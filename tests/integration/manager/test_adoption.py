"""A manager takes over what an earlier one of its host left, over another connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from atoll.bus import Bus, WorkQueue
from atoll.bus.pull import Puller
from atoll.errors import MessageError
from atoll.wire.messages import JobState, Report, ReportKind
from atoll_manager.drivers.driver import Claim, EnclaveSpec
from atoll_manager.pool import SlotPool
from integration.manager.host import QUEUE, FakeEnclave, Host, host, plain_pool
from support.nats import wait_for


async def taken(host: Host, job_id: str) -> FakeEnclave:
    """The enclave of a manager that took the job, started it and is gone."""
    puller = Puller(host.bus, QUEUE.stream, QUEUE.name, batch=1)
    await puller.open()
    message = await puller.next()
    await puller.close()
    attempt = int(message.reply.split(".")[-5])
    record = await host.record(job_id)
    spec = EnclaveSpec(
        enclave_id=f"e-{job_id}-{attempt}",
        job_id=job_id,
        attempt=attempt,
        manifest_digest=record.view.manifest_digest,
        claim=Claim(
            reply=message.reply,
            subject=message.subject,
            payload=message.payload,
            headers=message.headers,
        ),
    )
    await host.tell(
        Report(
            job_id=job_id,
            attempt=attempt,
            kind=ReportKind.LEASED,
            enclave_id=spec.enclave_id,
            host_id="host-1",
        )
    )
    enclave = FakeEnclave(spec=spec, bus=host.bus)
    host.driver.started.append(enclave)
    return enclave


@asynccontextmanager
async def adopting(host: Host, *enclaves: FakeEnclave, slots: int = 2) -> AsyncIterator[SlotPool]:
    pool = plain_pool(host, host.runner(), slots, adopted=enclaves)
    task = host.group.create_task(pool.run())
    try:
        yield pool
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_what_was_going_on_is_held_on_admitted_and_acknowledged(site: Bus) -> None:
    async with host(site) as here:
        job_id = await here.submit()
        enclave = await taken(here, job_id)
        async with adopting(here, enclave):
            await enclave.attest(datetime.now(UTC))
            await enclave.assignment()
            await here.finish(enclave)
            record = await here.ended(job_id)
            enclave.end(0)

            async def settled() -> bool:
                return await here.queued() == 0

            await wait_for(settled, "the spawn request is acknowledged")
        assert record.view.state is JobState.COMPLETED
        assert (record.view.attempt, record.view.enclave_id) == (1, enclave.enclave_id)
        assert ReportKind.LOST not in here.kinds()


async def test_one_that_was_offered_its_work_is_not_judged_again(site: Bus) -> None:
    """The attestation result that admitted it is long expired."""
    async with host(site) as here:
        job_id = await here.submit()
        enclave = await taken(here, job_id)
        for kind in (ReportKind.ADMITTED, ReportKind.STARTED):
            await here.tell(
                Report(job_id=job_id, attempt=1, kind=kind, enclave_id=enclave.enclave_id)
            )

        async def runs() -> bool:
            return (await here.record(job_id)).view.state is JobState.RUNNING

        await wait_for(runs, "the job runs")
        await enclave.attest(datetime(2020, 1, 1, tzinfo=UTC))
        async with adopting(here, enclave):
            await here.finish(enclave)
            record = await here.ended(job_id)
            enclave.end(0)
        assert record.view.state is JobState.COMPLETED


async def test_one_that_died_meanwhile_is_handed_back_at_once(site: Bus) -> None:
    async with host(site) as here:
        job_id = await here.submit()
        enclave = await taken(here, job_id)
        enclave.end(-9)
        async with adopting(here, enclave):
            await wait_for(lambda: len(here.driver.started) == 2, "the next attempt has started")
        assert here.driver.started[1].spec.attempt == 2
        assert here.driver.started[1].spec.job_id == job_id


async def test_one_that_was_superseded_is_stopped_and_its_successor_left_alone(
    site: Bus,
) -> None:
    async with host(site) as here:
        job_id = await here.submit()
        first = await taken(here, job_id)
        assert first.spec.claim is not None
        await here.bus.send(first.spec.claim.reply, b"-NAK")
        second = await taken(here, job_id)
        assert second.spec.attempt == 2

        async def known() -> bool:
            return (await here.record(job_id)).view.attempt == 2

        await wait_for(known, "the ledger knows the second attempt")
        async with adopting(here, first):
            await wait_for(lambda: ReportKind.LOST in here.kinds(), "the first is gone")
            assert first.stops > 0
        assert second.stops == 0
        assert await here.queued() == 1
        assert set(here.kinds()) == {ReportKind.LEASED, ReportKind.LOST}
        second.stops = 1  # it is not ours to stop


async def test_adopted_enclaves_take_slots_also_when_there_are_fewer_than_before(
    site: Bus,
) -> None:
    async with host(site) as here:
        enclaves = [await taken(here, await here.submit()) for _ in range(2)]
        waiting = await here.submit()
        async with adopting(here, *enclaves, slots=1) as pool:
            await wait_for(lambda: pool.busy == 2, "both are seen to")
            for enclave in enclaves:
                assert len(here.driver.started) == 2
                await here.finish(enclave)
                await here.ended(enclave.spec.job_id)
                enclave.end(0)
            await wait_for(lambda: len(here.driver.started) == 3, "the third has its slot")
            assert here.driver.started[2].spec.job_id == waiting


@pytest.mark.parametrize(
    "reply",
    ["", "$JS.ACK.OTHER.managers-simulated.1.7.9.1700000000000000000.0", "$JS.API.STREAM.DELETE.X"],
)
async def test_only_a_delivery_of_this_queue_can_be_taken_over(site: Bus, reply: str) -> None:
    async with WorkQueue(site, QUEUE) as queue:
        with pytest.raises(MessageError) as caught:
            await queue.take_over(reply, subject="s", payload=b"", headers={})
    assert caught.value.code == "bus.not_a_delivery"
