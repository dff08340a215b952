"""The digest by which UEFI firmware measures an image that it starts: Authenticode's.

Microsoft, "Windows Authenticode Portable Executable Signature Format", 2008, "Calculating the PE
Image Hash"; offsets from "PE Format". Left out are the checksum, the directory entry of the
certificates, and those themselves at the file's end.
"""

import hashlib
from dataclasses import dataclass
from typing import Final, Self

from atoll.errors import InputError

MAX_IMAGE: Final = 1 << 30
MAX_SECTIONS: Final = 96

_PE_OFFSET: Final = 0x3C
_COFF: Final = 24
"""Signature and COFF header, before the optional header."""
_PE32, _PE32_PLUS = 0x10B, 0x20B
_CHECKSUM: Final = 64
_DIRECTORIES: Final = {_PE32: 96, _PE32_PLUS: 112}
_SECURITY: Final = 4
"""The directory entry of the certificates."""
_SECTION: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    checksum: int
    security: int
    header_size: int
    sections: tuple[tuple[int, int], ...]
    """(offset, size) of each that has bytes in the file, in order."""
    certificates: int
    """How many bytes they are."""

    @classmethod
    def of(cls, image: bytes) -> Self:
        pe = _uint(image, _PE_OFFSET, 4)
        if image[:2] != b"MZ" or image[pe : pe + 4] != b"PE\0\0":
            raise _invalid("has no PE header")
        optional = pe + _COFF
        directories = _DIRECTORIES.get(_uint(image, optional, 2))
        if directories is None:
            raise _invalid("is neither PE32 nor PE32+")
        if _uint(image, optional + directories - 4, 4) <= _SECURITY:
            raise _invalid("has no directory entry for certificates")
        security = optional + directories + 8 * _SECURITY
        count = _uint(image, pe + 6, 2)
        table = optional + _uint(image, pe + 20, 2)
        if count > MAX_SECTIONS:
            raise _invalid(f"has {count} sections, at most {MAX_SECTIONS}")
        starts = range(table, table + _SECTION * count, _SECTION)
        found = [(_uint(image, at + 20, 4), _uint(image, at + 16, 4)) for at in starts]
        return cls(
            checksum=optional + _CHECKSUM,
            security=security,
            header_size=_uint(image, optional + 60, 4),
            sections=tuple(sorted(one for one in found if one[1])),
            certificates=_uint(image, security + 4, 4),
        )


def authenticode(image: bytes, algorithm: str = "sha256") -> bytes:
    """The digest by which an image is measured.

    Args:
        image: the file.
        algorithm: of hashlib's names that of the register: `sha256` in a TPM, `sha384` on TDX.

    Raises:
        InputError: `measure.kernel`: no PE image, or one whose parts do not follow each other.
    """
    if len(image) > MAX_IMAGE:
        raise _invalid(f"is {len(image)} bytes, at most {MAX_IMAGE}")
    it = _Layout.of(image)
    if not it.security + 8 <= it.header_size <= len(image):
        raise _invalid("has headers that do not fit")
    hasher = hashlib.new(algorithm, image[: it.checksum])
    hasher.update(image[it.checksum + 4 : it.security])
    hasher.update(image[it.security + 8 : it.header_size])
    at = it.header_size
    for offset, size in it.sections:
        if offset < at or offset + size > len(image):
            raise _invalid("has sections that overlap or are cut")
        hasher.update(image[offset : offset + size])
        # By the specification what follows is found by the sum of sizes, not by the last end.
        at += size
    rest = len(image) - at - it.certificates
    if rest < 0:
        raise _invalid("has certificates that do not fit")
    hasher.update(image[at : at + rest])
    return hasher.digest()


def _uint(image: bytes, at: int, size: int) -> int:
    if at + size > len(image):
        raise _invalid(f"is cut at 0x{at:x}")
    return int.from_bytes(image[at : at + size], "little")


def _invalid(why: str) -> InputError:
    return InputError(f"kernel image {why}", code="measure.kernel")
