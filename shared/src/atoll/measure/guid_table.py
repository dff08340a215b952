"""The table of GUIDed entries at the end of OVMF's image: what a hypervisor must know to launch it.

Sources: EDK II, OvmfPkg/ResetVector/Ia16/ResetVectorVtf0.asm; QEMU, hw/i386/pc_sysfw_ovmf.c.
Little-endian; GUIDs in Microsoft's mixed order.

It ends 32 bytes before the end of the image and is read backwards. Each entry is its data, then
u16 length of the whole entry, then the GUID. The last entry is the footer,
96b582de-1fb2-45f7-baea-a366c55a082d, whose length is that of the whole table.

Unknown GUIDs are skipped, since firmware has many that do not concern a launch.
"""

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from atoll.errors import InputError
from atoll.measure.snp import PAGE_SIZE

MAX_FIRMWARE: Final = 64 << 20
FOOTER: Final = UUID("96b582de-1fb2-45f7-baea-a366c55a082d").bytes_le

_END_OF_TABLE: Final = 32
_ENTRY: Final = 18
_NUMBER: Final = 4


def entries(raw: bytes) -> Mapping[bytes, bytes]:
    """The data of each entry by its GUID, of an image or the end of one.

    Args:
        raw: whole pages.

    Raises:
        InputError: `measure.firmware`: not such an image, or over `MAX_FIRMWARE`.
    """
    if not 0 < len(raw) <= MAX_FIRMWARE or len(raw) % PAGE_SIZE:
        raise invalid(f"is {len(raw)} bytes, want 1 to {MAX_FIRMWARE >> 12} whole pages")
    end = len(raw) - _END_OF_TABLE
    if raw[end - 16 : end] != FOOTER:
        raise invalid("has no table of GUIDs 32 bytes before its end")
    start = end - _length(raw, end)
    end -= _ENTRY
    if not 0 <= start <= end:
        raise invalid("has a table of GUIDs that is longer than the image or shorter than itself")
    found: dict[bytes, bytes] = {}
    while end > start:
        size = _length(raw, end) if end - start >= _ENTRY else 0
        if not _ENTRY <= size <= end - start:
            raise invalid(f"has a wrong entry before 0x{end:x} in its table of GUIDs")
        guid = raw[end - 16 : end]
        if guid in found:
            raise invalid(f"has GUID {UUID(bytes_le=guid)} twice in its table")
        found[guid] = raw[end - size : end - _ENTRY]
        end -= size
    return found


def number(table: Mapping[bytes, bytes], guid: bytes) -> int | None:
    """The u32 that an entry begins with; None: there is no such entry.

    Raises:
        InputError: `measure.firmware`: it has no four bytes.
    """
    data = table.get(guid)
    if data is None:
        return None
    if len(data) < _NUMBER:
        raise invalid(f"has {len(data)} bytes for GUID {UUID(bytes_le=guid)}, want 4 or more")
    return int.from_bytes(data[:_NUMBER], "little")


def invalid(reason: str) -> InputError:
    """The error of everybody who reads firmware."""
    return InputError(f"firmware image {reason}", code="measure.firmware")


def _length(raw: bytes, end: int) -> int:
    return int.from_bytes(raw[end - _ENTRY : end - _ENTRY + 2], "little")
