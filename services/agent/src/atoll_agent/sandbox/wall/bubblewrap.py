"""Finds bwrap and proves, by building a wall with it, that this host can.

A guest is never run without the wall, so whatever is missing is said in one sentence with what
to install or to set.
"""

import functools
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from atoll.errors import ConfigError
from atoll_agent.sandbox.wall.syscalls import ARCHITECTURES, Architecture

UNAVAILABLE: Final = "sandbox.unavailable"
PROGRAM: Final = "bwrap"
SEARCH_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
"""Fixed: the environment of whoever started the agent must not choose its wall."""
REQUIRED: Final = (
    "--bind-fd", "--ro-bind-fd", "--size", "--perms", "--disable-userns", "--json-status-fd",
    "--block-fd", "--seccomp", "--clearenv", "--args", "--remount-ro", "--die-with-parent",
)  # fmt: skip
PROBE_S: Final = 20
FIRST_USER: Final = 0x7000_0000
"""From here on, users that nobody has: an agent that is root adds its process id, and its guests
are that user outside of the wall. So limits per user are theirs alone, and so are their files."""

_INSTALL: Final = "apt-get install bubblewrap"
_SYSCTLS: Final = (
    ("/proc/sys/user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=10000"),
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "sysctl kernel.unprivileged_userns_clone=1",
    ),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or a profile for bwrap",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wall:
    """What a wall is built with on this host. Made by `require_wall`."""

    program: str
    architecture: Architecture
    drop_to: int | None
    """The user and group to become before bwrap starts; None to stay who we are."""


def missing() -> str | None:
    """Why no wall can be built here, with what to do about it; None if one can."""
    found = _probe()
    return found if isinstance(found, str) else None


def require_wall() -> Wall:
    """The wall of this host, probed once per process.

    Raises:
        ConfigError: `sandbox.unavailable`.
    """
    found = _probe()
    if isinstance(found, str):
        raise ConfigError(found, code=UNAVAILABLE)
    return found


def find(path: str = SEARCH_PATH, machine: str | None = None) -> Wall | str:
    """The wall that the programs in `path` would make, or what is missing. Not yet tried."""
    machine = machine or platform.machine()
    architecture = ARCHITECTURES.get(machine)
    if architecture is None:
        return f"no system call filter for {machine!r}, there is one for {', '.join(ARCHITECTURES)}"
    program = shutil.which(PROGRAM, path=path)
    if program is None:
        return f"{PROGRAM} is not in {path}; install it: {_INSTALL}"
    try:
        told = _run([program, "--help"], drop_to=None)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{program} does not run: {error}; install it again: {_INSTALL}"
    options = set((told.stdout + told.stderr).split())
    if lacking := [option for option in REQUIRED if option not in options]:
        return (
            f"{program} lacks {', '.join(lacking)}; want 0.10, or 0.8 as in Debian 12: {_INSTALL}"
        )
    drop_to = FIRST_USER + os.getpid() if os.geteuid() == 0 else None
    return Wall(program=program, architecture=architecture, drop_to=drop_to)


@functools.cache
def _probe() -> Wall | str:
    wall = find()
    if isinstance(wall, str):
        return wall
    # An absolute program that is surely there, under the same namespaces as a guest.
    command = [
        wall.program, "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net",
        "--unshare-uts", "--unshare-cgroup-try", "--disable-userns", "--uid", "1000", "--gid",
        "1000", "--cap-drop", "ALL", "--die-with-parent", "--new-session", "--clearenv",
        "--ro-bind", "/", "/", "--proc", "/proc", "--tmpfs", "/proc/1", "--", wall.program,
        "--version",
    ]  # fmt: skip
    try:
        done = _run(command, drop_to=wall.drop_to)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{wall.program} cannot be started: {error}"
    if done.returncode == 0:
        return wall
    said = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
    return f"no user namespaces for {wall.program} ({said[0][:200]}); {_advice()}"


def _advice() -> str:
    for path, bad, cure in _SYSCTLS:
        try:
            if Path(path).read_text(encoding="ascii").strip() == bad:
                return f"set: {cure}"
        except (OSError, ValueError):
            continue
    return "the kernel or the container around the agent must allow unshare and mount in them"


def _run(command: list[str], *, drop_to: int | None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - a fixed program, no shell
        command,
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env={},
        cwd="/",
        timeout=PROBE_S,
        **identity(drop_to),
    )


def identity(drop_to: int | None) -> dict[str, Any]:
    """The arguments for `subprocess` that make the child another user."""
    return {} if drop_to is None else {"user": drop_to, "group": drop_to, "extra_groups": ()}
