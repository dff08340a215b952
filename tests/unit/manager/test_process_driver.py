"""Driver `process` on real children: nothing of one is left, however it ends."""

import asyncio
import gc
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from atoll.enclave_storage import workspace_path
from atoll.errors import RefusedError
from atoll.simulated.report import SimulatedGuest
from atoll_manager.drivers.driver import EnclaveSpec
from atoll_manager.drivers.process import ProcessDriver
from atoll_manager.main import reap_workspace
from support.evidence import Binding, chain, guest
from support.nats import wait_for

STAND_IN = f"""#!{sys.executable} -I
import os, signal, socket, subprocess, sys, time
env = {{key.removeprefix("ATOLL_AGENT_"): value for key, value in os.environ.items()}}
def say(text):
    print(text, file=sys.stderr, flush=True)
say(" ".join(sys.argv[1:]))
match os.environ["MODE"]:
    case "end":
        sys.exit(int(os.environ["STATUS"]))
    case "ask":
        device = socket.socket(fileno=int(env["DEVICE_FD"]))
        device.sendall(bytes(64) + bytes(4))
        got = b""
        while len(got) < 1196:
            got += device.recv(65536)
        say("report " + str(got[4:8] == (1184).to_bytes(4, "little")))
    case "patient":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
        say("ready")
        time.sleep(60)
    case "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        say("ready")
        time.sleep(60)
    case "litter":
        left = subprocess.Popen(["sleep", "60"], stderr=subprocess.DEVNULL)
        say("left " + str(left.pid))
    case "environment":
        say("env " + " ".join(sorted(os.environ)))
        say("fds " + " ".join(sorted(os.listdir("/proc/self/fd"))))
"""


def spec() -> EnclaveSpec:
    return EnclaveSpec(
        enclave_id=f"unit-{secrets.token_hex(8)}",
        job_id="job-1",
        attempt=1,
        manifest_digest="00" * 32,
    )


@dataclass(kw_only=True)
class Rig:
    """A driver whose interpreter is the script above."""

    directory: Path
    group: asyncio.TaskGroup
    reaped: list[str] = field(default_factory=list)

    def driver(
        self,
        mode: str,
        *,
        python: str | None = None,
        log_dir: Path | None = None,
        reap: Callable[[str], None] | None = None,
        **settings: str,
    ) -> ProcessDriver:
        script = self.directory / "python"
        script.write_text(STAND_IN)
        script.chmod(0o700)
        return ProcessDriver(
            python=python or str(script),
            settings={"MODE": mode, "PATH": os.defpath, **settings},
            launch=self.launch,
            table=chain().table().to_bytes(),
            log_dir=log_dir or self.directory,
            reap=reap or self.reaped.append,
            group=self.group,
        )

    def launch(self, _spec: EnclaveSpec) -> SimulatedGuest:
        return guest()

    def log(self, of: EnclaveSpec) -> str:
        return (self.directory / f"enclave-{of.enclave_id}.log").read_text()

    async def ready(self, of: EnclaveSpec) -> None:
        await wait_for(lambda: "ready" in self.log(of), "the child says that it is ready")


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
        yield Rig(directory=directory, group=group)
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
    assert rig.reaped == [of.enclave_id]
    assert rig.log(of) == "-I -m atoll_agent.main\n"


async def test_an_enclave_gets_reports_from_its_device(tmp_path: Path) -> None:
    assert len(guest().attest(Binding().report_data)) == 1184
    async with rigged(tmp_path) as rig:
        enclave = await rig.driver("ask").start(of := spec())
        assert await enclave.wait() == 0
    assert "report True" in rig.log(of)


async def test_an_enclave_has_its_settings_its_device_and_nothing_else(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        enclave = await rig.driver("environment").start(of := spec())
        await enclave.wait()
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
    assert rig.reaped == [of.enclave_id]


async def test_what_an_enclave_leaves_in_its_group_goes_with_it(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        enclave = await rig.driver("litter").start(of := spec())
        await enclave.wait()
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
    assert rig.reaped == []


async def test_what_a_killed_enclave_left_in_memory_is_erased(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        enclave = await rig.driver("deaf", reap=reap_workspace).start(of := spec())
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

    monkeypatch.setattr("atoll_manager.main.erase", refuse)
    monkeypatch.setattr("atoll_manager.main.REAP_PAUSE_S", 0.0)
    reap_workspace("e1")
    assert "could not be erased: Operation not permitted" in caplog.text
