"""A manager was killed: the next one on its directory finds its enclaves, or clears them away."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from atoll.enclave_storage import workspace_path
from atoll.errors import ConfigError
from atoll_manager.drivers.kept_enclave import FORSAKEN, EndedEnclave, KeptEnclave
from atoll_manager.processes import ProcessId, lives
from atoll_manager.records import Records
from support.nats import wait_for
from unit.manager.enclaves import Rig, claimed, killed_manager, spec


@asynccontextmanager
async def next_manager(directory: Path) -> AsyncIterator[Rig]:
    """A manager that starts where another one was; it forgets what it settled."""
    async with asyncio.TaskGroup() as group:
        with closing(Records(directory / "enclaves")) as store:
            yield Rig(directory=directory, group=group, store=store)
            assert not store.ids()
            assert not list(store.directory.glob("*.sock"))


def processes(directory: Path, enclave_id: str) -> tuple[ProcessId, ProcessId]:
    """Keeper and agent, as they are written down."""
    with closing(Records(directory / "enclaves")) as store:
        record = store.read(enclave_id)
    assert record is not None
    assert record.keeper is not None
    assert record.agent is not None
    return record.keeper, record.agent


async def test_a_running_enclave_is_adopted_with_what_it_is_for(tmp_path: Path) -> None:
    left = await killed_manager(tmp_path, "patient")
    _, agent = processes(tmp_path, left)
    async with next_manager(tmp_path) as rig:
        (enclave,) = await rig.driver("end").adopt()
        assert isinstance(enclave, KeptEnclave)
        assert enclave.enclave_id == left
        assert enclave.spec.claim == claimed(spec()).claim
        await rig.ready(enclave.spec)
        assert lives(agent)
        await enclave.stop(30.0)
        assert await enclave.wait() == 7
    assert not lives(agent)


async def test_an_enclave_that_ended_alone_is_told_with_its_status(tmp_path: Path) -> None:
    left = await killed_manager(tmp_path, "end")
    keeper, _ = processes(tmp_path, left)
    await wait_for(lambda: not lives(keeper), "the keeper has nothing more to keep")
    async with next_manager(tmp_path) as rig:
        (enclave,) = await rig.driver("end").adopt()
        assert isinstance(enclave, EndedEnclave)
        assert await enclave.wait() == 0
        await enclave.stop(1.0)


async def test_without_a_manager_an_enclave_ends_when_the_window_is_over(tmp_path: Path) -> None:
    left = await killed_manager(tmp_path, "deaf", window_s=0.2)
    workspace_path(left).mkdir()
    keeper, agent = processes(tmp_path, left)
    await wait_for(lambda: not (lives(keeper) or lives(agent)), "both have ended")
    assert not workspace_path(left).exists()
    async with next_manager(tmp_path) as rig:
        (enclave,) = await rig.driver("end").adopt()
        assert await enclave.wait() == -signal.SIGKILL
        await enclave.stop(1.0)


async def test_without_a_manager_an_enclave_ends_at_its_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overdue = int(time.time() * 1000) - 60_000
    left = await killed_manager(tmp_path, "patient", expires_ms=overdue)
    keeper, agent = processes(tmp_path, left)
    await wait_for(lambda: not (lives(keeper) or lives(agent)), "both have ended")
    async with next_manager(tmp_path) as rig:
        for enclave in await rig.driver("end").adopt():
            await enclave.stop(1.0)


async def test_an_enclave_that_was_killed_with_its_manager_is_cleared_away(
    tmp_path: Path,
) -> None:
    left = await killed_manager(tmp_path, "deaf")
    keeper, agent = processes(tmp_path, left)
    os.kill(keeper.pid, signal.SIGKILL)
    await wait_for(lambda: not lives(keeper), "the keeper is dead")
    workspace_path(left).mkdir()
    assert lives(agent)
    async with next_manager(tmp_path) as rig:
        (enclave,) = await rig.driver("end").adopt()
        assert await enclave.wait() == FORSAKEN
        assert not lives(agent)
        assert not workspace_path(left).exists()
        await enclave.stop(1.0)


async def test_a_keeper_that_is_killed_takes_its_enclave_with_it(tmp_path: Path) -> None:
    async with next_manager(tmp_path) as rig:
        enclave = await rig.driver("deaf").start(of := spec())
        await rig.ready(of)
        keeper, agent = (
            process
            for process in (
                rig.store.read(of.enclave_id).keeper,  # type: ignore[union-attr]
                rig.store.read(of.enclave_id).agent,  # type: ignore[union-attr]
            )
            if process is not None
        )
        workspace_path(of.enclave_id).mkdir()
        os.kill(keeper.pid, signal.SIGKILL)
        assert await enclave.wait() == FORSAKEN
        assert not lives(agent)
        assert not workspace_path(of.enclave_id).exists()
        await enclave.stop(1.0)


async def test_a_workspace_of_this_host_without_a_record_is_erased_and_no_other(
    tmp_path: Path,
) -> None:
    async with next_manager(tmp_path) as rig:
        ours, other = workspace_path(rig.store.new_enclave_id()), workspace_path(f"e{'0' * 24}")
        for path in (ours, other):
            path.mkdir()
        try:
            assert await rig.driver("end").adopt() == ()
            assert not ours.exists()
            assert other.exists()
        finally:
            other.rmdir()


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"version": 9}', b"\xff" * 9])
async def test_a_record_that_nobody_can_read_is_thrown_away(tmp_path: Path, raw: bytes) -> None:
    async with next_manager(tmp_path) as rig:
        rig.store.path(rig.store.new_enclave_id()).write_bytes(raw)
        assert await rig.driver("end").adopt() == ()


def test_a_directory_has_one_manager_and_keeps_its_name(tmp_path: Path) -> None:
    with closing(Records(tmp_path)) as first:
        name = first.instance
        with pytest.raises(ConfigError) as caught:
            Records(tmp_path)
    assert caught.value.code == "host.data_in_use"
    with closing(Records(tmp_path)) as second:
        assert second.instance == name
        assert second.new_enclave_id().startswith(f"e{name[:8]}")
