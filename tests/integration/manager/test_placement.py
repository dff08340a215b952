"""Each job runs where it may and nowhere else; what cannot start is not taken."""

import asyncio
from typing import Any

import pytest

from atoll.bus import Bus, WorkQueue
from atoll.bus.jetstream import api
from atoll.computation.placement import Placement
from atoll.wire import topology
from atoll.wire.messages import JobState, Tee
from atoll.wire.placement import class_of, plain
from atoll_cli.waiting import why_waiting
from atoll_manager.drivers.driver import Claim, EnclaveSpec
from integration.manager.fleet import GIB, Fleet, fleet
from integration.manager.host import FakeEnclave
from support.nats import wait_for

GPU = Placement(labels={"gpu": "a100"})
LARGE = Placement(memory_bytes=20 * GIB)
CPUS = Placement(cpus=6)
DEDICATED = Placement(dedicated=True)


def finishing(it: Fleet) -> None:
    """Let every enclave end its job at once."""

    async def work(enclave: FakeEnclave) -> None:
        await ended(it, enclave)

    it.script = work


async def ended(it: Fleet, enclave: FakeEnclave) -> None:
    await it.here.finish(enclave)
    await it.here.ended(enclave.spec.job_id)
    enclave.end(0)


async def untouched(it: Fleet, placement: Placement | None, tenant: str = "main") -> int:
    """How many jobs of such a queue nobody has had yet, once nobody is asking it any more."""
    consumer = class_of(Tee.SIMULATED, it.needs(placement, tenant=tenant)).consumer
    info = await api(it.here.bus, f"CONSUMER.INFO.{consumer.stream}.{consumer.name}")
    assert (info["num_ack_pending"], info["num_redelivered"]) == (0, 0)
    return int(info["num_pending"])


async def why(it: Fleet, job_id: str, placement: Placement | None, tenant: str = "main") -> str:
    view = await it.view(job_id)
    hosts = [machine.describe() for machine in it.machines.values()]
    return why_waiting(view, hosts, it.needs(placement, tenant=tenant)) or ""


async def test_each_job_runs_where_it_may_and_nowhere_else(site: Bus) -> None:
    async with fleet(site) as it:
        finishing(it)
        await it.add("small", memory_bytes=4 * GIB, cpus=2)
        await it.add("big", memory_bytes=64 * GIB)
        await it.add("gpu", memory_bytes=64 * GIB, labels={"gpu": "a100", "zone": "b"})
        await it.add("theirs", memory_bytes=64 * GIB, labels={"gpu": "a100"}, tenants=("north",))
        may: dict[str, set[str]] = {}
        for _ in range(6):
            may[await it.submit()] = {"small", "big", "gpu"}
            may[await it.submit(LARGE)] = {"big", "gpu"}
            may[await it.submit(CPUS, tenant="north")] = {"big", "gpu"}
            may[await it.submit(GPU)] = {"gpu"}
            may[await it.submit(DEDICATED, tenant="north")] = {"theirs"}
        await wait_for(lambda: it.started().keys() == may.keys(), "every job was started")
        where = it.started()
        assert {job: host for job, host in where.items() if host not in may[job]} == {}
        assert it.attempts() == {1}
        for job_id, host_id in where.items():
            view = (await it.here.ended(job_id)).view
            assert (view.state, view.host_id) == (JobState.COMPLETED, host_id)


@pytest.mark.parametrize(
    ("placement", "tenant", "said", "has"),
    [
        (GPU, "main", "no simulated host that it may use has gpu=a100", {"labels": GPU.labels}),
        (
            LARGE,
            "main",
            "it needs a host with 24.0 GiB for jobs, and the largest {may use} has 8.0 GiB",
            {"memory_bytes": 24 * GIB},
        ),
        (
            Placement(cpus=9),
            "main",
            "it needs 12 processors for itself, and the largest {may use} has 8",
            {"cpus": 12},
        ),
        (
            DEDICATED,
            "north",
            "no simulated host is dedicated to the tenant north",
            {"tenants": ("south", "north")},
        ),
    ],
)
async def test_a_job_that_needs_what_no_host_has_waits_and_starts_when_one_appears(
    site: Bus, placement: Placement, tenant: str, said: str, has: dict[str, Any]
) -> None:
    async with fleet(site) as it:
        finishing(it)
        await it.add("host")
        await it.add("theirs", tenants=("south",))
        job_id = await it.submit(placement, tenant=tenant)
        other = await it.submit()
        await it.here.ended(other)
        assert it.started() == {other: "host"}
        assert await untouched(it, placement, tenant) == 1
        said = said.replace("{may use}", "simulated host that it may use")
        assert await why(it, job_id, placement, tenant) == said
        await it.add("new", **has)
        await it.here.ended(job_id)
        assert it.started()[job_id] == "new"
        assert it.attempts() == {1}


async def test_a_host_that_is_reserved_takes_nothing_else(site: Bus) -> None:
    async with fleet(site) as it:
        await it.add("theirs", tenants=("south",))
        job_id = await it.submit()
        foreign = await it.submit(DEDICATED, tenant="north")
        own = await it.submit(DEDICATED, tenant="south")
        await wait_for(lambda: own in it.started(), "its own job runs there")
        said = "every simulated host is reserved for jobs that ask for one of their tenant's"
        assert await why(it, job_id, None) == said
        assert "the tenant north" in await why(it, foreign, DEDICATED, "north")
        assert await untouched(it, None) == 1
        assert await untouched(it, DEDICATED, "north") == 1


