"""One 512-byte tar header, written and read in exactly one form.

POSIX.1-2017, pax, "ustar Interchange Format". Numbers are octal digits of full width and a NUL.

| offset | size | field    | value                                              |
| ------ | ---- | -------- | -------------------------------------------------- |
| 0      | 100  | name     | the path, or `long-name` if a pax record carries it |
| 100    | 8    | mode     | 0000644                                            |
| 108    | 16   | uid, gid | 0000000 each                                       |
| 124    | 12   | size     | up to 8 GiB - 1                                    |
| 136    | 12   | mtime    | 0                                                  |
| 148    | 8    | chksum   | six digits, NUL, space                             |
| 156    | 1    | typeflag | `0` regular file, `x` pax record for the next one   |
| 157    | 100  | linkname | NUL                                                |
| 257    | 8    | magic    | `ustar`, NUL, `00`                                 |
| 265    | 64   | uname, gname | NUL                                            |
| 329    | 16   | devmajor, devminor | 0000000 each                             |
| 345    | 167  | prefix, padding | NUL                                         |

A path over 100 bytes travels in a pax record `<length> path=<path>\\n` and only there. The
reader does not judge fields one by one: it reads name, size and type, writes the header that
they must have, and compares. What is not that header is refused, links and devices with it.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final, Self

from atoll.errors import InputError

BLOCK: Final = 512
MAX_SHORT_NAME: Final = 100
MAX_FILE_SIZE: Final = 8 * 1024**3 - 1
END: Final = bytes(2 * BLOCK)
LONG_NAME: Final = b"long-name"
PAX_NAME: Final = b"PaxHeaders/path"

_NAME: Final = slice(0, 100)
_SIZE: Final = slice(124, 136)
_CHECKSUM: Final = slice(148, 156)
_TYPE: Final = slice(156, 157)


class Kind(Enum):
    """The two kinds of entry that are allowed."""

    FILE = b"0"
    PAX = b"x"


@dataclass(frozen=True, slots=True, kw_only=True)
class TarHeader:
    """Name, size and kind; everything else is fixed."""

    name: bytes
    size: int
    kind: Kind

    def to_bytes(self) -> bytes:
        """The block. A name or size that does not fit is a bug and raises `ValueError`."""
        if not 0 < len(self.name) <= MAX_SHORT_NAME or not 0 <= self.size <= MAX_FILE_SIZE:
            raise ValueError("name or size does not fit a tar header")
        block = bytearray(BLOCK)
        block[: len(self.name)] = self.name
        block[100:124] = b"0000644\x00" + b"0000000\x00" * 2
        block[_SIZE] = b"%011o\x00" % self.size
        block[136:148] = b"%011o\x00" % 0
        block[_CHECKSUM] = b" " * 8
        block[_TYPE] = self.kind.value
        block[257:265] = b"ustar\x0000"
        block[329:345] = b"0000000\x00" * 2
        block[_CHECKSUM] = b"%06o\x00 " % sum(block)
        return bytes(block)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Parse one block.

        Raises:
            InputError: `archive.malformed`, not a block that `to_bytes` makes.
        """
        if len(raw) != BLOCK:
            raise malformed(f"tar header is {len(raw)} bytes, want {BLOCK}")
        digits = raw[_SIZE][:11]
        if not digits.isdigit() or not set(digits) <= set(b"01234567"):
            raise malformed("tar header has a size that is not octal")
        type_ = raw[_TYPE]
        if type_ not in (Kind.FILE.value, Kind.PAX.value):
            raise malformed(f"entry of type {type_!r}, only regular files are allowed")
        name = raw[_NAME].rstrip(b"\x00")
        if not name:
            raise malformed("tar header has no name")
        header = cls(name=name, size=int(digits, 8), kind=Kind(type_))
        if header.to_bytes() != raw:
            raise malformed("tar header has metadata that is not the fixed one")
        return header


def malformed(why: str) -> InputError:
    """The error for bytes that are not such an archive."""
    return InputError(f"result archive: {why}", code="archive.malformed")


def padding(size: int) -> int:
    """Zero bytes between a content of `size` and the next block."""
    return -size % BLOCK


def pax_path(path: bytes) -> bytes:
    """The pax record that carries `path`; its length counts its own digits."""
    rest = len(b" path=\n") + len(path)
    length = rest + len(str(rest))
    if len(str(length)) > len(str(rest)):
        length += 1
    return b"%d path=%s\n" % (length, path)


def read_pax_path(record: bytes) -> bytes:
    """The path in `record`, if it is exactly what `pax_path` makes of it.

    Raises:
        InputError: `archive.malformed`.
    """
    _, separator, rest = record.partition(b" path=")
    path = rest[:-1]
    if not separator or len(path) <= MAX_SHORT_NAME or pax_path(path) != record:
        raise malformed("pax record that is not one long path")
    return path
