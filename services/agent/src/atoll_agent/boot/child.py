"""Starts the agent as a process of its own, and collects whatever ends meanwhile.

Process 1 inherits every orphan, and has to wait for it. The agent is another program, not a
fork: this one has used the C library by hand, the agent does not.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

PROGRAM: Final = ("-I", "-m", "atoll_agent.main")
ENVIRONMENT: Final = {"PATH": "/usr/bin", "HOME": "/", "LANG": "C.UTF-8", "TMPDIR": "/tmp"}  # noqa: S108 - a tmpfs of this guest
CGROUP: Final = Path("/sys/fs/cgroup/atoll")
CONTROLLERS: Final = "+memory +pids +cpu"
FAILED: Final = 127


def make_cgroup(path: Path = CGROUP) -> None:
    """A cgroup that is the agent's to divide.

    Raises:
        OSError: what the kernel says.
    """
    (path.parent / "cgroup.subtree_control").write_text(CONTROLLERS, encoding="ascii")
    path.mkdir()


def run(settings: Mapping[str, str], *, cgroup: Path = CGROUP) -> int:
    """Start the agent with these settings and wait for its end.

    Returns:
        Its exit status; 128 and the signal's number if one ended it.

    Raises:
        OSError: it cannot be started.
    """
    pid = os.fork()
    if pid == 0:
        _become_agent(settings, cgroup)
    while True:
        ended, status = os.wait()
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _become_agent(settings: Mapping[str, str], cgroup: Path) -> None:
    try:
        (cgroup / "cgroup.procs").write_text("0", encoding="ascii")
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        python = sys.executable
        os.execve(python, [python, *PROGRAM], {**ENVIRONMENT, **settings})  # noqa: S606
    finally:
        os._exit(FAILED)
