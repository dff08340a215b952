"""Firmware images for tests: random pages with a table of GUIDs and SEV metadata at the end."""

import struct
from collections.abc import Mapping, Sequence

from atoll.measure.guid_table import FOOTER
from atoll.measure.ovmf import KERNEL_HASHES, RESET_BLOCK, SEV_METADATA
from atoll.measure.tdvf import TDX_METADATA

SECTIONS = (
    (0x800000, 0x2000, 1),
    (0x802000, 0x1000, 2),
    (0x803000, 0x1000, 3),
    (0x804000, 0x1000, 4),
    (0x810000, 0x1000, 0x10),
)
RESET_EIP = 0x80B004
HASHES_GPA = 0x810C00


def metadata(sections: Sequence[tuple[int, int, int]] = SECTIONS) -> bytes:
    """The "ASEV" structure."""
    body = b"".join(struct.pack("<III", *section) for section in sections)
    return b"ASEV" + struct.pack("<III", 16 + len(body), 1, len(sections)) + body


def entry(guid: bytes, data: bytes) -> bytes:
    """One entry of the table of GUIDs."""
    return data + struct.pack("<H", len(data) + 18) + guid


def image(
    *,
    pages: int = 2,
    sev: bytes | None = None,
    entries: Mapping[bytes, bytes] | None = None,
    fill: bytes = b"\xa5",
) -> bytes:
    """A firmware image that can be launched, unless `sev` or `entries` say otherwise."""
    sev = metadata() if sev is None else sev
    offset = 2048
    named = {
        RESET_BLOCK: struct.pack("<I", RESET_EIP),
        KERNEL_HASHES: struct.pack("<II", HASHES_GPA, 0x400),
        SEV_METADATA: struct.pack("<I", offset),
        bytes(range(16)): b"something of no concern",
    }
    named = dict(named if entries is None else entries)
    table = b"".join(entry(guid, data) for guid, data in named.items())
    footer = struct.pack("<H", len(table) + 18) + FOOTER
    size = pages * 4096
    raw = bytearray(fill * size)
    raw[size - offset : size - offset + len(sev)] = sev
    end = size - 32
    raw[end - len(table) - 18 : end] = table + footer
    return bytes(raw)


TD_SECTIONS = (
    (0, 0x1000, 0xFFFFE000, 0x1000, 0, 1),
    (0, 0, 0x810000, 0x2000, 3, 0),
    (0, 0, 0x809000, 0x1000, 2, 2),
)
"""Data's offset and size, address and size in memory, type, attributes."""


def td_metadata(sections: Sequence[tuple[int, ...]] = TD_SECTIONS) -> bytes:
    """The "TDVF" structure."""
    body = b"".join(struct.pack("<2I2Q2I", *section) for section in sections)
    return b"TDVF" + struct.pack("<III", 16 + len(body), 1, len(sections)) + body


def td_image(metadata: bytes | None = None, *, pages: int = 2, offset: int = 3000) -> bytes:
    """A firmware image that can start a TD, unless `metadata` or `offset` say otherwise."""
    raw = bytearray(image(pages=pages, entries={TDX_METADATA: struct.pack("<I", offset)}))
    said = td_metadata() if metadata is None else metadata
    start = len(raw) - 3000
    raw[start : start + len(said)] = said
    return bytes(raw)
