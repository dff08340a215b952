"""MRTD: what the TDX module measures of a TD before it runs, from its firmware.

Sources: Intel, "TDX Virtual Firmware Design Guide", section 11, for the metadata; "TDX Module 1.5
Base Architecture", section 12.2, for what TDH.MEM.PAGE.ADD and TDH.MR.EXTEND add to the digest;
QEMU, target/i386/kvm/tdx.c, for the order: one section after the other, of each every page, and
of a page its address and then its 16 pieces. (Before it was merged into 10.1, QEMU had patches
that added all pages of a section first; those gave other values.) Little-endian.

The table of GUIDs has e47a6535-984a-4798-865e-4685a7bf8ec2: u32, offset of the metadata from the
end of the image.

| off | size | metadata                                                                  |
| 00  | 4    | "TDVF"                                                                    |
| 04  | 4    | length with all sections                                                  |
| 08  | 4    | version, 1                                                                |
| 0C  | 4    | number of sections                                                        |
| 10  | 32   | each section: u32 offset and u32 size of its data in the image, u64       |
|     |      | address and u64 size in memory, u32 type, u32 attributes                  |
"""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Self
from uuid import UUID

from atoll.measure.guid_table import entries, invalid, number
from atoll.measure.snp import PAGE_SIZE

MAX_SECTIONS: Final = 64
MAX_PAGES: Final = 1 << 16
"""Of all sections together, which bounds the time that a measurement takes."""
TDX_METADATA: Final = UUID("e47a6535-984a-4798-865e-4685a7bf8ec2").bytes_le
EXTEND: Final = 1
"""Attribute: what is in the section is measured, and not only where it is."""
AUGMENT: Final = 2
"""Attribute: added when the TD accepts it, so not measured at all."""

_MAGIC: Final = b"TDVF"
_HEADER: Final = struct.Struct("<4s3I")
_SECTION: Final = struct.Struct("<2I2Q2I")
_PIECE: Final = 256
_ENTRY: Final = struct.Struct("<16sQ104x")
_HIGHEST: Final = 1 << 52
"""Physical addresses are shorter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TdSection:
    """A range of a TD's memory that is there when it starts."""

    gpa: int
    pages: int
    attributes: int
    data: bytes = field(repr=False)
    """What is in it, where `EXTEND` is set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tdvf:
    """A firmware image as a TD is made of it."""

    sections: tuple[TdSection, ...]

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Read an image.

        Raises:
            InputError: `measure.firmware`: not such an image, one that cannot start a TD, or over
                a limit.
        """
        offset = number(entries(raw), TDX_METADATA)
        if offset is None:
            raise invalid("has no TDX metadata, so it cannot start a TD")
        start = len(raw) - offset
        if not 0 <= start <= len(raw) - _HEADER.size:
            raise invalid("points at TDX metadata that is not there")
        magic, length, version, count = _HEADER.unpack_from(raw, start)
        known = magic == _MAGIC and version == 1 and 0 < count <= MAX_SECTIONS
        if not known or length != _HEADER.size + count * _SECTION.size:
            raise invalid(f"has TDX metadata of version {version} with {count} in {length} bytes")
        if start + length > len(raw):
            raise invalid("has TDX metadata that goes on after its end")
        first = start + _HEADER.size
        found = tuple(_section(raw, first + at * _SECTION.size) for at in range(count))
        if sum(item.pages for item in found) > MAX_PAGES:
            raise invalid(f"has sections of over {MAX_PAGES} pages together")
        return cls(sections=found)

    def mr_td(self) -> bytes:
        """MRTD, 48 bytes, of a TD that QEMU starts with this firmware."""
        hasher = hashlib.sha384()
        for part in self._measured():
            hasher.update(part)
        return hasher.digest()

    def _measured(self) -> Iterator[bytes]:
        for section in self.sections:
            for page in range(section.pages):
                at = page * PAGE_SIZE
                if not section.attributes & AUGMENT:
                    yield _ENTRY.pack(b"MEM.PAGE.ADD", section.gpa + at)
                if section.attributes & EXTEND:
                    for piece in range(at, at + PAGE_SIZE, _PIECE):
                        yield _ENTRY.pack(b"MR.EXTEND", section.gpa + piece)
                        yield section.data[piece : piece + _PIECE]


def _section(raw: bytes, at: int) -> TdSection:
    offset, size, gpa, memory, _, attributes = _SECTION.unpack_from(raw, at)
    whole = not gpa % PAGE_SIZE and not memory % PAGE_SIZE and gpa + memory <= _HIGHEST
    if not whole or size > memory:
        raise invalid(f"has a TD section of 0x{memory:x} bytes at 0x{gpa:x}, want whole pages")
    if attributes & ~(EXTEND | AUGMENT) or attributes == EXTEND | AUGMENT:
        raise invalid(f"has a TD section with attributes 0x{attributes:x}, which are not known")
    if attributes & EXTEND and (size != memory or offset + size > len(raw)):
        raise invalid(f"has a TD section at 0x{gpa:x} that is measured and not all in the image")
    data = bytes(raw[offset : offset + size]) if attributes & EXTEND else b""
    return TdSection(gpa=gpa, pages=memory // PAGE_SIZE, attributes=attributes, data=data)
