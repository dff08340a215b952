"""Whether guests really start under KVM on this host: one is started.

A device file says little. Nested, para-virtualised or half-configured KVM opens, creates
machines, and then hangs: there are hosts where a few instructions of real mode run and no
stock kernel ever prints a line. So two guests are started, each with a deadline:

1. a ROM of 64 KiB that writes a word to the debug port and powers off, with no file needed:
   what fails here says at once that KVM is not usable;
2. a kernel, the one that enclaves boot, without a root: it has come up when it panics because
   it finds none.

What was found is kept for this boot of the host, this QEMU and this kernel.
"""

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from atoll_manager.libvirt.domain import Acceleration

DEADLINE_S: Final = 30.0
"""For each of both guests. Under KVM they take less than two seconds."""
EXIT_PORT: Final = 0xF4
DEBUG_PORT: Final = 0xE9
WORD: Final = b"atoll"
DONE: Final = 0x2A
EXIT_STATUS: Final = DONE << 1 | 1
"""QEMU's own status when a guest writes DONE to the device isa-debug-exit."""
ROM_SIZE: Final = 1 << 16
RESET: Final = 0xFFF0
"""Where a processor of the x86 family begins, from the end of the ROM (SDM vol. 3, 10.1.4)."""
CAME_UP: Final = b"VFS: Unable to mount root fs"
"""Linux, init/do_mounts.c: the last thing before there would be a user space."""
MAX_CONSOLE: Final = 1 << 20
MAX_KEPT: Final = 1 << 16
MAX_REASON: Final = 300
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What this host can start guests with."""

    kind: Acceleration
    reason: str
    """Why not KVM, or how it is known."""
    kernel_tried: bool
    """False: only the ROM was, which may run where no kernel does."""


def rom() -> bytes:
    """The first guest: `cli`, then `mov al, c; out 0xe9, al` for each byte, then the exit."""
    out = b"".join(bytes([0xB0, byte, 0xE6, DEBUG_PORT]) for byte in WORD)
    code = b"\xfa" + out + bytes([0xB0, DONE, 0xE6, EXIT_PORT, 0xF4])
    jump = b"\xe9" + ((-(RESET + 3)) & 0xFFFF).to_bytes(2, "little")
    return code.ljust(RESET, b"\xf4") + jump.ljust(ROM_SIZE - RESET, b"\xf4")


async def probe(
    emulator: Path, kernel: Path | None, kept: Path | None, *, deadline_s: float = DEADLINE_S
) -> Found:
    """Start guests under KVM and see; TCG when they do not come up. Raises nothing of theirs.

    Args:
        emulator: the QEMU that enclaves are started with.
        kernel: theirs; None: only the ROM is started, and KVM is not vouched for.
        kept: the file that has what was found before, and gets what is found.
        deadline_s: for each guest.
    """
    if (why := _device()) is not None:
        return Found(kind=Acceleration.TCG, reason=why, kernel_tried=False)
    key = await _key(emulator, kernel)
    if kept is not None and (found := _recall(kept, key)) is not None:
        return found
    found = await _probe(emulator, kernel, "kvm", deadline_s)
    if kept is not None:
        _keep(kept, key, found)
    if found.kind is Acceleration.TCG:
        _log.warning("guests run in QEMU's own translator, which is slow: %s", found.reason)
    return found


async def _probe(emulator: Path, kernel: Path | None, accel: str, deadline_s: float) -> Found:
    with tempfile.TemporaryDirectory(prefix="atoll-probe-") as name:
        folder = Path(name)
        if (why := await _run_rom(emulator, accel, folder, deadline_s)) is not None:
            return Found(kind=Acceleration.TCG, reason=why, kernel_tried=False)
        if kernel is None:
            why = "a ROM ran under KVM, but no kernel was tried"
            return Found(kind=Acceleration.KVM, reason=why, kernel_tried=False)
        why = await _run_kernel(emulator, kernel, accel, folder, deadline_s)
    if why is not None:
        return Found(kind=Acceleration.TCG, reason=why, kernel_tried=True)
    return Found(kind=Acceleration.KVM, reason="a kernel came up under KVM", kernel_tried=True)


async def _run_rom(emulator: Path, accel: str, folder: Path, deadline_s: float) -> str | None:
    """Why it did not run, or None."""
    (folder / "rom").write_bytes(rom())
    word = folder / "word"
    command = [
        *(*_machine(emulator, accel), "-m", "16", "-bios", folder / "rom"),
        *("-device", f"isa-debug-exit,iobase=0x{EXIT_PORT:x},iosize=1"),
        *("-chardev", f"file,id=word,path={word}"),
        *("-device", f"isa-debugcon,iobase=0x{DEBUG_PORT:x},chardev=word"),
    ]
    status, said = await _ended([*map(str, command)], deadline_s)
    if status == EXIT_STATUS and word.read_bytes() == WORD:
        return None
    return _why("a ROM of a few instructions", status, said, deadline_s)


async def _run_kernel(
    emulator: Path, kernel: Path, accel: str, folder: Path, deadline_s: float
) -> str | None:
    """Why it did not come up, or None."""
    console = folder / "console"
    command = [
        *(*_machine(emulator, accel), "-m", "256", "-kernel", kernel),
        *("-append", "console=ttyS0 panic=-1"),
        *("-chardev", f"file,id=console,path={console}", "-serial", "chardev:console"),
    ]
    status, said = await _ended([*map(str, command)], deadline_s)
    with contextlib.suppress(OSError), console.open("rb") as file:
        if CAME_UP in file.read(MAX_CONSOLE):
            return None
    return _why("a kernel", status, said, deadline_s)


def _machine(emulator: Path, accel: str) -> tuple[object, ...]:
    """Without a device that is not asked for, and with the processor that enclaves get."""
    cpu = "host" if accel == "kvm" else "max,-cx16"
    bare = ("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot")
    return (emulator, "-M", "q35", "-accel", accel, "-cpu", cpu, "-smp", "1", *bare)


async def _ended(command: Sequence[str], deadline_s: float) -> tuple[int | None, str]:
    """Exit status, None after the deadline, and what it said on standard error."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            env={"PATH": os.defpath},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        return 127, f"{command[0]}: {error.strerror}"
    try:
        async with asyncio.timeout(deadline_s):
            _, said = await process.communicate()
    except TimeoutError:
        said = b""
    finally:
        hung = process.returncode is None
        if hung:
            process.kill()
            await process.wait()
    line = said.decode(errors="replace").strip().partition("\n")[0]
    return None if hung else process.returncode, line


