"""Driver `process` on real children: nothing of one is left, however it ends."""

import asyncio
import gc
import os
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from atoll.enclave_storage import workspace_path
from atoll.errors import RefusedError
from atoll_manager.records import Records
from atoll_manager.workspaces import reap_workspace
from support.evidence import Binding, guest
from support.nats import wait_for
from unit.manager.enclaves import Rig, spec


def held() -> tuple[set[str], set[str]]:
    """Our open descriptors and our children, dead ones that nobody reaped among them."""
    gc.collect()
    descriptors = {path.name for path in Path("/proc/self/fd").iterdir()}
    children = " ".join(path.read_text() for path in Path("/proc/self/task").glob("*/children"))
    return descriptors, set(children.split())


@asynccontextmanager
async def rigged(directory: Path) -> AsyncIterator[Rig]:
    """A rig; afterwards no descriptor, child or task of it is left."""
    before = held()
    async with asyncio.TaskGroup() as group:
        with closing(Records(directory / "enclaves")) as store:
            yield Rig(directory=directory, group=group, store=store)
            assert not store.ids()
    assert held() == before


@pytest.mark.parametrize("status", [0, 1, 2, 3])
async def test_an_enclave_that_ends_tells_its_status_and_is_reaped(
    tmp_path: Path, status: int
) -> None:
    async with rigged(tmp_path) as rig:
        enclave = await rig.driver("end", STATUS=str(status)).start(of := spec())
        assert await enclave.wait() == status
        await enclave.stop(1.0)
        assert await enclave.wait() == status
    assert rig.log(of) == "-I -m atoll_agent.main\n"


async def test_an_enclave_gets_reports_from_its_device(tmp_path: Path) -> None:
    assert len(guest().attest(Binding().report_data)) == 1184
    async with rigged(tmp_path) as rig:
        enclave = await rig.driver("ask").start(of := spec())
        assert await enclave.wait() == 0
        await enclave.stop(1.0)
    assert "report True" in rig.log(of)


async def test_an_enclave_has_its_settings_its_device_and_nothing_else(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        enclave = await rig.driver("environment").start(of := spec())
        await enclave.wait()
        await enclave.stop(1.0)
    environment = next(line for line in rig.log(of).splitlines() if line.startswith("env"))
    names = set(environment.split()[1:]) - {"LC_CTYPE"}  # which Python sets for itself
    assert {name for name in names if not name.startswith("ATOLL_AGENT_")} == {"MODE", "PATH"}
    descriptors = next(line for line in rig.log(of).splitlines() if line.startswith("fds"))
    # Three streams, the device, and the directory that is being listed.
    assert len(descriptors.split()) == 1 + 5


async def test_an_enclave_that_is_told_to_stop_may_erase_first(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        enclave = await rig.driver("patient").start(of := spec())
        await rig.ready(of)
        await enclave.stop(30.0)
        assert await enclave.wait() == 7


async def test_an_enclave_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        enclave = await rig.driver("deaf").start(of := spec())
        await rig.ready(of)
        await enclave.stop(0.01)
        assert await enclave.wait() == -signal.SIGKILL


async def test_a_stop_that_is_cancelled_kills_all_the_same(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        enclave = await rig.driver("deaf").start(of := spec())
        await rig.ready(of)
        stopping = rig.group.create_task(enclave.stop(60.0))
        await asyncio.sleep(0)
        stopping.cancel()
        await asyncio.wait({stopping})
        assert await enclave.wait() == -signal.SIGKILL


async def test_what_an_enclave_leaves_in_its_group_goes_with_it(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        enclave = await rig.driver("litter").start(of := spec())
        await enclave.wait()
        await enclave.stop(1.0)
        left = int(rig.log(of).rpartition("left ")[2])

        def gone() -> bool:
            try:
                return "\nState:\tZ" in Path(f"/proc/{left}/status").read_text()
            except OSError:
                return True

        await wait_for(gone, "the child's child is killed")


async def test_no_signal_is_sent_once_the_child_was_reaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rigged(tmp_path) as rig:
        enclave = await rig.driver("end", STATUS="0").start(spec())
        await enclave.wait()
        sent: list[int] = []
        monkeypatch.setattr(os, "killpg", lambda pid, _: sent.append(pid))
        await enclave.stop(1.0)
    assert sent == []


async def test_a_start_that_fails_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        for driver in (
            rig.driver("end", python=str(tmp_path / "missing")),
            rig.driver("end", log_dir=tmp_path / "missing"),
        ):
            with pytest.raises(RefusedError) as caught:
                await driver.start(spec())
            assert caught.value.code == "enclave.start"


async def test_what_a_killed_enclave_left_in_memory_is_erased(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        enclave = await rig.driver("deaf").start(of := spec())
        await rig.ready(of)
        path = workspace_path(of.enclave_id)
        here = path / "results"
        here.mkdir(parents=True)
        for _ in range(12):
            here = here / ("d" * 200)
            here.mkdir()
        (path / "data").write_bytes(b"plaintext")
        await enclave.stop(0.01)
        assert not path.exists()


def test_reaping_what_is_not_there_is_fine() -> None:
    reap_workspace(f"unit-{secrets.token_hex(8)}")


def test_what_cannot_be_erased_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_path: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("atoll_manager.workspaces.erase", refuse)
    monkeypatch.setattr("atoll_manager.workspaces.REAP_PAUSE_S", 0.0)
    reap_workspace("e1")
    assert "could not be erased: Operation not permitted" in caplog.text
