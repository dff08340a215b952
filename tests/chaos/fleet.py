"""What is attacked: one `atoll up`, and beside it a second gateway, attestor and manager.

The second ones are started with the settings of the first, apart from their names, and
started again whenever they end. When the supervisor is killed, all of the first end (the bus
too) and it is started again; the second ones stay and wait for the bus, as on another host.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from atoll.errors import AtollError
from atoll_cli.stack.service import ServiceProcess, ServiceSpec, start
from chaos.census import Census, Inmate
from chaos.facts import Kill
from chaos.plan import Target
from support.stack import Stack

SECOND: Final = (Target.ATTESTOR, Target.GATEWAY, Target.MANAGER)
RESTART_S: Final = 0.3
UP_TRIES: Final = 5
PORTS: Final = range(20_000, 32_000)
"""Below those that the system gives to whoever asks: ours must be free again after a kill."""
_LOCAL: Final = "127.0.0.1"


class Fleet:
    """The processes of one stack, and how to kill and restart its supervisor."""

    def __init__(self, stack: Stack, tasks: asyncio.TaskGroup) -> None:
        self._stack = stack
        self._tasks = tasks
        self._up = asyncio.Event()
        self._second: dict[Target, ServiceProcess | None] = {}
        self._keeping: list[asyncio.Task[None]] = []
        self.census = Census(nats_url=f"nats://{stack.nats}", data_dir=stack.data_dir)
        self.faults: list[str] = []

    def candidates(self, target: Target) -> list[Inmate]:
        """Who can be killed now. Those of a stack that only starts are left alone: it would
        give up, as it should."""
        return self.census.living(target) if self._up.is_set() else self._beside(target)

    async def serve_up(self) -> None:
        """Start everything; returns when all of it is ready."""
        await asyncio.to_thread(self._stack.start)
        self._up.set()
        specs = [self._spec(target) for target in SECOND]
        for target, spec in zip(SECOND, specs, strict=True):
            self._second[target] = await start(spec)
        for target, spec in zip(SECOND, specs, strict=True):
            self._keeping.append(self._tasks.create_task(self._keep(target, spec)))

    async def kill_supervisor(self) -> Kill:
        """SIGKILL to `atoll up`; it is started again when all that it had started is gone."""
        await self._up.wait()
        self._up.clear()
        pid = self._stack.pid
        now = time.time_ns() // 1_000_000
        self._tasks.create_task(self._again())
        return Kill(time_ms=now, target=Target.SUPERVISOR, pid=pid)

    async def settle(self) -> None:
        """Return when the supervisor is up and nothing is started anew any more."""
        await self._up.wait()

    async def stop(self) -> None:
        """Stop everything in order."""
        for task in self._keeping:
            task.cancel()
        if self._keeping:
            await asyncio.wait(self._keeping)
        for service in self._second.values():
            if service is not None:
                await service.stop()
        status = await asyncio.to_thread(self._stack.stop)
        if status != 0:
            self.faults.append(f"the stack ended with status {status}")

    async def _again(self) -> None:
        left = await asyncio.to_thread(self._stack.kill_and_wait)
        if left:
            self.faults.append(f"processes {left} outlived their supervisor")
        for _ in range(UP_TRIES):
            try:
                await asyncio.to_thread(self._stack.start)
            except BaseException as error:  # pytest.fail is no Exception
                if isinstance(error, asyncio.CancelledError):
                    raise
                said = str(error)
            else:
                self._up.set()
                return
        self.faults.append(f"the stack did not start again: {said[-500:]}")

    async def _keep(self, target: Target, spec: ServiceSpec) -> None:
        while True:
            service = self._second[target]
            if service is not None:
                await service.wait()
                self._second[target] = None
            await asyncio.sleep(RESTART_S)
            # Without a bus it does not come up: then it is tried again.
            with contextlib.suppress(AtollError):
                self._second[target] = await start(spec)

    def _beside(self, target: Target) -> list[Inmate]:
        pids = {service.pid for service in self._second.values() if service is not None}
        # An agent is its keeper's child, and that one the manager's.
        agents = {
            one.pid
            for one in self.census.living(Target.AGENT)
            if {one.parent, parent_of(one.parent)} & pids
        }
        return [
            one for one in self.census.living(target) if {one.pid, one.parent} & (pids | agents)
        ]

    def _spec(self, target: Target) -> ServiceSpec:
        """The settings of the service that `atoll up` started, under another name."""
        raw = Path(f"/proc/{self._stack.service(target.value)}/environ").read_bytes().decode()
        env = dict(line.partition("=")[::2] for line in raw.split("\0") if line)
        prefix = f"ATOLL_{target.value.upper()}_"
        changed = {
            Target.GATEWAY: {"HTTP_PORT": "0", "INSTANCE": "second"},
            Target.MANAGER: {
                "HOST_ID": "second",
                "DATA_DIR": str(self._stack.data_dir.parent / "second"),
            },
        }.get(target, {})
        return ServiceSpec(
            name=f"{target.value}-second",
            module=f"atoll_{target.value}.main",
            env={**env, **{prefix + name: value for name, value in changed.items()}},
            log=self._stack.data_dir / "logs" / f"{target.value}-second.log",
        )


def parent_of(pid: int) -> int:
    """The parent of a process; 0 when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[1])


@contextlib.asynccontextmanager
async def fleet(root: Path, *, slots: int) -> AsyncIterator[tuple[Fleet, Stack]]:
    """A running fleet below `root`; nothing of it stays."""
    stack = Stack(root, slots=slots, nats=f"{_LOCAL}:{free_port()}")
    async with asyncio.TaskGroup() as tasks:
        served = Fleet(stack, tasks)
        looking = tasks.create_task(served.census.run())
        try:
            await served.serve_up()
            yield served, stack
        finally:
            looking.cancel()
            served.census.close()
            await served.stop()


def free_port() -> int:
    """One that nobody listens on, and that the system gives to nobody."""
    first = os.getpid() % len(PORTS)  # so that two runs at once do not ask for the same
    for number in range(len(PORTS)):
        port = PORTS[(first + number) % len(PORTS)]
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind((_LOCAL, port))
            return port
    raise OSError("no port is free")
