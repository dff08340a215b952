"""Enclaves for the tests of driver `process`: real keepers, with a script for an agent.

Run as a program, it is a manager that starts one and then kills itself.
"""

import asyncio
import os
import secrets
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from atoll.simulated.report import SimulatedGuest
from atoll_manager.drivers.driver import Claim, EnclaveSpec
from atoll_manager.drivers.process import ProcessDriver
from atoll_manager.records import Records
from support.evidence import guest
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
    case "leased":
        with os.fdopen(int(env["LEASE_FD"]), "rb") as pipe:
            say("waits")
            line = pipe.readline()
            say("told " + line.decode().strip())
            say("then " + repr(pipe.readline()))
        if line:
            time.sleep(60)
        sys.exit(3)
    case "environment":
        say("env " + " ".join(sorted(os.environ)))
        say("fds " + " ".join(sorted(os.listdir("/proc/self/fd"))))
"""


def spec() -> EnclaveSpec:
    return EnclaveSpec(
        enclave_id=f"eunit{secrets.token_hex(8)}",
        job_id="job-1",
        attempt=1,
        manifest_digest="00" * 32,
    )


@dataclass(kw_only=True)
class Rig:
    """A driver whose interpreter is the script above."""

    directory: Path
    group: asyncio.TaskGroup
    store: Records

    def driver(
        self,
        mode: str,
        *,
        python: str | None = None,
        log_dir: Path | None = None,
        window_s: float = 60.0,
        **settings: str,
    ) -> ProcessDriver:
        script = self.directory / "python"
        script.write_text(STAND_IN)
        script.chmod(0o700)
        return ProcessDriver(
            python=python or str(script),
            settings={"MODE": mode, "PATH": os.defpath, **settings},
            launch=self.launch,
            log_dir=log_dir or self.directory,
            store=self.store,
            window_s=window_s,
            grace_s=0.05,
            group=self.group,
        )

    def launch(self, _spec: EnclaveSpec) -> SimulatedGuest:
        return guest()

    def log(self, of: EnclaveSpec) -> str:
        return (self.directory / f"enclave-{of.enclave_id}.log").read_text()

    async def ready(self, of: EnclaveSpec) -> None:
        await wait_for(lambda: "ready" in self.log(of), "the child says that it is ready")


def claimed(of: EnclaveSpec) -> EnclaveSpec:
    """The same, for a spawn request that was delivered."""
    claim = Claim(
        reply="$JS.ACK.SPAWN.managers-simulated.1.7.9.1700000000000000000.0",
        subject="atoll.v1.spawn.simulated",
        payload=b"\x00\xff",
        headers={"traceparent": "00-11-22-01"},
    )
    return replace(of, claim=claim)


async def start_and_die(directory: Path, mode: str, window_s: float, expires_ms: int) -> None:
    """What a manager does that is killed while its enclave runs."""
    async with asyncio.TaskGroup() as group:
        rig = Rig(directory=directory, group=group, store=Records(directory / "enclaves"))
        of = replace(claimed(spec()), enclave_id=rig.store.new_enclave_id(), expires_ms=expires_ms)
        await rig.driver(mode, window_s=window_s, STATUS="0").start(of)
        sys.stdout.write(of.enclave_id)
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGKILL)


async def killed_manager(
    directory: Path, mode: str, *, window_s: float = 60.0, expires_ms: int = 0
) -> str:
    """The enclave that a manager left running which was killed."""
    tests = Path(__file__).parents[2]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        __file__,
        str(directory),
        mode,
        str(window_s),
        str(expires_ms),
        env={"PYTHONPATH": f"{tests}:{tests.parent}", "PATH": os.defpath},
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    assert process.returncode == -signal.SIGKILL
    return said.decode().strip()


if __name__ == "__main__":
    _, where, how, window, until = sys.argv
    asyncio.run(start_and_die(Path(where), how, float(window), int(until)))