async def test_no_more_is_taken_than_there_is_room_for(site: Bus) -> None:
    """Memory and processors as the jobs ask, whatever the slots."""
    async with fleet(site) as it:
        machine = await it.add("host", memory_bytes=9 * GIB, cpus=7)
        jobs = [await it.submit() for _ in range(3)]
        await wait_for(lambda: len(machine.running) == 3, "three of 2 GiB run")
        wide = await it.submit(CPUS)
        await wait_for(lambda: len(machine.running) == 4, "and one more")
        late = [await it.submit(), await it.submit(CPUS)]
        assert "which other jobs have claimed" in await why(it, late[0], None)
        assert "claimed on 1 host" in await why(it, late[1], CPUS)
        await ended(it, next(each for each in machine.running if each.spec.job_id == jobs[0]))
        await wait_for(lambda: late[0] in it.started(), "one of the same size takes its place")
        assert late[1] not in it.started(), "there are too few processors for that"
        await ended(it, next(each for each in machine.running if each.spec.job_id == wide))
        await wait_for(lambda: late[1] in it.started(), "now there are enough")
        assert len(machine.running) == 4
        assert it.attempts() == {1}


@pytest.mark.parametrize("patience_s", [0.1, 1000.0])
async def test_a_large_job_does_not_starve_behind_small_ones(site: Bus, patience_s: float) -> None:
    """Every end of a small job is followed by two that wait: the host is never empty by itself.
    Without patience at an end the large job starves, which shows that this is what helps."""
    whole = Placement(memory_bytes=8 * GIB)
    async with fleet(site) as it:
        machine = await it.add("host", memory_bytes=8 * GIB, patience_s=patience_s)
        for _ in range(8):
            await it.submit()
        await wait_for(lambda: len(machine.running) == 4, "small jobs fill it")
        large = await it.submit(whole)
        rounds = 0
        while large not in it.started() and rounds < 40:
            rounds += 1
            if machine.running:
                await ended(it, machine.running[0])
                await it.submit()
                await it.submit()
            await asyncio.sleep(0.05)
        assert (large in it.started()) == (patience_s < 1)
        if large in it.started():
            assert machine.pool.keeps_room_for is None
            await ended(it, next(e for e in machine.running if e.spec.job_id == large))
            await wait_for(lambda: len(machine.running) == 4, "then the small ones go on")
        assert it.attempts() == {1}


async def test_a_host_that_keeps_room_for_a_job_that_is_gone_goes_on(site: Bus) -> None:
    whole = Placement(memory_bytes=8 * GIB)
    async with fleet(site) as it:
        machine = await it.add("host", memory_bytes=8 * GIB, patience_s=0.1)
        for _ in range(6):
            await it.submit()
        await wait_for(lambda: len(machine.running) == 4, "small jobs fill it")
        large = await it.submit(whole)
        place = class_of(Tee.SIMULATED, it.needs(whole))
        await wait_for(
            lambda: machine.pool.keeps_room_for == place.consumer.name, "it loses patience"
        )
        assert await why(it, large, whole)
        await ended(it, machine.running[0])
        await asyncio.sleep(0.3)
        assert len(machine.running) == 3
        assert "keep it for a larger job" in await why(it, "job-5", None)
        async with WorkQueue(site, place.consumer) as queue:
            await (await queue.next()).ack()  # as if another host had taken it
        for enclave in machine.running:
            await ended(it, enclave)
        await wait_for(lambda: len(machine.running) == 2, "the other small ones run")


async def test_an_enclave_with_further_needs_is_found_again_with_its_claims(site: Bus) -> None:
    async with fleet(site) as it:
        await it.submit(CPUS)
        place = class_of(Tee.SIMULATED, it.needs(CPUS))
        async with WorkQueue(site, place.consumer) as queue:
            delivery = await queue.next()
            queue.release(delivery.reply_subject)  # its manager was killed
        spec = EnclaveSpec(
            enclave_id="e1",
            job_id="job-0",
            attempt=1,
            manifest_digest=(await it.view("job-0")).manifest_digest,
            claim=Claim(
                reply=delivery.reply_subject,
                subject=delivery.subject,
                payload=delivery.payload,
                headers=delivery.headers,
            ),
        )
        enclave = FakeEnclave(spec=spec, bus=site)
        machine = await it.add("host", adopted=[enclave])
        await wait_for(lambda: machine.pool.busy == 1, "it is adopted")
        assert (machine.describe().taken_cpus, machine.describe().taken_bytes) == (6, 2 * GIB)
        await it.submit(CPUS)
        await asyncio.sleep(0.3)
        assert machine.driver.started == [], "two of them have no room"
        await ended(it, enclave)
        await wait_for(lambda: len(machine.driver.started) == 1, "one after the other")
        assert enclave.stops


async def test_a_queue_that_vanished_is_made_again_and_its_jobs_run(site: Bus) -> None:
    async with fleet(site) as it:
        finishing(it)
        await it.add("host", labels=GPU.labels)
        consumer = class_of(Tee.SIMULATED, it.needs(GPU)).consumer
        await it.here.ended(await it.submit(GPU))
        await api(site, f"CONSUMER.DELETE.{consumer.stream}.{consumer.name}")
        job_id = await it.submit(GPU)
        await it.tending.look()
        await it.here.ended(job_id)


def test_the_plain_queue_is_that_of_the_topology() -> None:
    assert plain(Tee.SIMULATED).consumer in topology.CONSUMERS
