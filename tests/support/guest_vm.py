"""Boots an image in a virtual machine without hardware support, and reads its console."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from atoll.measure.guest import CMDLINE_FILE, INITRD_FILE, KERNEL_FILE
from atoll_cli.image.cpio import cpio
from atoll_cli.image.tree import File, Tree

PROGRAM = "qemu-system-x86_64"
TIMEOUT_S = 900
"""An emulated boot takes 20 s of processor time, and the machine may be busy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A machine that went off by itself."""

    status: int
    console: str


def boot(
    image: Path,
    *,
    settings: Mapping[str, object] | bytes | None = None,
    added: Mapping[str, bytes] | None = None,
    append: str = "",
    devices: tuple[str, ...] = (),
) -> Ended:
    """Boot it to its end.

    Args:
        image: folder of the image.
        settings: what the host gives; None: nothing.
        added: programs put into the root by a second archive behind the image's own, by path.
        append: behind the command line.
        devices: more arguments of the program.
    """
    if shutil.which(PROGRAM) is None:
        pytest.skip(f"{PROGRAM} is not installed (package qemu-system-x86)")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        initrd = folder / "initrd"
        initrd.write_bytes(_with((image / INITRD_FILE).read_bytes(), added or {}))
        arguments = [
            *(PROGRAM, "-M", "q35", "-accel", "tcg", "-cpu", "max,-cx16", "-m", "512"),
            *("-smp", "1", "-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"),
            *("-kernel", str(image / KERNEL_FILE), "-initrd", str(initrd)),
            *("-append", f"{(image / CMDLINE_FILE).read_text()} {append}".strip(), *devices),
        ]
        if settings is not None:
            given = folder / "settings"
            raw = settings if isinstance(settings, bytes) else json.dumps(settings).encode()
            given.write_bytes(raw)
            arguments += ["-fw_cfg", f"name=opt/atoll/settings,file={given}"]
        done = subprocess.run(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT_S,
            check=False,
        )
    return Ended(status=done.returncode, console=done.stdout.decode("utf-8", "replace"))


def _with(initrd: bytes, added: Mapping[str, bytes]) -> bytes:
    """The kernel unpacks one archive after the other (buffer-format.rst)."""
    if not added:
        return initrd
    tree = Tree()
    for path, content in added.items():
        tree.add(path, File(content, runnable=True))
    # The next one must begin at a multiple of four; zeros before it are skipped.
    return initrd + bytes(-len(initrd) % 4) + cpio(tree)
