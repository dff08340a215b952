"""Makes the root in RAM one that a sandbox can leave behind.

pivot_root(2) refuses when the current root is the first of all mounts, which the kernel's own
root in RAM is; bubblewrap and container runtimes rely on it. So the root is bound onto a folder,
that mount is moved over the root, and we go there: the same files, on a mount that has another
one below. Afterwards it is read-only for everybody.
"""

import os
from typing import Final

from atoll_agent.boot import linux
from atoll_agent.boot.mounts import BIND, MOVE, READ_ONLY, REMOUNT

PLACE: Final = "/mnt"


def make_pivotable() -> None:
    """Before anything else is mounted.

    Raises:
        OSError: what the kernel says.
    """
    linux.mount("/", PLACE, "", BIND)
    os.chdir(PLACE)
    linux.mount(".", "/", "", MOVE)
    os.chroot(".")
    os.chdir("/")


def make_read_only() -> None:
    """After everything was mounted.

    Raises:
        OSError: what the kernel says.
    """
    linux.mount("", "/", "", REMOUNT | BIND | READ_ONLY)
