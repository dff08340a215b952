"""An image without an engine: its layers become the root of a program behind the wall.

What holds for an engine's container holds here, and is the wall's to see to: a read-only root, no
network, no privileges, /tmp and /results to write to. Of the image count its layers, entry point,
command, environment and working folder; its user does not, for every guest is the wall's.
"""

import errno
import os
from pathlib import Path
from typing import Final

from atoll.enclave_storage import erase
from atoll.errors import InputError
from atoll_agent.sandbox.docker.image import WRONG_ARCHITECTURE, Image, read_image
from atoll_agent.sandbox.docker.rootfs import make_folders, unpack
from atoll_agent.sandbox.outcome import Kind
from atoll_agent.sandbox.step import Step
from atoll_agent.sandbox.wall.native import require_native
from atoll_agent.sandbox.wall.root import MOUNT_POINTS, Program
from atoll_agent.sandbox.wall.syscalls import Architecture

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for when an image does not say; that of engines."""
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.ENOMEM})


def image(step: Step, architecture: Architecture) -> Program:
    """Unpack the step's image. Blocks, for as long as that takes.

    Raises:
        InputError: `workload.not_an_image`, `workload.wrong_architecture`,
            `workload.not_startable`, `workload.memory`: there is no room for it unpacked;
            `workload.arguments`.
    """
    require_native(step.args, step.env)
    root = step.space.root / "image"
    erase(root)
    try:
        found = _unpack(step, architecture, root)
    except OSError as error:
        kind = Kind.OUT_OF_MEMORY if error.errno in _NO_ROOM else Kind.NOT_AN_IMAGE
        raise InputError(f"unpacking: {error.strerror}", code=kind.value) from error
    return Program(
        argv=found.run.argv(step.args),
        env={"PATH": PATH, **dict(found.run.env), **step.env},
        image=root,
        folder=found.run.folder,
    )


def _unpack(step: Step, architecture: Architecture, root: Path) -> Image:
    try:
        with step.space.algorithm.open("rb") as file:
            found = read_image(file, machine=architecture.machine)
            if not found.run.argv(step.args):
                raise InputError(
                    "the image has no entry point and no command", code=Kind.NOT_STARTABLE.value
                )
            _require_room(step.space.root, found.unpacked_size)
            unpack(file, found, root)
    except InputError as error:
        if not error.code.startswith("image."):
            raise
        wrong = error.code == WRONG_ARCHITECTURE
        kind = Kind.WRONG_ARCHITECTURE if wrong else Kind.NOT_AN_IMAGE
        raise InputError(f"{error.code}: {error.message}", code=kind.value) from error
    make_folders(root, (*MOUNT_POINTS, found.run.folder))
    return found


def _require_room(folder: Path, size: int) -> None:
    status = os.statvfs(folder)
    # A ramfs has no size and reports none.
    if status.f_blocks and status.f_bavail * status.f_frsize < size:
        raise InputError(f"the image unpacks to {size} bytes", code=Kind.OUT_OF_MEMORY.value)
