"""What a firmware image says about how a hypervisor launches it under SEV-SNP.

Sources: EDK II, OvmfPkg/ResetVector/Ia32/AmdSev.asm; QEMU, hw/i386/pc_sysfw_ovmf.c. Little-endian.

| entry of the table (`guid_table`)    | data                                            |
| dc886566-984a-4798-a75e-5585a7bf67cc | u32, offset of the SEV metadata from the end    |
| 7255371f-3a3b-4b04-927b-1da6efa8d454 | u32 address, u32 size of the kernel hash table  |
| 00f771de-1a7e-4fcb-890e-68c77e2fb44e | u32, where application processors start         |

| off | size | SEV metadata                                                        |
| 00  | 4    | "ASEV"                                                              |
| 04  | 4    | length with all sections                                            |
| 08  | 4    | version, 1                                                          |
| 0C  | 4    | number of sections                                                  |
| 10  | 12   | each section: guest physical address, size, type                    |

Unknown section types are refused, since it is not known how they are measured.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Self
from uuid import UUID

from atoll.measure.guid_table import entries, invalid, number
from atoll.measure.snp import PAGE_SIZE

MAX_SECTIONS: Final = 64
MAX_SECTION_PAGES: Final = 1 << 16
"""Pages of all sections together, which bounds the time that a measurement takes."""

SEV_METADATA: Final = UUID("dc886566-984a-4798-a75e-5585a7bf67cc").bytes_le
KERNEL_HASHES: Final = UUID("7255371f-3a3b-4b04-927b-1da6efa8d454").bytes_le
RESET_BLOCK: Final = UUID("00f771de-1a7e-4fcb-890e-68c77e2fb44e").bytes_le

_HEADER: Final = 16
_SECTION: Final = 12
_FOUR_GIB: Final = 1 << 32


class SectionType(IntEnum):
    """Types of SEV metadata sections."""

    SEC_MEM = 1
    SECRETS = 2
    CPUID = 3
    SVSM_CAA = 4
    KERNEL_HASHES = 0x10


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A range of guest memory that the hypervisor prepares before the launch."""

    kind: SectionType
    gpa: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Firmware:
    """A parsed image. It is mapped so that it ends at 4 GiB, from `gpa` on."""

    image: bytes = field(repr=False)
    sections: tuple[Section, ...]
    hashes_gpa: int | None
    """Where the kernel hash table goes, if the image takes one."""
    reset_eip: int | None
    """Where processors other than the first start."""

    @property
    def gpa(self) -> int:
        """Guest physical address of the first byte."""
        return _FOUR_GIB - len(self.image)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Read an image, or the end of one that is a multiple of a page long.

        Raises:
            InputError: `measure.firmware`: not such an image, or over a limit.
        """
        table = entries(raw)
        offset = number(table, SEV_METADATA)
        if offset is None:
            raise invalid("has no SEV metadata, so it cannot be launched under SEV-SNP")
        return cls(
            image=bytes(raw),
            sections=_sections(raw, len(raw) - offset),
            hashes_gpa=number(table, KERNEL_HASHES) or None,
            reset_eip=number(table, RESET_BLOCK) or None,
        )


def _sections(raw: bytes, start: int) -> tuple[Section, ...]:
    if not 0 <= start <= len(raw) - _HEADER or raw[start : start + 4] != b"ASEV":
        raise invalid("points at SEV metadata that is not there")
    length, version, count = (_u32(raw, start + at) for at in (4, 8, 12))
    if version != 1 or count > MAX_SECTIONS or length != _HEADER + count * _SECTION:
        raise invalid(f"has SEV metadata of version {version} with {count} in {length} bytes")
    if start + length > len(raw):
        raise invalid("has SEV metadata that goes on after its end")
    sections = tuple(_section(raw, at) for at in range(start + _HEADER, start + length, _SECTION))
    if sum(item.size for item in sections) > MAX_SECTION_PAGES * PAGE_SIZE:
        raise invalid(f"has sections of over {MAX_SECTION_PAGES} pages together")
    return sections


def _section(raw: bytes, at: int) -> Section:
    gpa, size, kind = (_u32(raw, at + step) for step in (0, 4, 8))
    if gpa % PAGE_SIZE or size % PAGE_SIZE or not size or gpa + size > _FOUR_GIB:
        raise invalid(f"has a section of 0x{size:x} bytes at 0x{gpa:x}, want whole pages")
    if kind not in tuple(SectionType):
        raise invalid(f"has a section of unknown type 0x{kind:x}")
    return Section(kind=SectionType(kind), gpa=gpa, size=size)


def _u32(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + 4], "little")
