"""What every driver promises, with the real agent inside: each has the same suite."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from atoll.errors import RefusedError
from atoll_manager.drivers.driver import EnclaveEvent, EventKind, HostDriver
from atoll_manager.processes import identify, lives
from atoll_manager.records import Records, record_path
from integration.manager.drivers.benches import BENCHES, Plan, a_spec, connected, manager_to_kill
from integration.manager.drivers.conftest import Bus
from support.nats import wait_for

UNREACHABLE = 3
"""How an agent ends that was told to, before its job did."""
REFUSED = 2
KILLED = -int(signal.SIGKILL)

pytestmark = pytest.mark.timeout(900)


@dataclass
class Rig:
    driver: HostDriver
    store: Records
    group: asyncio.TaskGroup

    def spec(self, **changes: Any) -> Any:
        return a_spec(self.store.new_enclave_id(), **changes)

    def main_process(self, enclave_id: str) -> int:
        record = self.store.read(enclave_id)
        assert record is not None
        assert record.agent is not None
        return record.agent.pid


@asynccontextmanager
async def rig(bench: str, plan: Plan, directory: Path) -> AsyncIterator[Rig]:
    """A driver; afterwards nothing of it is left."""
    async with connected(plan), asyncio.TaskGroup() as group:
        with closing(Records(directory / "enclaves")) as store:
            driver = BENCHES[bench](plan, directory, store, group)
            yield Rig(driver, store, group)
            assert await driver.list() == ()
            assert {path.name for path in store.directory.iterdir()} <= {"lock", "instance"}
            for name in ("channels", "domains"):
                folder = directory / name
                assert not folder.exists() or not list(folder.iterdir())
            if bench == "docker":
                assert containers(plan, store.instance) == []


def containers(plan: Plan, owner: str) -> list[tuple[str, str]]:
    from atoll_manager import engine

    client = engine.connect(plan.extra["engine"])
    try:
        return engine.owned(client, owner)
    finally:
        client.close()


async def test_the_agent_runs_and_ends_when_it_is_told_to(
    bench: str, plan: Plan, stub: Bus, tmp_path: Path
) -> None:
    async with rig(bench, plan, tmp_path) as it:
        heard: list[EnclaveEvent] = []

        async def hear() -> None:
            async for event in it.driver.events():
                heard.append(event)  # noqa: PERF401 - it is looked at meanwhile

        hearing = it.group.create_task(hear())
        await asyncio.sleep(0)
        enclave = await it.driver.start(it.spec())
        await stub.enclave()
        (listed,) = await it.driver.list()
        assert (listed.enclave_id, listed.kind != "") == (enclave.enclave_id, True)
        assert listed.pid == it.main_process(enclave.enclave_id)
        await enclave.stop(60.0)
        assert await enclave.wait() == UNREACHABLE
        await wait_for(lambda: len(heard) == 2, "both events")
        hearing.cancel()
        assert [event.kind for event in heard] == [EventKind.STARTED, EventKind.ENDED]
        assert heard[1].status == UNREACHABLE


async def test_an_agent_that_ends_by_itself_tells_its_status(
    bench: str, plan: Plan, tmp_path: Path
) -> None:
    unfit = replace(plan, settings={"ATOLL_AGENT_ASSIGN_TIMEOUT_S": "soon"})
    async with rig(bench, unfit, tmp_path) as it:
        enclave = await it.driver.start(it.spec())
        assert await enclave.wait() == REFUSED
        await enclave.stop(0.0)


async def test_a_stop_without_grace_kills(
    bench: str, plan: Plan, stub: Bus, tmp_path: Path
) -> None:
    async with rig(bench, plan, tmp_path) as it:
        enclave = await it.driver.start(it.spec())
        await stub.enclave()
        await enclave.stop(0.0)
        assert await enclave.wait() in {KILLED, UNREACHABLE}


async def test_one_that_is_killed_is_noticed(
    bench: str, plan: Plan, stub: Bus, tmp_path: Path
) -> None:
    async with rig(bench, plan, tmp_path) as it:
        events = it.driver.events()

        async def first() -> EnclaveEvent:
            return await anext(events)

        begun = it.group.create_task(first())
        await asyncio.sleep(0)
        enclave = await it.driver.start(it.spec())
        assert (await begun).kind is EventKind.STARTED
        await stub.enclave()
        os.kill(it.main_process(enclave.enclave_id), signal.SIGKILL)
        assert await enclave.wait() == KILLED
        event = await anext(events)
        assert (event.kind, event.status) == (EventKind.CRASHED, KILLED)
        await events.aclose()  # type: ignore[attr-defined]
        await enclave.stop(0.0)


async def test_it_ends_at_its_deadline(bench: str, plan: Plan, tmp_path: Path) -> None:
    async with rig(bench, plan, tmp_path) as it:
        over = round(time.time() * 1000) - 4000
        enclave = await it.driver.start(it.spec(expires_ms=over))
        # It may not have come so far that it listens to a signal.
        assert await enclave.wait() in {KILLED, -int(signal.SIGTERM), UNREACHABLE}
        await enclave.stop(0.0)


async def test_a_prepared_one_is_told_its_job_once(
    bench: str, plan: Plan, stub: Bus, tmp_path: Path
) -> None:
    async with rig(bench, plan, tmp_path) as it:
        enclave = await it.driver.prepare()
        assert stub.came.empty()
        of = it.spec()
        assert await enclave.lease(of)
        await stub.enclave()
        assert enclave.enclave_id == of.enclave_id
        await enclave.stop(60.0)
        assert await enclave.wait() == UNREACHABLE


async def test_a_killed_keeper_takes_its_enclave_with_it(
    bench: str, plan: Plan, stub: Bus, tmp_path: Path
) -> None:
    async with rig(bench, plan, tmp_path) as it:
        enclave = await it.driver.start(it.spec())
        await stub.enclave()
        record = it.store.read(enclave.enclave_id)
        assert record is not None
        assert record.keeper is not None
        assert record.agent is not None
        os.kill(record.keeper.pid, signal.SIGKILL)
        assert await enclave.wait() == KILLED
        assert not lives(record.agent)
        await enclave.stop(0.0)


async def test_another_manager_adopts_it_and_gets_its_status(
    bench: str, plan: Plan, stub: Bus, tmp_path: Path
) -> None:
    async with manager_to_kill(bench, tmp_path, plan) as (process, enclave_id):
        await stub.enclave()
        process.kill()
        await process.wait()
    async with rig(bench, plan, tmp_path) as it:
        (adopted,) = await it.driver.adopt()
        assert adopted.spec == a_spec(enclave_id)
        assert identify(it.main_process(enclave_id)) is not None
        await adopted.stop(60.0)
        assert await adopted.wait() == UNREACHABLE


async def test_without_a_manager_it_ends_within_the_window(
    bench: str, plan: Plan, stub: Bus, tmp_path: Path
) -> None:
    short = replace(plan, window_s=0.2)
    async with manager_to_kill(bench, tmp_path, short) as (process, enclave_id):
        await stub.enclave()
        process.kill()
        await process.wait()
    path = record_path(tmp_path / "enclaves", enclave_id)
    await wait_for(
        lambda: json.loads(path.read_bytes())["status"] is not None, "it ends", within_s=60
    )
    async with rig(bench, plan, tmp_path) as it:
        (ended,) = await it.driver.adopt()
        assert await ended.wait() in {KILLED, UNREACHABLE}
        await ended.stop(0.0)


async def test_a_start_that_cannot_be_is_refused_and_leaves_nothing(
    bench: str, plan: Plan, tmp_path: Path
) -> None:
    wrong = {"image": "sha256:" + "0" * 64, "python": str(tmp_path / "missing")}
    broken = replace(plan, extra={**plan.extra, **wrong})
    async with rig(bench, broken, tmp_path) as it:
        with pytest.raises(RefusedError) as caught:
            await it.driver.start(it.spec())
        assert caught.value.code == "enclave.start"
        with pytest.raises(RefusedError):
            await it.driver.prepare()
