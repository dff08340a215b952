"""The guest's cgroup, where there is cgroup v2 and this process may make one.

Sources: Linux, Documentation/admin-guide/cgroup-v2.rst: controllers (`cgroup.controllers`,
`cgroup.subtree_control`), "no internal processes", memory.max, memory.swap.max, memory.events,
pids.max, cpu.stat, cgroup.kill.

The agent's own cgroup must be its to change (systemd: `Delegate=yes`; as process 1 of an image:
always). Its processes move to a leaf `agent`, so that controllers can be handed to a sibling
for each run. What is missing is said, not worked round: rlimits and the watchdog hold every
limit without a cgroup, a little later.
"""

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from atoll_agent.sandbox.limits import Limits
from atoll_agent.sandbox.outcome import Kind
from atoll_agent.sandbox.wall.kernel import INIT

HIERARCHY: Final = Path("/sys/fs/cgroup")
NEEDED: Final = ("memory", "pids")
LEAF: Final = "agent"
EMPTY_S: Final = 5.0
_PAUSE_S: Final = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Cgroup:
    """A cgroup made for one run."""

    path: Path

    def add(self, pid: int) -> None:
        """Move a process in; its children will be born in it."""
        _write(self.path / "cgroup.procs", str(pid))

    def problem(self) -> Kind | None:
        """Whether the kernel has killed for memory here."""
        return Kind.OUT_OF_MEMORY if _value(self.path / "memory.events", "oom_kill") else None

    def memory_bytes(self) -> int | None:
        """The largest that memory was (memory.peak, Linux 5.19)."""
        try:
            return int((self.path / "memory.peak").read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None

    def cpu_ms(self) -> int:
        """CPU time of everything that ever ran in it."""
        return _value(self.path / "cpu.stat", "usage_usec") // 1000

    def kill(self) -> None:
        """SIGKILL to everything in it, at once."""
        with suppress(OSError):
            _write(self.path / "cgroup.kill", "1")

    def remove(self) -> None:
        """Give it back to the kernel. It must be empty or about to be."""
        end = time.monotonic() + EMPTY_S
        while True:
            try:
                self.path.rmdir()
            except FileNotFoundError:
                return
            except OSError:
                # EBUSY until the last killed process has been taken out of the books.
                if time.monotonic() > end:
                    return
                time.sleep(_PAUSE_S)
            else:
                return


def memory_max(limits: Limits) -> int:
    """Files in memory are charged to who writes them, so /tmp, /results and logs count here."""
    return limits.memory_bytes + limits.scratch_bytes + limits.output_bytes + 2 * limits.log_bytes


def make(
    name: str, limits: Limits, *, root: Path = HIERARCHY, own: str | None = None
) -> Cgroup | str:
    """A cgroup for one run, or the reason why there is none.

    Args:
        name: a new name beside the agent's leaf.
        limits: what it holds.
        root: where cgroup v2 is mounted.
        own: the text of /proc/self/cgroup; None reads it.
    """
    text = own if own is not None else Path("/proc/self/cgroup").read_text(encoding="utf-8")
    base = find(text, root)
    if isinstance(base, str):
        return base
    path = base / name
    try:
        _delegate(base)
        path.mkdir()
    except OSError as error:
        return f"{base}: {error.strerror or 'failed'}; start the agent with a delegated cgroup"
    cgroup = Cgroup(path=path)
    try:
        _write(path / "memory.max", str(memory_max(limits)))
        _write(path / "pids.max", str(limits.processes + INIT))
        # Without swap there is no file, and nothing to hold.
        with suppress(FileNotFoundError):
            _write(path / "memory.swap.max", "0")
        with suppress(FileNotFoundError):
            _write(path / "memory.oom.group", "1")
    except OSError as error:
        cgroup.remove()
        return f"{path}: {error.strerror or 'failed'}"
    return cgroup


def find(own: str, root: Path) -> Path | str:
    """The cgroup under which runs can have theirs, or why none can."""
    try:
        controllers = (root / "cgroup.controllers").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return f"{root} is not cgroup v2"
    if lacking := [name for name in NEEDED if name not in controllers]:
        return f"{root} has no {' and no '.join(lacking)} controller; cgroup v1 may hold it"
    for line in own.splitlines():
        if line.startswith("0::/"):
            base = root / line[len("0::/") :]
            # After the first run the agent is in its leaf already.
            base = base.parent if base.name == LEAF else base
            if not os.access(base / "cgroup.subtree_control", os.W_OK):
                return f"{base} is not ours to change; start the agent with a delegated cgroup"
            return base
    return "this process is in no cgroup v2"


def _delegate(base: Path) -> None:
    """Move what runs in `base` to its leaf, and hand the controllers to its children."""
    control = base / "cgroup.subtree_control"
    given = control.read_text(encoding="ascii").split()
    if all(name in given for name in NEEDED):
        return
    leaf = base / LEAF
    leaf.mkdir(exist_ok=True)
    for pid in (base / "cgroup.procs").read_text(encoding="ascii").split():
        with suppress(ProcessLookupError):
            _write(leaf / "cgroup.procs", pid)
    _write(control, " ".join(f"+{name}" for name in NEEDED))


def _value(path: Path, name: str) -> int:
    try:
        for line in path.read_text(encoding="ascii").splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    except (OSError, ValueError):
        return 0
    return 0


def _write(path: Path, text: str) -> None:
    # No O_CREAT: a name that is not there is an error, in the kernel's directory and in others.
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
