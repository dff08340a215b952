"""Puts rlimits on a process that is another user's, in another user namespace.

prlimit(2) asks for CAP_SYS_RESOURCE in the target's namespace, which a root in a container may
not have, or for the caller's real user and group to be all of the target's. So a thread of its
own takes that user and group as its real ones, for these calls, and ends. The raw system calls
are per thread; the C library's functions would change the whole process (nptl(7)).
"""

import ctypes
import os
import resource
from threading import Thread
from typing import Final

from atoll_agent.sandbox.limits import Limits
from atoll_agent.sandbox.wall.kernel import rlimits, tightened
from atoll_agent.sandbox.wall.syscalls import Architecture

_KEEP: Final = -1


def impose(pid: int, limits: Limits, *, user: int | None, architecture: Architecture) -> None:
    """Limit a process, as its user if that is another one.

    Raises:
        OSError: the kernel refuses, or the process is gone (`ProcessLookupError`).
    """
    problems: list[OSError] = []

    def work() -> None:
        try:
            if user is not None:
                _become("setresgid", user, architecture)
                _become("setresuid", user, architecture)
            for which, soft, hard in rlimits(limits, cores=os.cpu_count() or 1):
                now = resource.prlimit(pid, which)
                resource.prlimit(pid, which, tightened((soft, hard), now))
        except OSError as error:
            problems.append(error)

    if user is None:
        work()
    else:
        thread = Thread(target=work)
        thread.start()
        thread.join()
    if problems:
        raise problems[0]


def _become(call: str, identity: int, architecture: Architecture) -> None:
    """Change this thread's real id; effective and saved stay."""
    number = ctypes.c_long(architecture.numbers[call])
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    if syscall(number, ctypes.c_long(identity), ctypes.c_long(_KEEP), ctypes.c_long(_KEEP)) != 0:
        raise OSError(ctypes.get_errno(), call)
