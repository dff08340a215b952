"""Enclaves that are started in advance: at hand when a job comes, used once, never too many."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from atoll.errors import RefusedError
from atoll.wire import level
from atoll_manager import warm as warming
from atoll_manager.drivers.driver import EnclaveSpec
from atoll_manager.drivers.kept_enclave import KeptEnclave
from atoll_manager.processes import lives
from atoll_manager.warm import WarmLimits, WarmPool, wanted
from support.nats import wait_for
from unit.manager.enclaves import claimed, spec
from unit.manager.test_process_driver import rigged


@pytest.mark.parametrize(
    ("minimum", "maximum", "demand", "room", "found"),
    [
        (0, 0, 9, 9, 0),
        (2, 2, 0, 9, 2),
        (2, 5, 1, 9, 2),
        (2, 5, 3, 9, 3),
        (2, 5, 9, 9, 5),
        (2, 5, 9, 1, 1),
        (2, 5, 9, 0, 0),
    ],
)
def test_how_many_wait(minimum: int, maximum: int, demand: int, room: int, found: int) -> None:
    limits = WarmLimits(minimum=minimum, maximum=maximum)
    assert wanted(limits, demand=demand, room=room) == found


@dataclass(eq=False)
class Fake:
    """An enclave of a few events."""

    spec: EnclaveSpec
    takes: bool | Exception = True
    stops: int = 0
    ended: "asyncio.Future[int]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def enclave_id(self) -> str:
        return self.spec.enclave_id

    async def wait(self) -> int:
        return await asyncio.shield(self.ended)

    async def stop(self, grace_s: float) -> None:
        self.stops += 1
        if not self.ended.done():
            self.ended.set_result(-9)

    async def lease(self, of: EnclaveSpec) -> bool:
        assert self.spec.is_warm, "an enclave serves one job"
        if isinstance(self.takes, Exception):
            raise self.takes
        if self.takes:
            self.spec = of
        return self.takes


@dataclass
class Host:
    """A pool over fakes, with what it asks for."""

    state: bytes = b"one"
    room: int = 9
    now: float = 0.0
    warm: list[Fake] = field(default_factory=list)
    cold: list[Fake] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    refusal: RefusedError | None = None

    async def start(self, of: EnclaveSpec) -> Fake:
        self.cold.append(Fake(of))
        return self.cold[-1]

    async def prepare(self) -> Fake:
        await self.gate.wait()
        if self.refusal is not None:
            raise self.refusal
        blank = EnclaveSpec(
            enclave_id=f"w{len(self.warm)}", job_id="", attempt=0, manifest_digest=""
        )
        self.warm.append(Fake(blank))
        return self.warm[-1]


@asynccontextmanager
async def pool(host: Host, minimum: int = 2, maximum: int = 2) -> AsyncIterator[WarmPool]:
    made = WarmPool(
        host,
        lambda: host.state,
        WarmLimits(minimum=minimum, maximum=maximum),
        lambda: host.room,
        clock=lambda: host.now,
    )
    async with asyncio.TaskGroup() as group:
        running = group.create_task(made.run())
        yield made
        running.cancel()
    assert made.ready == 0
    assert all(each.stops for each in host.warm if each.spec.is_warm), "none is left"


async def full(it: WarmPool, count: int = 2) -> None:
    await wait_for(lambda: it.ready == count, f"{count} are ready")


async def test_a_job_gets_one_that_is_ready_and_the_next_is_prepared() -> None:
    host = Host()
    host.gate.set()
    async with pool(host) as it:
        await full(it)
        enclave = await it.start(of := spec())
        assert enclave is host.warm[0]
        assert enclave.enclave_id == of.enclave_id
        await full(it)
        assert (len(host.warm), host.cold) == (3, [])


async def test_no_enclave_serves_two_jobs() -> None:
    """Nor two tenants, then."""
    host = Host()
    host.gate.set()
    async with pool(host, 2, 2) as it:
        served = []
        for _ in range(20):
            served.append(await it.start(spec()))
            await asyncio.sleep(0)
        assert len(set(map(id, served))) == 20


async def test_with_none_at_hand_one_is_started_as_ever() -> None:
    host = Host(room=0)
    host.gate.set()
    async with pool(host) as it:
        assert await it.start(spec()) is host.cold[0]


async def test_one_that_is_being_prepared_is_waited_for() -> None:
    """Two for one job would be more than there are slots."""
    host = Host()
    async with pool(host, 1, 1) as it, asyncio.TaskGroup() as group:
        await asyncio.sleep(0.01)
        starting = group.create_task(it.start(spec()))
        await asyncio.sleep(0.01)
        assert not starting.done()
        host.gate.set()
        assert await starting is host.warm[0]
        assert host.cold == []


async def test_when_none_can_be_prepared_jobs_start_as_ever() -> None:
    host = Host(refusal=RefusedError("no", code="enclave.start"))
    host.gate.set()
    async with pool(host) as it:
        assert await it.start(spec()) is host.cold[0]


async def test_those_of_another_image_are_ended() -> None:
    host = Host()
    host.gate.set()
    async with pool(host) as it:
        await full(it)
        host.state = b"two"
        assert await it.start(spec()) is not host.warm[0]
        assert all(each.stops for each in host.warm[:2])
        await full(it)


async def test_one_that_ended_while_it_waited_is_replaced() -> None:
    host = Host()
    host.gate.set()
    async with pool(host) as it:
        await full(it)
        host.warm[0].ended.set_result(1)
        await wait_for(lambda: len(host.warm) == 3, "another is prepared")
        await full(it)


async def test_one_that_ended_unseen_is_passed_over() -> None:
    host = Host()
    host.gate.set()
    async with pool(host) as it:
        await full(it)
        host.warm[0].takes = False
        assert await it.start(spec()) is host.warm[1]
        assert host.warm[0].stops


async def test_when_nobody_knows_whether_it_was_told_it_is_ended_and_the_attempt_fails() -> None:
    """A second enclave of the same name might meet the first."""
    host = Host()
    host.gate.set()
    async with pool(host) as it:
        await full(it)
        host.warm[0].takes = RefusedError("silent", code="enclave.start")
        with pytest.raises(RefusedError):
            await it.start(spec())
        assert host.warm[0].stops
        assert host.cold == []


async def test_as_many_as_jobs_came_of_late_and_no_more_than_the_most() -> None:
    host = Host()
    host.gate.set()
    async with pool(host, 1, 3) as it:
        await full(it, 1)
        await it.start(spec())
        await it.start(spec())
        await full(it, 2)
        for _ in range(4):
            await it.start(spec())
        await full(it, 3)
        host.now += warming.DEMAND_S + 1
        it.poke()
        await asyncio.sleep(0.01)
        host.now += warming.LOOK_S
        for _ in range(3):
            it.poke()
            await asyncio.sleep(0.01)
            host.now += warming.LOOK_S
        await full(it, 1)


async def test_without_room_they_go_but_not_under_the_hands_of_a_job() -> None:
    host = Host()
    host.gate.set()
    async with pool(host) as it:
        await full(it)
        host.room = 0  # a job has claimed the last slot, and takes one of them now
        it.poke()
        await asyncio.sleep(0.01)
        assert await it.start(spec()) is host.warm[0]
        for _ in range(3):
            host.now += warming.LOOK_S
            it.poke()
            await asyncio.sleep(0.01)
        assert it.ready == 0


# With real keepers.


async def test_a_prepared_enclave_is_told_its_job_once_and_is_that_enclave(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        enclave = await rig.driver("leased").prepare()
        blank = enclave.spec
        await wait_for(lambda: "waits" in rig.log(blank), "it waits")
        assert "told" not in rig.log(blank)
        of = claimed(spec())
        assert await enclave.lease(of)
        assert enclave.enclave_id == of.enclave_id
        await wait_for(lambda: "then" in rig.log(of), "it was told")
        told = json.loads(next(line for line in rig.log(of).splitlines() if "told" in line)[5:])
        assert told == {
            "ENCLAVE_ID": of.enclave_id,
            "JOB_ID": of.job_id,
            "ATTEMPT": "1",
            "MANIFEST_DIGEST": of.manifest_digest,
            "TRACEPARENT": "",
        }
        assert "then b''" in rig.log(of), "nothing can be told after that"
        with pytest.raises(AssertionError):
            await enclave.lease(spec())
        assert rig.store.ids() == (of.enclave_id,)
        record = rig.store.read(of.enclave_id)
        assert record is not None
        assert record.spec == of
        await enclave.stop(0.0)


async def test_a_leased_enclave_is_of_the_release_that_started_it(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        level.limit(1)
        enclave = await rig.driver("leased").prepare()
        level.limit(level.NEWEST)
        of = claimed(spec())
        assert await enclave.lease(of)
        record = rig.store.read(of.enclave_id)
        assert record is not None
        assert record.speaks == 1
        assert rig.store.newest_level() == 1
        await enclave.stop(0.0)
        assert rig.store.newest_level() == level.NEWEST


async def test_a_keeper_hands_no_second_job_over(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        enclave = await rig.driver("leased").prepare()
        assert await enclave.lease(spec())
        enclave._leased = None
        enclave._spec = replace(enclave.spec, job_id="")
        assert not await enclave.lease(spec())
        await enclave.stop(0.0)


async def test_a_prepared_enclave_that_ended_takes_no_job(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        enclave = await rig.driver("end", STATUS="3").prepare()
        await enclave.wait()
        with pytest.raises(RefusedError):
            await enclave.lease(spec())
        await enclave.stop(0.0)


async def test_a_leased_enclave_ends_at_its_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rigged(tmp_path) as rig:
        enclave = await rig.driver("leased").prepare()
        assert await enclave.lease(replace(spec(), expires_ms=1))
        assert await enclave.wait() == -signal.SIGTERM
        await enclave.stop(0.0)


async def test_whose_keeper_dies_while_it_waits_ends_unused(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        enclave = await rig.driver("leased").prepare()
        blank = enclave.spec
        await wait_for(lambda: "waits" in rig.log(blank), "it waits")
        record = rig.store.read(enclave.enclave_id)
        assert record is not None
        assert record.keeper is not None
        os.kill(record.keeper.pid, signal.SIGKILL)
        await enclave.wait()
        await enclave.stop(0.0)
        assert record.agent is not None
        assert not lives(record.agent)


async def test_what_a_killed_manager_prepared_is_ended_by_the_next_one(tmp_path: Path) -> None:
    """What it had leased is adopted with its job."""
    async with rigged(tmp_path) as rig:
        driver = rig.driver("leased")
        waiting, working = await driver.prepare(), await driver.prepare()
        of = claimed(spec())
        of = replace(of, enclave_id=rig.store.new_enclave_id())
        assert await working.lease(of)
        records = {name: rig.store.read(name) for name in rig.store.ids()}
        (found,) = await rig.driver("leased").adopt()
        assert isinstance(found, KeptEnclave)
        assert found.spec == of
        left = records[waiting.enclave_id]
        assert left is not None
        assert left.agent is not None
        assert not lives(left.agent)
        await found.stop(0.0)
        await waiting.stop(0.0)
        await working.stop(0.0)
