"""What the kernel says about mounts and about the worker.

`filesystem_of` is pure. The other two read /proc of a living process and answer 0 when
it is gone; they are for a watchdog, which asks again.
"""

import os
from typing import Final

_PAGE: Final = os.sysconf("SC_PAGESIZE")
_BLOCK: Final = 512
"""Unit of `st_blocks`, whatever the file system's own block is (stat(2))."""
_SHORTEST: Final = 5


def filesystem_of(mountinfo: str, major: int, minor: int) -> str | None:
    """The file system type of a device in the text of /proc/self/mountinfo (proc(5)).

    A line is: id, parent id, major:minor, root, mount point, options, optional fields,
    "-", type, source, super options. None when no line has the device.
    """
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        if len(fields) >= _SHORTEST and fields[2] == f"{major}:{minor}":
            return right.split(" ")[0] or None
    return None


def resident_bytes(pid: int) -> int:
    """Resident memory of a process."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:  # noqa: PTH123
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0


def unlinked_bytes(pid: int, device: int) -> int:
    """Bytes that a process holds on `device` in open files that no longer have a name.

    A guest can fill memory with files that it opens, fills and unlinks; no scan of a
    directory sees them.
    """
    total = 0
    try:
        with os.scandir(f"/proc/{pid}/fd") as listing:
            for entry in listing:
                try:
                    status = os.stat(entry.path)  # noqa: PTH116
                except OSError:
                    continue
                if status.st_dev == device and status.st_nlink == 0:
                    total += status.st_blocks * _BLOCK
    except OSError:
        return total
    return total
