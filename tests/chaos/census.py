"""Which processes of one stack live: known by the settings in their environment, so that no
other stack's on this machine is ever taken for one of ours.

A process is looked at again for its first second: at the beginning it still is its parent's
copy. Its death is told by the kernel (a descriptor of the process becomes readable), to the
millisecond.
"""

import asyncio
import contextlib
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from chaos.facts import Kill, Sighting
from chaos.plan import Target

LOOK_S: Final = 0.04
_LOOKS: Final = 50
"""How often a new process is looked at until it is one of ours; then it is none."""
_SERVICES: Final = {
    "atoll_gateway.main": Target.GATEWAY,
    "atoll_attestor.main": Target.ATTESTOR,
    "atoll_manager.main": Target.MANAGER,
    "atoll_agent.main": Target.AGENT,
}
_WORKER: Final = "atoll_agent.worker"


@dataclass(slots=True, kw_only=True)
class Inmate:
    """A living process of ours."""

    pid: int
    parent: int
    target: Target
    descriptor: int = field(repr=False)
    job_id: str = ""
    attempt: int = 0
    enclave_id: str = ""


class Census:
    """Follows the processes of the stack whose bus is `nats_url` and whose data is `data_dir`."""

    def __init__(self, *, nats_url: str, data_dir: Path) -> None:
        self._nats_url = nats_url
        self._conf = str(data_dir / "nats" / "nats.conf")
        self._ages: dict[int, int] = {}
        self._living: dict[int, Inmate] = {}
        self._sightings: dict[str, Sighting] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    async def next_look(self) -> None:
        """Return when somebody may have come."""
        await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Take in who is new; who has gone is told by the kernel."""
        there = {int(name) for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208 - 25 times a second
        for pid in self._ages.keys() - there:
            del self._ages[pid]
        for pid in there:
            looks = self._ages.get(pid, 0)
            if looks < _LOOKS:
                self._ages[pid] = looks + 1
                self._meet(pid)
        for one in self._living.values():
            self._sighted(one)

    def living(self, target: Target) -> list[Inmate]:
        """Those of a kind, the oldest first."""
        return [one for one in self._living.values() if one.target is target]

    def sightings(self) -> tuple[Sighting, ...]:
        """Every enclave that was ever seen."""
        return tuple(self._sightings.values())

    def kill(self, one: Inmate) -> Kill | None:
        """SIGKILL to exactly this process; None when it has just ended by itself."""
        if one.pid not in self._living:
            return None
        now = _now_ms()
        try:
            # By its descriptor: its number may be somebody else's at any moment.
            signal.pidfd_send_signal(one.descriptor, signal.SIGKILL)
        except ProcessLookupError:
            return None
        return Kill(
            time_ms=now, target=one.target, pid=one.pid, job_id=one.job_id, attempt=one.attempt
        )

    def close(self) -> None:
        """Forget everybody."""
        for pid in list(self._living):
            self._gone(pid)

    def _meet(self, pid: int) -> None:
        if pid in self._living:
            return
        try:
            descriptor = os.pidfd_open(pid)
        except OSError:
            return
        one = self._recognised(pid, descriptor)
        if one is None:
            os.close(descriptor)
            return
        self._living[pid] = one
        asyncio.get_running_loop().add_reader(descriptor, self._gone, pid)

    def _gone(self, pid: int) -> None:
        one = self._living.pop(pid)
        self._ages.pop(pid, None)
        asyncio.get_running_loop().remove_reader(one.descriptor)
        os.close(one.descriptor)

    def _recognised(self, pid: int, descriptor: int) -> Inmate | None:
        proc = Path(f"/proc/{pid}")
        try:
            command = (proc / "cmdline").read_bytes()
            parent = int((proc / "stat").read_text().rpartition(") ")[2].split()[1])
            if command == Path(f"/proc/{parent}/cmdline").read_bytes():
                return None  # it was forked and is not yet what it will be
            raw = (proc / "environ").read_bytes().decode("utf-8", "replace")
        except (OSError, ValueError, IndexError):
            return None
        words = command.decode("utf-8", "replace").split("\0")
        if self._conf in words and words[0].endswith("nats-server"):
            return Inmate(pid=pid, parent=parent, target=Target.NATS, descriptor=descriptor)
        if _WORKER in words:
            return self._worker(pid, parent, descriptor)
        target = next((_SERVICES[word] for word in words if word in _SERVICES), None)
        if target is None:
            return None
        settings = dict(line.partition("=")[::2] for line in raw.split("\0"))
        prefix = f"ATOLL_{target.value.upper()}_"
        if settings.get(f"{prefix}NATS_URL") != self._nats_url:
            return None
        return Inmate(
            pid=pid,
            parent=parent,
            target=target,
            descriptor=descriptor,
            job_id=settings.get(f"{prefix}JOB_ID", ""),
            attempt=int(settings.get(f"{prefix}ATTEMPT", "0")),
            enclave_id=settings.get(f"{prefix}ENCLAVE_ID", ""),
        )

    def _worker(self, pid: int, parent: int, descriptor: int) -> Inmate | None:
        """A worker has an empty environment; it is ours when its agent is."""
        agent = self._living.get(parent)
        if agent is None:
            return None
        return Inmate(
            pid=pid,
            parent=parent,
            target=Target.WORKER,
            descriptor=descriptor,
            job_id=agent.job_id,
            attempt=agent.attempt,
            enclave_id=agent.enclave_id,
        )

    def _sighted(self, one: Inmate) -> None:
        if one.target is not Target.AGENT:
            return
        now = _now_ms()
        with contextlib.suppress(OSError, IndexError):
            # The kernel's word that it died may be waiting for its turn in our loop.
            stat = Path(f"/proc/{one.pid}/stat").read_text()
            if stat.rpartition(") ")[2][0] in "ZX":
                return
            self._sightings[one.enclave_id] = Sighting(
                enclave_id=one.enclave_id, job_id=one.job_id, attempt=one.attempt, last_ms=now
            )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
