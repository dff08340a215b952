"""What is mounted where in a guest. Pure.

Sources: mount(2) for the flags; Linux, Documentation/filesystems and admin-guide/cgroup-v2.rst.
"""

from dataclasses import dataclass
from typing import Final

READ_ONLY: Final = 1
NO_SETUID: Final = 2
NO_DEVICES: Final = 4
NO_PROGRAMS: Final = 8
REMOUNT: Final = 32
BIND: Final = 4096
MOVE: Final = 8192

_PLAIN: Final = NO_SETUID | NO_DEVICES | NO_PROGRAMS


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One call of mount(2)."""

    source: str
    target: str
    kind: str
    flags: int
    data: str = ""
    make: bool = False
    """The folder is made first: it lies on what was mounted before."""
    optional: bool = False
    """A kernel may be without."""


FIRST: Final = (
    Mount(source="proc", target="/proc", kind="proc", flags=_PLAIN),
    Mount(source="sysfs", target="/sys", kind="sysfs", flags=_PLAIN),
    Mount(source="devtmpfs", target="/dev", kind="devtmpfs", flags=NO_SETUID | NO_PROGRAMS),
    Mount(
        source="shm",
        target="/dev/shm",  # noqa: S108 - there is nobody else in the guest
        kind="tmpfs",
        flags=NO_SETUID | NO_DEVICES,
        data="mode=1777",
        make=True,
    ),
    Mount(source="run", target="/run", kind="tmpfs", flags=NO_SETUID | NO_DEVICES, data="mode=755"),
    Mount(
        source="tmp",
        target="/tmp",  # noqa: S108 - as above
        kind="tmpfs",
        flags=NO_SETUID | NO_DEVICES,
        data="mode=1777",
    ),
    Mount(source="cgroup2", target="/sys/fs/cgroup", kind="cgroup2", flags=_PLAIN),
    Mount(
        source="securityfs",
        target="/sys/kernel/security",
        kind="securityfs",
        flags=_PLAIN,
        optional=True,
    ),
)
"""Before modules are loaded. Programs may lie in /dev/shm, where workloads are
(`enclave_storage`), in /tmp and in /run."""

AFTER_MODULES: Final = (
    Mount(
        source="configfs",
        target="/sys/kernel/config",
        kind="configfs",
        flags=_PLAIN,
        optional=True,
    ),
)
"""Where quotes are asked for (configfs-tsm)."""
