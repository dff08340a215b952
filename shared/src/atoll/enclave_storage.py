"""Where an enclave that is a process keeps plaintext, and how that is erased.

The agent makes the directory (`atoll_agent.sandbox.workspace` says what is in it) and
erases it; whoever started the agent erases it again when the agent was killed. Both must
mean the same path, so it is written here once.

`root` is a tmpfs. Erasing means unlinking: the kernel zeroes a page before anybody else
gets it.
"""

import os
import stat
from pathlib import Path
from typing import Final

from atoll.wire.names import require_token

MEMORY_ROOT: Final = Path("/dev/shm")  # noqa: S108 - a private 0700 directory is made in it
PREFIX: Final = "atoll-"


def workspace_path(enclave_id: str, *, root: Path = MEMORY_ROOT) -> Path:
    """Where the workspace of an enclave is, also for whoever erases it after a crash.

    Raises:
        InputError: `name.invalid`.
    """
    return root / f"{PREFIX}{require_token(enclave_id, 'enclave id')}"


def erase(path: Path) -> None:
    """Remove a tree of any depth, without following links and without recursion.

    A guest can nest directories deeper than a path or a call stack may be, so nested
    directories are first moved up to the top. Does nothing when `path` is not there.
    """
    top = os.fsencode(path)
    if not os.path.lexists(top):
        return
    if not _is_directory(top):
        path.unlink()
        return
    serial = 0
    while names := os.listdir(top):  # noqa: PTH208 - bytes, since a name may not be text
        for name in names:
            child = os.path.join(top, name)  # noqa: PTH118
            if _is_directory(child):
                serial = _lift(child, top, serial)
                os.rmdir(child)  # noqa: PTH106
            else:
                os.unlink(child)  # noqa: PTH108
    path.rmdir()


def _lift(directory: bytes, top: bytes, serial: int) -> int:
    """Empty `directory`: unlink its files, and move its directories to `top`."""
    os.chmod(directory, 0o700)  # noqa: PTH101
    for name in os.listdir(directory):  # noqa: PTH208
        child = os.path.join(directory, name)  # noqa: PTH118
        if not _is_directory(child):
            os.unlink(child)  # noqa: PTH108
            continue
        target = top
        while os.path.lexists(target):
            serial += 1
            target = os.path.join(top, b"erase-%d" % serial)  # noqa: PTH118
        os.rename(child, target)  # noqa: PTH104
    return serial


def _is_directory(path: bytes) -> bool:
    return stat.S_ISDIR(os.lstat(path).st_mode)
