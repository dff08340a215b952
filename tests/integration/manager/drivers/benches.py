"""A bench for each driver: what the conformance suite needs to start its enclaves.

A driver is added to `BENCHES`. Run as a program, this is a manager that starts an enclave, says
which, and stays until it is killed:

    python benches.py DRIVER DIRECTORY PLAN
"""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from atoll.simulated.report import SimulatedGuest
from atoll_manager.drivers.driver import Claim, EnclaveSpec, HostDriver
from atoll_manager.drivers.process import ProcessDriver
from atoll_manager.records import Records
from support.evidence import guest

MakeDriver = Callable[..., HostDriver]
WINDOW_S = 60.0
GRACE_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a bench's driver is made of; as JSON it passes to another process."""

    bus: str
    """Where enclaves look for the bus."""
    window_s: float = WINDOW_S
    extra: dict[str, str] = field(default_factory=dict)
    """What the driver needs to know beside: addresses, images."""
    settings: dict[str, str] = field(default_factory=dict)
    """Further settings of the agent."""

    def common(self, directory: Path, store: Records, group: asyncio.TaskGroup) -> dict[str, Any]:
        """What all drivers are made with."""
        return {
            "settings": {
                "ATOLL_AGENT_NATS_URL": self.bus,
                "ATOLL_AGENT_NATS_SENTINEL": "none",
                "ATOLL_AGENT_HOST_ID": "host-1",
                **self.settings,
            },
            "launch": launch,
            "log_dir": directory,
            "store": store,
            "window_s": self.window_s,
            "grace_s": GRACE_S,
            "group": group,
        }


def launch(_: EnclaveSpec) -> SimulatedGuest:
    return guest()


def process(plan: Plan, directory: Path, store: Records, group: asyncio.TaskGroup) -> HostDriver:
    return ProcessDriver(
        python=plan.extra.get("python", sys.executable), **plan.common(directory, store, group)
    )


def docker(plan: Plan, directory: Path, store: Records, group: asyncio.TaskGroup) -> HostDriver:
    from atoll_manager.drivers.docker import DockerDriver

    return DockerDriver(
        engine=plan.extra["engine"],
        image=plan.extra["image"],
        owner=store.instance,
        channels=directory / "channels",
        **plan.common(directory, store, group),
    )


def libvirt(plan: Plan, directory: Path, store: Records, group: asyncio.TaskGroup) -> HostDriver:
    from atoll_manager.drivers.libvirt import Guests, LibvirtDriver
    from atoll_manager.libvirt.domain import Acceleration

    return LibvirtDriver(
        libvirt=CONNECTED[-1],
        guests=Guests(
            image=Path(plan.extra["image"]),
            emulator=Path(plan.extra["emulator"]),
            acceleration=Acceleration.TCG,
            memory_mib=int(plan.extra["memory_mib"]),
        ),
        owner=store.instance,
        domains=directory / "domains",
        **plan.common(directory, store, group),
    )


BENCHES: dict[str, MakeDriver] = {"process": process, "docker": docker, "libvirt": libvirt}
CONNECTED: list[Any] = []
"""The connection to libvirt that is open, where a plan has one."""


@contextlib.asynccontextmanager
async def connected(plan: Plan) -> AsyncIterator[None]:
    """With what the plan's driver needs to be connected to."""
    if "libvirt" not in plan.extra:
        yield
        return
    from atoll_manager.libvirt.connection import Libvirt

    async with Libvirt(plan.extra["libvirt"]).connected() as it:
        CONNECTED.append(it)
        try:
            yield
        finally:
            CONNECTED.pop()


def a_spec(enclave_id: str, **changes: Any) -> EnclaveSpec:
    """An enclave of a job, for a spawn request that was delivered."""
    claim = Claim(
        reply="$JS.ACK.SPAWN.managers-simulated.1.7.9.1700000000000000000.0",
        subject="atoll.v1.spawn.simulated",
        payload=b"\x00\xff",
        headers={},
    )
    made = EnclaveSpec(
        enclave_id=enclave_id, job_id="job-1", attempt=1, manifest_digest="ab" * 32, claim=claim
    )
    return replace(made, **changes)


@contextlib.asynccontextmanager
async def manager_to_kill(
    name: str, directory: Path, plan: Plan, **changes: Any
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A manager in a process of its own, and the enclave that it has started."""
    tests = Path(__file__).parents[3]
    told = {"bus": plan.bus, "window_s": plan.window_s, "extra": plan.extra}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, name, str(directory), json.dumps(told), json.dumps(changes)),
        env={"PYTHONPATH": f"{tests}:{tests.parent}", "PATH": os.defpath},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        enclave_id = (await process.stdout.readline()).decode().strip()
        assert enclave_id, "the manager could not start one; it said why on standard error"
        yield process, enclave_id
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]


async def start_and_stay(name: str, directory: Path, plan: Plan, changes: dict[str, Any]) -> None:
    if "libvirt" in plan.extra:
        # That of the tests is theirs as long as they live.
        plan.extra["libvirt"] = f"qemu:///embed?root={directory / 'libvirt'}"
    async with connected(plan), asyncio.TaskGroup() as group:
        store = Records(directory / "enclaves")
        driver = BENCHES[name](plan, directory, store, group)
        await driver.adopt()
        enclave = await driver.start(a_spec(store.new_enclave_id(), **changes))
        sys.stdout.write(enclave.enclave_id + "\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    _, which, where, what, other = sys.argv
    asyncio.run(start_and_stay(which, Path(where), Plan(**json.loads(what)), json.loads(other)))
