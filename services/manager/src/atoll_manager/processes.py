"""Processes that may not be our children, told apart from strangers with the same number.

A process id is free again once its process was reaped. Its id together with the moment of
its start, in a given boot of the machine, is never given twice.
"""

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import Final, NamedTuple

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_ENDED: Final = ("Z", "X", "x")
_START_FIELD: Final = 19
"""Place of `starttime` behind the command in `/proc/<pid>/stat` (proc_pid_stat(5), field 22)."""


class ProcessId(NamedTuple):
    """One process, now or in the past."""

    pid: int
    started: str
    """Boot of the machine and clock ticks since then."""


def identify(pid: int) -> ProcessId | None:
    """The process that has this number now, or None; one that only waits to be reaped counts."""
    found = _look(pid)
    return None if found is None else found[0]


def lives(process: ProcessId) -> bool:
    """Whether it has not ended."""
    found = _look(process.pid)
    return found is not None and found[0] == process and found[1] not in _ENDED


def _look(pid: int) -> tuple[ProcessId, str] | None:
    """Who has this number, and in which state."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = _BOOT_ID.read_text().strip()
    except OSError:
        return None
    fields = stat.rpartition(") ")[2].split()
    return ProcessId(pid, f"{boot}:{fields[_START_FIELD]}"), fields[0]


async def ended(process: ProcessId) -> None:
    """Until it has ended; a child of ours must still be reaped."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        if identify(process.pid) != process:
            return
        over = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(descriptor, over.set)
        try:
            await over.wait()
        finally:
            loop.remove_reader(descriptor)
    finally:
        os.close(descriptor)


async def end_group(leader: ProcessId) -> None:
    """SIGKILL to a process and the group that it leads, if it lives; returns when it ended."""
    if identify(leader.pid) == leader:
        # Between the look and the kill the leader could end, be reaped and its number be
        # given to another group's leader: numbers go round, so not in this instant.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(leader.pid, signal.SIGKILL)
        await ended(leader)
