"""A whole bundle, judged against its lock and unpacked into one directory.

Recipe; a bundle that breaks a rule leaves files behind, which nobody runs:

1. every file of the archive is `requirements.txt` or a wheel, in any folder
2. the lock pins exact versions with hashes (`lock`)
3. each wheel is named in the lock and has a hash that the lock gives   UNLOCKED, HASH
4. each wheel is for this interpreter and machine                      INCOMPATIBLE
5. each wheel is unpacked; no two may bring the same file              WHEEL
6. everything that the lock needs was there                            MISSING

The bundle itself is what the manifest commits to, so the lock cannot be another one than the
parties signed. Scripts, headers and data files of a wheel are left out: the guest has no
place for them. What is not checked: RECORD (the hash of the wheel covers it), and whether the
dependencies of a wheel are in the bundle; importing will tell.
"""

import hashlib
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from atoll_agent.sandbox.bundle.lock import MAX_LOCK, Pinned, parse_lock
from atoll_agent.sandbox.bundle.members import Budget, Faults, members, safe_parts
from atoll_agent.sandbox.bundle.refusal import refuse, shown
from atoll_agent.sandbox.bundle.wheel import Interpreter, parse_wheel_name, same_version

LOCK: Final = "requirements.txt"
MAX_WHEELS: Final = 1024
MAX_FILES: Final = 200_000
MAX_UNPACKED: Final = 4 << 30
MAX_RATIO: Final = 50
FREE_BYTES: Final = 64 << 20
"""Bytes that a bundle may always unpack to, whatever its ratio."""
_LIBRARIES: Final = frozenset({"purelib", "platlib"})


def this_interpreter() -> Interpreter:
    """The one that will run the guest: this agent's."""
    name, version = platform.libc_ver()
    numbers = version.split(".")
    return Interpreter(
        minor=sys.version_info.minor,
        machine=os.uname().machine,
        glibc=int(numbers[1]) if name == "glibc" and len(numbers) > 1 else None,
    )


def install_bundle(file: BinaryIO, into: Path, here: Interpreter) -> None:
    """Unpack the bundle in `file` into `into`, which must not be there yet.

    Blocks; for a thread. Beside `into` one wheel at a time lies in a file without a name.

    Raises:
        InputError: a code that begins with `bundle.`.

    An OSError of the place that is written to passes through.
    """
    size = file.seek(0, os.SEEK_END)
    into.mkdir(mode=0o755)
    lock = parse_lock(_lock_of(file))
    # Twice: once for the wheels themselves, once for what is in them.
    packed = Budget(max(size, FREE_BYTES), MAX_WHEELS)
    unpacked = Budget(min(MAX_UNPACKED, max(FREE_BYTES, MAX_RATIO * size)), MAX_FILES)
    seen: set[str] = set()
    for member in members(file, packed, faults=Faults.all("archive")):
        name = member.name.rpartition("/")[2]
        if name == LOCK:
            continue
        pinned = _pinned(name, lock, here)
        if pinned.name in seen:
            raise refuse("archive", f"the bundle has {shown(pinned.name)} twice")
        seen.add(pinned.name)
        with tempfile.TemporaryFile(dir=into.parent) as wheel:
            _require_hash(_copied(member.chunks, wheel), pinned)
            _unpack(wheel, into, unpacked)
    for pinned in lock.values():
        if pinned.needed and pinned.name not in seen:
            raise refuse("missing", f"the bundle has no wheel of {shown(pinned.name)}")


def _lock_of(file: BinaryIO) -> bytes:
    """The content of the one lock; every other file must be called like a wheel."""
    found: bytes | None = None
    size = file.seek(0, os.SEEK_END)
    for member in members(
        file, Budget(max(size, FREE_BYTES), MAX_WHEELS), faults=Faults.all("archive")
    ):
        name = member.name.rpartition("/")[2]
        if name == LOCK:
            if found is not None:
                raise refuse("archive", f"the bundle has two files {LOCK}")
            found = b""
            for chunk in member.chunks:
                found += chunk
                if len(found) > MAX_LOCK:
                    raise refuse("lock", f"the lock has more than {MAX_LOCK} bytes")
        elif not name.endswith(".whl"):
            raise refuse("archive", f"the bundle has {shown(name)}, want {LOCK} and wheels")
    if found is None:
        raise refuse("archive", f"the bundle has no {LOCK}")
    return found


def _pinned(name: str, lock: dict[str, Pinned], here: Interpreter) -> Pinned:
    parsed = parse_wheel_name(name)
    pinned = lock.get(parsed.name)
    if pinned is None or not same_version(parsed.version, pinned.version):
        raise refuse("unlocked", f"the lock does not name {shown(name)}")
    if not parsed.fits(here):
        raise refuse(
            "incompatible",
            f"{shown(name)} is not for CPython 3.{here.minor} on {here.machine}",
        )
    return pinned


def _copied(chunks: Iterator[bytes], to: BinaryIO) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
        to.write(chunk)
    return digest.hexdigest()


def _require_hash(found: str, pinned: Pinned) -> None:
    if found not in pinned.hashes:
        raise refuse("hash", f"the wheel of {shown(pinned.name)} has SHA-256 {found}")


def _unpack(wheel: BinaryIO, into: Path, budget: Budget) -> None:
    described = False
    for member in members(wheel, budget, faults=Faults.all("wheel")):
        parts = safe_parts(member.name, "wheel")
        described = described or (parts[0].endswith(".dist-info") and parts[1:] == ("WHEEL",))
        parts = _place(parts)
        if not parts:
            continue
        path = into.joinpath(*parts)
        try:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            with path.open("xb") as file:
                for chunk in member.chunks:
                    file.write(chunk)
                os.fchmod(file.fileno(), 0o444)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise refuse("wheel", f"{shown(member.name)} is there already") from error
    if not described:
        raise refuse("wheel", "a wheel has no dist-info/WHEEL")


def _place(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Where a file goes; nothing for what the guest has no place for."""
    if not parts[0].endswith(".data"):
        return parts
    if len(parts) > 2 and parts[1] in _LIBRARIES:  # noqa: PLR2004 - name.data/purelib/file
        return parts[2:]
    return ()
