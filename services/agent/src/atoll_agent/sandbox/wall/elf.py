"""Whether a file is a program for this machine: the ELF header and the loader it asks for. Pure.

Sources: System V ABI, edition 4.1 chapters 4 and 5 (ELF header, program header), and its 64-bit
supplement. Offsets of a 64-bit little-endian header:

    0 magic 4 | 4 class 1 | 5 data 1 | 6 version 1 | 16 type 2 | 18 machine 2 | 20 version 4
    32 program header offset 8 | 52 header size 2 | 54 entry size 2 | 56 entries 2

A program header, 56 bytes: 0 type 4 | 8 offset 8 | 32 size in file 8.

Nothing else is looked at: the kernel loads the file, inside the wall, and refuses what it does
not like. This is for a clear answer before a party's keys are used, not for safety.
"""

import struct
from dataclasses import dataclass
from typing import Final

from atoll.errors import InputError
from atoll_agent.sandbox.outcome import Kind

MAGIC: Final = b"\x7fELF"
HEADER_SIZE: Final = 64
PROGRAM_HEADER_SIZE: Final = 56
MAX_PROGRAM_HEADERS: Final = 128
MAX_HEAD: Final = 64 << 10
"""Bytes from the file's start in which program headers and the loader's name must lie."""
MAX_LOADER: Final = 256
_CLASS_64: Final = 2
_LITTLE: Final = 1
_TYPES: Final = frozenset({2, 3})
"""ET_EXEC, and ET_DYN: a position-independent program."""
_PT_INTERP: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """An ELF program of one machine."""

    machine: int
    loader: str | None
    """The dynamic loader's path; None for a static program."""


def parse_program(head: bytes, *, machine: int) -> Program:
    """Read the first `MAX_HEAD` bytes of a file (all of it, if it is shorter).

    Raises:
        InputError: `workload.not_elf`, or `workload.wrong_architecture` for a program whose
            class, byte order or machine is not that of `machine`.
    """
    if head[:4] != MAGIC:
        raise _not_elf("does not begin with the ELF magic")
    if len(head) < HEADER_SIZE:
        raise _not_elf(f"the header is cut off after {len(head)} bytes, want {HEADER_SIZE}")
    if head[4] != _CLASS_64 or head[5] != _LITTLE:
        raise _foreign("is not 64-bit little-endian")
    kind, actual, version = struct.unpack_from("<HHI", head, 16)
    if head[6] != 1 or version != 1:
        raise _not_elf("has an unknown ELF version, want 1")
    if actual != machine:
        raise _foreign(f"is for machine {actual}, want {machine}")
    if kind not in _TYPES:
        raise _not_elf(f"has type {kind}, want an executable (2) or position-independent one (3)")
    return Program(machine=actual, loader=_loader(head))


def _loader(head: bytes) -> str | None:
    (offset,) = struct.unpack_from("<Q", head, 32)
    entry_size, entries = struct.unpack_from("<HH", head, 54)
    if not 0 < entries <= MAX_PROGRAM_HEADERS or entry_size != PROGRAM_HEADER_SIZE:
        raise _not_elf(f"has {entries} program headers of {entry_size} bytes")
    if offset > MAX_HEAD or offset + entries * entry_size > len(head):
        raise _not_elf("has its program headers outside of the file's head")
    for index in range(entries):
        at = offset + index * entry_size
        (kind,) = struct.unpack_from("<I", head, at)
        if kind == _PT_INTERP:
            (start,) = struct.unpack_from("<Q", head, at + 8)
            (size,) = struct.unpack_from("<Q", head, at + 32)
            return _path(head, start, size)
    return None


def _path(head: bytes, start: int, size: int) -> str:
    if not 1 < size <= MAX_LOADER or start + size > len(head):
        raise _not_elf("names its loader outside of the file's head")
    raw = head[start : start + size]
    name = raw[:-1]
    if raw[-1] != 0 or not name.startswith(b"/") or not all(0x20 < byte < 0x7F for byte in name):  # noqa: PLR2004 - printable ASCII
        raise _not_elf("names a loader that is no absolute path")
    return name.decode("ascii")


def _not_elf(why: str) -> InputError:
    return InputError(f"the algorithm {why}", code=Kind.NOT_ELF.value)


def _foreign(why: str) -> InputError:
    return InputError(f"the algorithm {why}", code=Kind.WRONG_ARCHITECTURE.value)
