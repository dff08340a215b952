"""The processes of a container, as /proc shows them to the agent.

A container has a pid namespace of its own, so its tree is every process in the namespace of
its first one. What cannot be read counts as nothing: this is for a watchdog, which asks
again; the engine's own limits hold without it. Another engine's process ids mean nothing
here, so `is_of` asks the kernel before a process is believed to be a container's.
"""

import os
from pathlib import Path
from typing import Final

from atoll_agent.sandbox.procfs import resident_bytes, unlinked_bytes

CGROUPS: Final = "/sys/fs/cgroup"


def members(pid: int) -> list[int]:
    """All processes in the pid namespace of `pid`, if that is not the agent's own."""
    namespace = _namespace("self"), _namespace(str(pid))
    if None in namespace or namespace[0] == namespace[1]:
        return []
    try:
        names = os.listdir("/proc")  # noqa: PTH208 - thousands of Path objects per tick
    except OSError:
        return []
    return [int(name) for name in names if name.isdigit() and _namespace(name) == namespace[1]]


def resident(pid: int) -> int:
    """Resident memory of the whole tree; pages that are shared count once per process."""
    return sum(map(resident_bytes, members(pid)))


def unlinked(pid: int, device: int) -> int:
    """Bytes of files without a name that the tree holds open on `device`."""
    return sum(unlinked_bytes(member, device) for member in members(pid))


def cpu_ms(pid: int, container_id: str) -> int:
    """CPU time of the container so far: its cgroup's count, which holds the dead as well.

    0 when the process is in no cgroup that has the container's name: one that is ending is
    moved to the root, whose count is the whole machine's.

    Version 2: `cpu.stat`, `usage_usec`; version 1: `cpuacct.usage`, nanoseconds (cgroups(7)).
    """
    for line in _read(f"/proc/{pid}/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if container_id not in path:
            continue
        if "cpuacct" in controllers.split(","):
            text = _read(f"{CGROUPS}/cpuacct{path}/cpuacct.usage").strip()
            return int(text) // 1_000_000 if text.isdigit() else 0
        if number == "0":
            for stat in _read(f"{CGROUPS}{path}/cpu.stat").splitlines():
                name, _, value = stat.partition(" ")
                if name == "usage_usec" and value.isdigit():
                    return int(value) // 1000
    return 0


def is_of(pid: int, container_id: str) -> bool:
    """Whether the kernel says that `pid` runs in this container (cgroups(7))."""
    return container_id in _read(f"/proc/{pid}/cgroup")


def started(pid: int) -> str | None:
    """When a process started, in ticks since boot; with its id it names it for good."""
    # The second field is the name in brackets and may itself hold blanks and brackets.
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else None  # noqa: PLR2004 - field 22, proc(5)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _namespace(name: str) -> int | None:
    try:
        return os.stat(f"/proc/{name}/ns/pid").st_ino  # noqa: PTH116
    except OSError:
        return None
