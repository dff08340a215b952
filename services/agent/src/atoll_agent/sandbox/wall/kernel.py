"""The rlimits of a guest: what the kernel itself holds, for every process of it. Pure.

They are set on the first process inside the wall, while it waits, by prlimit(2) from outside:
so each is in force before the guest's first instruction, and RLIMIT_NPROC counts within the
guest's own user namespace, whatever else the user runs (user_namespaces(7), Linux 5.14).

RLIMIT_AS and RLIMIT_DATA stay: allocators and threads reserve gigabytes that they never touch.
The watchdog and, where there is one, the cgroup hold the memory.
"""

import resource
from typing import Final

from atoll_agent.sandbox.limits import KIB, MIB, Limits

STACK: Final = 8 * MIB
LOCKED: Final = 64 * KIB
QUEUED_SIGNALS: Final = 1024
INIT: Final = 1
"""bwrap's own process in the guest's namespace."""


def rlimits(limits: Limits, *, cores: int) -> tuple[tuple[int, int, int], ...]:
    """(resource, soft, hard) for setrlimit."""
    # One byte more than allowed, so that a file that was cut short is seen to be too large.
    largest = max(limits.output_bytes, limits.log_bytes, limits.scratch_bytes) + 1
    cpu_s = limits.cpu_budget_s(cores)
    fixed = {
        # 1, not 0: a core_pattern that is a pipe ignores 0 and takes 1 as "never" (core(5)).
        resource.RLIMIT_CORE: 1,
        resource.RLIMIT_FSIZE: largest,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_NPROC: limits.processes + INIT,
        resource.RLIMIT_STACK: STACK,
        resource.RLIMIT_MEMLOCK: LOCKED,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_SIGPENDING: QUEUED_SIGNALS,
        resource.RLIMIT_RTPRIO: 0,
        resource.RLIMIT_NICE: 0,
    }
    alike = tuple((which, value, value) for which, value in fixed.items())
    return (*alike, (resource.RLIMIT_CPU, cpu_s, cpu_s + 1))


def tightened(wanted: tuple[int, int], now: tuple[int, int]) -> tuple[int, int]:
    """`wanted` (soft, hard), but not above the hard limit that is in force."""
    _, highest = now
    if highest == resource.RLIM_INFINITY:
        return wanted
    soft, hard = wanted
    return min(soft, highest), min(hard, highest)
