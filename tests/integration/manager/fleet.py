"""Hosts that are unlike each other on one bus, with the gateway's queues and a ledger."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from atoll.bus import Bus, KeyValue
from atoll.computation.manifest import Manifest
from atoll.computation.manifest import digest as manifest_digest
from atoll.computation.placement import Placement, needs_of
from atoll.wire import schema, topology
from atoll.wire.hosts import HostRecord
from atoll.wire.messages import JobView, Tee
from atoll.wire.placement import Needs, SpawnClass, misfit, plain
from atoll_gateway import core
from atoll_gateway.adapters import BusOutlet, KvJobs, KvManifests
from atoll_gateway.placing import Placing
from atoll_gateway.tending import Tending
from atoll_manager.classes import Classes
from atoll_manager.patience import Patience
from atoll_manager.pool import SlotPool
from atoll_manager.reservations import Capacity, Reservations
from integration.manager.host import FakeDriver, FakeEnclave, Host, Script, host, idle
from integration.manager.test_registry import RECORD
from support.gateway import submission

NOW_MS = 1_800_000_000_000
GIB = 1 << 30


@dataclass(kw_only=True)
class Machine:
    """One host of a fleet."""

    record: HostRecord
    driver: FakeDriver
    pool: SlotPool
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    @property
    def running(self) -> list[FakeEnclave]:
        return [each for each in self.driver.started if not each.ended.done()]

    def describe(self) -> HostRecord:
        """What it says of itself."""
        claimed = self.pool.claimed()
        return replace(
            self.record,
            busy=self.pool.busy,
            taken_bytes=claimed.memory_bytes,
            taken_cpus=claimed.cpus,
            keeps_room_for=self.pool.keeps_room_for,
        )


@dataclass(kw_only=True)
class Fleet:
    """The bus, the ledger, and the machines by their ids."""

    here: Host
    placing: Placing
    tending: Tending
    script: Script = idle
    machines: dict[str, Machine] = field(default_factory=dict)
    clock: list[int] = field(default_factory=lambda: [NOW_MS])
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    async def add(
        self, host_id: str, *, patience_s: float = 1000.0, adopted: Any = (), **changes: Any
    ) -> Machine:
        """A machine that takes jobs from now on."""
        usual: dict[str, Any] = {"labels": {}, "slots": 8, "cpus": 8, "memory_bytes": 8 * GIB}
        record = replace(RECORD, host_id=host_id, **(usual | changes))
        driver = FakeDriver(bus=self.here.bus, group=self.here.group, script=self.script)
        runner = self.here.runner()
        runner.driver, runner.host_id = driver, host_id

        def can_start(it: SpawnClass) -> bool:
            return misfit(it.tee, it.needs, record) is None

        classes = Classes(self.here.bus, can_start, [plain(Tee.SIMULATED)])
        capacity = Capacity(slots=record.slots, memory_bytes=record.memory_bytes, cpus=record.cpus)
        pool = SlotPool(
            self.here.bus, runner, classes.current, Reservations(capacity), adopted=adopted
        )
        patience = Patience(
            *(self.here.bus, host_id, pool.overtaken, pool.keep_room_for),
            shortest_s=patience_s,
            look_s=0.1,
        )
        machine = Machine(record=record, driver=driver, pool=pool)
        for work in (pool.run(), classes.follow(pool.look_again), patience.run()):
            machine.tasks.append(self.here.group.create_task(work))
        self.machines[host_id] = machine
        return machine

    async def submit(
        self,
        placement: Placement | None = None,
        *,
        tenant: str = "main",
        deadline_ms: int = 1 << 40,
    ) -> str:
        """A job, as the gateway accepts it."""
        number = next(self.numbers)
        agreed = submission(nonce=number, placement=placement).agreed
        digest = manifest_digest(agreed.manifest).hex()
        await self.placing.require(Manifest.from_bytes(agreed.manifest), digest, tenant)
        bus = self.here.bus
        await KeyValue(bus, topology.MANIFESTS).put(digest, schema.encode(agreed))
        record = core.submitted(
            job_id=f"job-{number}",
            tee=Tee.SIMULATED,
            manifest_digest=digest,
            now_ms=self.clock[0],
            deadline_ms=deadline_ms,
            traceparent="",
            trace_id=None,
            tenant=tenant,
        )
        await self.here.jobs.create(record.view.job_id, schema.encode(replace(record, outbox=())))
        await BusOutlet(bus, self.placing).spawn(record)
        return record.view.job_id

    def needs(self, placement: Placement | None = None, *, tenant: str = "main") -> Needs:
        """What such a job needs."""
        agreed = submission(placement=placement).agreed
        return needs_of(Manifest.from_bytes(agreed.manifest), tenant)

    async def view(self, job_id: str) -> JobView:
        return (await self.here.record(job_id)).view

    def started(self) -> dict[str, str]:
        """Where each job was started."""
        return {
            enclave.spec.job_id: host_id
            for host_id, machine in self.machines.items()
            for enclave in machine.driver.started
        }

    def attempts(self) -> set[int]:
        return {
            enclave.spec.attempt
            for machine in self.machines.values()
            for enclave in machine.driver.started
        }

    async def stop(self, host_id: str) -> None:
        """Stop a machine as its manager stops."""
        tasks = self.machines[host_id].tasks
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@asynccontextmanager
async def fleet(site: Bus, script: Script = idle) -> AsyncIterator[Fleet]:
    """A fleet without machines."""
    async with host(site) as here:
        clock = [NOW_MS]
        placing = Placing(site, KvManifests(site), lambda: clock[0])
        tending = Tending(site, placing, KvJobs(site), lambda: clock[0])
        following = here.group.create_task(placing.follow())
        it = Fleet(here=here, placing=placing, tending=tending, script=script, clock=clock)
        try:
            yield it
        finally:
            for host_id in it.machines:
                await it.stop(host_id)
            following.cancel()
            for machine in it.machines.values():
                for task in machine.driver.scripts:
                    task.cancel()
