"""What the kernel says about a whole tree of processes: those of one pid namespace.

Everything answers for what lives now and takes a process that ends meanwhile as gone; it is for
a watchdog, which asks again. Nothing here trusts a name, an order or a parent: a process belongs
to the tree exactly when its namespace is the tree's.

Memory is looked at twice. The quick look adds resident sizes, in which a page that ten processes
share counts ten times, and what the machine's shared memory has grown by. Only when that passes
the limit comes the exact look: proportional sizes (smaps_rollup, proc(5)) and every shared
mapping or descriptor of memory that has no name, resident or not.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from atoll_agent.sandbox.procfs import resident_bytes, unlinked_bytes

PROC: Final = "/proc"
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_BLOCK: Final = 512
_UTIME: Final = 11
"""Index of utime behind the command's name in /proc/pid/stat; stime, cutime and cstime follow."""
_MAPPING_FIELDS: Final = 6
_MAX_MAPPINGS: Final = 1 << 16


class Tree:
    """The processes of the pid namespace whose first process is `init`."""

    def __init__(self, init: int) -> None:
        self._init = init
        self._space: str | None = None
        self._shared_before = shared_bytes()
        self._cpu_of: dict[int, int] = {}
        self._cpu_most = 0

    def pids(self) -> list[int]:
        """Process ids outside of the namespace, the first process included."""
        # bwrap hides itself until it has dropped its privileges, so the first try may fail.
        self._space = self._space or _namespace(str(self._init))
        if self._space is None:
            return []
        names = (name for name in os.listdir(PROC) if name.isdigit())  # noqa: PTH208 - names only
        return [int(name) for name in names if _namespace(name) == self._space]

    def memory_over(self, limit: int) -> bool:
        """Whether the tree holds more than `limit` bytes of memory."""
        pids = self.pids()
        resident = sum(map(resident_bytes, pids))
        grown = max(0, shared_bytes() - self._shared_before)
        return resident + grown > limit and self.memory_bytes() > limit

    def memory_bytes(self) -> int:
        """Memory of the tree, each page counted once."""
        pids = self.pids()
        return sum(map(proportional_bytes, pids)) + nameless_bytes(pids)

    def tasks(self) -> int:
        """Processes and threads that exist now."""
        return sum(_threads(pid) for pid in self.pids())

    def resident_bytes(self) -> int:
        """The sum of resident sizes: at least what the tree holds, without nameless memory."""
        return sum(map(resident_bytes, self.pids()))

    def unlinked_bytes(self, device: int) -> int:
        """Bytes of open files on `device` that have no name."""
        return sum(unlinked_bytes(pid, device) for pid in self.pids())

    def cpu_ms(self) -> int:
        """CPU time so far; never less than it was before.

        Of two counts that are both too low at times, the higher: what every process seen so far
        had used when last seen (misses those that came and went between two looks), and what
        those alive report with the children they waited for (misses what nobody waited for).
        """
        reported = 0
        for pid in self.pids():
            times = cpu_ticks(pid)
            if times is not None:
                self._cpu_of[pid] = max(self._cpu_of.get(pid, 0), times[0])
                reported += sum(times)
        ticks = max(reported, sum(self._cpu_of.values()))
        self._cpu_most = max(self._cpu_most, ticks * 1000 // _TICKS)
        return self._cpu_most


def cpu_ticks(pid: int) -> tuple[int, int] | None:
    """Clock ticks of a process, and of its children that were waited for; None if it is gone."""
    try:
        text = Path(f"{PROC}/{pid}/stat").read_bytes()
        # The name may hold blanks and brackets; the last bracket is the one that closes it.
        fields = text.rpartition(b")")[2].split()
        own, ended = fields[_UTIME : _UTIME + 2], fields[_UTIME + 2 : _UTIME + 4]
        return sum(map(int, own)), sum(map(int, ended))
    except (OSError, ValueError):
        return None


def proportional_bytes(pid: int) -> int:
    """Private pages of a process, and its share of those of files and of forks."""
    total = 0
    try:
        for line in Path(f"{PROC}/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(":")
            if name in {"Pss_Anon", "Pss_File"}:
                total += int(value.split()[0]) << 10
    except (OSError, ValueError, IndexError):
        return total
    return total


def nameless_bytes(pids: list[int]) -> int:
    """Shared memory without a name that the processes map or hold open, each object once.

    A mapping counts in its full length: its pages may be in memory without being resident.
    """
    sizes: dict[tuple[int, int], int] = {}
    for pid in pids:
        mapped: dict[tuple[int, int], int] = {}
        for key, size in _nameless_mappings(pid):
            mapped[key] = mapped.get(key, 0) + size
        for key, size in (*mapped.items(), *_nameless_files(pid)):
            sizes[key] = max(sizes.get(key, 0), size)
    return sum(sizes.values())


def shared_bytes() -> int:
    """Memory of all tmpfs, memory files and shared mappings of the machine."""
    try:
        for line in Path(f"{PROC}/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("Shmem:"):
                return int(line.split()[1]) << 10
    except (OSError, ValueError, IndexError):
        return 0
    return 0


def _nameless_mappings(pid: int) -> Iterator[tuple[tuple[int, int], int]]:
    """(device, inode) and length of shared mappings of what has no name (any more)."""
    try:
        with open(f"{PROC}/{pid}/maps", "rb") as file:  # noqa: PTH123
            for _, line in zip(range(_MAX_MAPPINGS), file, strict=False):
                fields = line.split(maxsplit=5)
                if len(fields) < _MAPPING_FIELDS or fields[1][3:4] != b"s":
                    continue
                if not fields[5].rstrip().endswith(b"(deleted)"):
                    continue
                begin, _, end = fields[0].partition(b"-")
                major, _, minor = fields[3].partition(b":")
                device = os.makedev(int(major, 16), int(minor, 16))
                yield (device, int(fields[4])), int(end, 16) - int(begin, 16)
    except (OSError, ValueError):
        return


def _nameless_files(pid: int) -> list[tuple[tuple[int, int], int]]:
    found = []
    try:
        names = os.listdir(f"{PROC}/{pid}/fd")  # noqa: PTH208 - names only
    except OSError:
        return []
    for name in names:
        try:
            status = os.stat(f"{PROC}/{pid}/fd/{name}")  # noqa: PTH116
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode) and status.st_nlink == 0:
            found.append(((status.st_dev, status.st_ino), status.st_blocks * _BLOCK))
    return found


def _threads(pid: int) -> int:
    try:
        return len(os.listdir(f"{PROC}/{pid}/task"))  # noqa: PTH208 - names only
    except OSError:
        return 0


def _namespace(pid: str) -> str | None:
    try:
        return os.readlink(f"{PROC}/{pid}/ns/pid")  # noqa: PTH115
    except OSError:
        return None
