"""Facts about this machine, and the memory and processor time that processes took."""

import os
import platform
import subprocess
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from atoll_cli.nats_server import find_binary

PROC: Final = Path("/proc")
SAMPLE_S: Final = 0.02

_ROLES: Final = {
    b"atoll_agent.worker": "worker (the guest)",
    b"atoll_agent.main": "agent",
    b"atoll_gateway.main": "gateway",
    b"atoll_manager.main": "manager",
    b"atoll_manager.keeper": "keeper",
    b"atoll_attestor.main": "attestor",
    b"atoll_cli.main": "atoll up",
    b"nats-server": "nats-server",
}


def facts() -> dict[str, str]:
    """What decides how numbers from different machines compare."""
    version = subprocess.run(
        [find_binary(), "--version"], capture_output=True, text=True, check=True
    )
    one_minute, _, _ = os.getloadavg()
    return {
        "cores": str(os.cpu_count()),
        "processor": _field(PROC / "cpuinfo", "model name"),
        "memory": f"{int(_field(PROC / 'meminfo', 'MemTotal').split()[0]) / (1 << 20):.1f} GiB",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "nats-server": version.stdout.strip().rpartition(" ")[2],
        "load before": f"{one_minute:.2f}",
    }


def peak_resident(pid: int | str = "self") -> int:
    """VmHWM in bytes: the most resident memory the process ever had, shared pages included.

    Raises:
        OSError: the process is gone.
    """
    value = _field(PROC / str(pid) / "status", "VmHWM")
    return int(value.split()[0]) * 1024 if value else 0


def descendants(pid: int) -> Iterator[int]:
    """A process and all below it."""
    yield pid
    with suppress(OSError):
        for task in (PROC / str(pid) / "task").iterdir():
            for child in (task / "children").read_text(encoding="ascii").split():
                yield from descendants(int(child))


def cpu_seconds(pid: int, roles: Iterable[str]) -> dict[str, float]:
    """Processor time that the processes below `pid` took so far, by role, in ticks of 10 ms."""
    spent = dict.fromkeys(roles, 0.0)
    for each in descendants(pid):
        name = role(each)
        if name in spent:
            with suppress(OSError):
                spent[name] += cpu_of(each)
    return spent


def cpu_of(pid: int) -> float:
    """Processor seconds that one process took so far, in ticks of 10 ms.

    Raises:
        OSError: the process is gone.
    """
    # Fields 14 and 15; the second field is a name, and ends with a parenthesis.
    stat = (PROC / str(pid) / "stat").read_text(encoding="ascii", errors="replace")
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def role(pid: int) -> str | None:
    """What a process of a stack is; None for none of it."""
    with suppress(OSError):
        words = (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
        for mark, name in _ROLES.items():
            if any(word == mark or word.endswith(b"/" + mark) for word in words):
                return name
    return None


class MemoryWatch:
    """Looks every 20 ms at what each process below `pid` has had at most.

    The kernel keeps the maximum, so nothing between two looks is lost, except what a process
    adds in the last 20 ms before it ends.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.peaks: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            for pid in descendants(self._pid):
                name = role(pid)
                if name is not None:
                    with suppress(OSError):
                        self.peaks[name] = max(self.peaks.get(name, 0), peak_resident(pid))


def _field(path: Path, name: str) -> str:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""