def _why(what: str, status: int | None, said: str, deadline_s: float) -> str:
    if status is None:
        return f"{what} did not come up under KVM in {deadline_s:g} s"
    printable = "".join(c if c.isprintable() else "?" for c in said)
    return f"{what} did not run under KVM (QEMU: status {status}) {printable}".strip()[:MAX_REASON]


def _device() -> str | None:
    """Why /dev/kvm cannot be used, or None."""
    if not Path("/dev/kvm").exists():
        return "there is no /dev/kvm"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "/dev/kvm may not be opened by this user"
    return None


async def _key(emulator: Path, kernel: Path | None) -> str:
    """What the answer depends on."""

    def look() -> str:
        digest = hashlib.sha256()
        for part in (_BOOT_ID, kernel):
            with contextlib.suppress(OSError):
                digest.update(b"-" if part is None else hashlib.sha256(part.read_bytes()).digest())
        with contextlib.suppress(OSError):
            it = emulator.resolve().stat()
            digest.update(f"{emulator.resolve()} {it.st_size} {it.st_mtime_ns}".encode())
        return digest.hexdigest()

    return await asyncio.to_thread(look)


def _recall(kept: Path, key: str) -> Found | None:
    try:
        with kept.open("rb") as file:
            plain = json.loads(file.read(MAX_KEPT))
        if plain["key"] != key or type(plain["kernel_tried"]) is not bool:
            return None
        return Found(
            kind=Acceleration(plain["kind"]),
            reason=str(plain["reason"])[:MAX_REASON],
            kernel_tried=plain["kernel_tried"],
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _keep(kept: Path, key: str, found: Found) -> None:
    plain = {
        "key": key,
        "kind": found.kind.value,
        "reason": found.reason,
        "kernel_tried": found.kernel_tried,
    }
    new = kept.with_suffix(".new")
    try:
        new.write_text(json.dumps(plain))
        new.replace(kept)
    except OSError as error:
        _log.warning("what was found of KVM is not kept: %s: %s", kept, error.strerror)
