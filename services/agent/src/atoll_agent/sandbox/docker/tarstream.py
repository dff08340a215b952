"""The headers of a tar archive, from bytes that nobody vouches for. Pure but for the source.

POSIX.1-2017, pax, "ustar Interchange Format" and "pax Header Block"; GNU tar manual, "Basic
Tar Format" for long names and binary sizes. Offsets and sizes of a header block:

    0    100  name         156  1    type flag      329  8    device major
    100  8    mode         157  100  link name      337  8    device minor
    108  8    uid          257  6    magic          345  155  prefix (ustar)
    116  8    gid          263  2    version        500  12   zeros
    124  12   size         265  32   user name
    136  12   mtime        297  32   group name
    148  8    checksum

Refused rather than guessed at: archives without a magic (before POSIX), sparse files, global
pax headers that rename or resize, types that are not in `_KINDS`, a wrong checksum, bytes
other than zero after the end. The end must be there: two blocks of zeros.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import BinaryIO, Final, Protocol

from atoll_agent.sandbox.docker.refusal import refuse, shown

BLOCK: Final = 512
MAX_EXTENSION: Final = 1 << 20
"""Bytes of one pax header or long name."""
MAX_NAME: Final = 4096
"""Bytes of a path; Linux has the same limit."""
MAX_SIZE: Final = 1 << 40
CHUNK: Final = 1 << 20

_ZEROS: Final = bytes(BLOCK)
_USTAR: Final = b"ustar\x0000"
_GNU: Final = b"ustar  \x00"
_BINARY: Final = 0x80
_PERMISSIONS: Final = 0o7777
_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK = b"x", b"g", b"L", b"K"


class EntryKind(Enum):
    FILE = "file"
    HARD_LINK = "hard link"
    SYMBOLIC_LINK = "symbolic link"
    DEVICE = "device"
    DIRECTORY = "directory"
    FIFO = "fifo"


_KINDS: Final = {
    b"0": EntryKind.FILE,
    b"\0": EntryKind.FILE,
    b"1": EntryKind.HARD_LINK,
    b"2": EntryKind.SYMBOLIC_LINK,
    b"3": EntryKind.DEVICE,
    b"4": EntryKind.DEVICE,
    b"5": EntryKind.DIRECTORY,
    b"6": EntryKind.FIFO,
}


class Source(Protocol):
    """Bytes from the first to the last."""

    def take(self, size: int) -> bytes:
        """The next `size` bytes; fewer only at the end."""
        ...

    def skip(self, size: int) -> int:
        """Go `size` bytes on; returns by how many, fewer only at the end."""
        ...

    def position(self) -> int:
        """How many bytes were passed."""
        ...


class FileSource:
    """A file as a `Source`; what is skipped is not read. The file may be read elsewhere in
    between."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._at = 0

    def take(self, size: int) -> bytes:
        """The next bytes."""
        self._file.seek(self._at)
        raw = self._file.read(min(size, self._size - self._at))
        self._at += len(raw)
        return raw

    def skip(self, size: int) -> int:
        """Go on; returns how far."""
        passed = min(size, self._size - self._at)
        self._at += passed
        return passed

    def position(self) -> int:
        """How many bytes were passed."""
        return self._at


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One member. `name` has no leading "./" and no trailing "/"; the root is empty.

    A name that exists goes down only: it is not absolute and has no "..".
    """

    name: bytes
    kind: EntryKind
    size: int
    """Bytes of content; 0 but for files."""
    offset: int
    """Where the content begins in the source."""
    link: bytes = field(default=b"")
    """The target as written; not checked here."""
    mode: int = 0
    """The twelve bits of permissions."""


@dataclass(slots=True)
class _Extension:
    """What pax headers and long names say about the next entry."""

    name: bytes | None = None
    link: bytes | None = None
    size: int | None = None


def entries(source: Source, what: str, *, most: int) -> Iterator[Entry]:
    """The members of an archive in its order.

    Whoever wants the content of one takes `size` bytes from the source before it asks for the
    next; what is not taken is skipped.

    Args:
        source: stands at the archive's first byte, and at its end afterwards.
        what: how messages call the archive.
        most: how many members there may be.

    Raises:
        InputError: `image.not_tar`, `image.truncated`, `image.path`, `image.too_many`,
            `image.entry`.
    """
    extension = _Extension()
    count = 0
    while True:
        block = _exactly(source, BLOCK, what)
        if block == _ZEROS:
            _require_end(source, what)
            if extension != _Extension():
                raise refuse("not_tar", f"{what} ends after an extended header")
            return
        flag, size = _header(block, what)
        count += 1
        if count > 4 * most:
            raise refuse("too_many", f"{what} has more than {most} entries")
        if flag in (_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK):
            _extend(extension, flag, _content(source, size, what), what)
            continue
        entry = _entry(block, extension, size, source.position(), what)
        most -= 1
        if most < 0:
            raise refuse("too_many", f"{what} has more entries than are allowed")
        extension = _Extension()
        yield entry
        left = entry.offset + -(-entry.size // BLOCK) * BLOCK - source.position()
        if source.skip(left) != left:
            raise refuse("truncated", f"{what} ends within {shown(entry.name)}")


def inside(raw: bytes, what: str) -> bytes:
    """A path below the archive's root, without "." and empty parts.

    Raises:
        InputError: `image.path`: absolute, with "..", too long, or with a NUL.
    """
    if len(raw) > MAX_NAME or b"\0" in raw:
        raise refuse("path", f"{what} has the name {shown(raw)}, too long or with NUL")
    parts = raw.split(b"/")
    if raw.startswith(b"/") or b".." in parts:
        raise refuse("path", f"{what} has the name {shown(raw)}, which leads out of it")
    return b"/".join(part for part in parts if part not in (b"", b"."))


def _exactly(source: Source, size: int, what: str) -> bytes:
    raw = source.take(size)
    if len(raw) != size:
        raise refuse("truncated", f"{what} ends within a header or before its end mark")
    return raw


def _content(source: Source, size: int, what: str) -> bytes:
    if size > MAX_EXTENSION:
        raise refuse("not_tar", f"{what} has an extended header of {size} bytes")
    padded = -(-size // BLOCK) * BLOCK
    return _exactly(source, padded, what)[:size]


def _require_end(source: Source, what: str) -> None:
    if _exactly(source, BLOCK, what) != _ZEROS:
        raise refuse("not_tar", f"{what} has a single block of zeros in it")
    while chunk := source.take(CHUNK):
        if chunk.strip(b"\0"):
            raise refuse("not_tar", f"{what} goes on after its end")


def _header(block: bytes, what: str) -> tuple[bytes, int]:
    """Type flag and size of a header that is one."""
    if block[257:265] not in (_USTAR, _GNU):
        raise refuse("not_tar", f"{what} has no tar header where one should be")
    # The checksum is counted as if its own field held blanks.
    total = sum(block) - sum(block[148:156]) + 8 * 0x20
    if _number(block[148:156], what) != total:
        raise refuse("not_tar", f"{what} has a header with a wrong checksum")
    return block[156:157], _number(block[124:136], what)


def _number(raw: bytes, what: str) -> int:
    if raw[0] & _BINARY:
        value = int.from_bytes(raw, "big") - (_BINARY << 8 * (len(raw) - 1))
    else:
        text = raw.strip(b" \0")
        if text.strip(b"01234567"):
            raise refuse("not_tar", f"{what} has a header with {shown(raw)} for a number")
        value = int(text or b"0", 8)
    if value > MAX_SIZE:
        raise refuse("not_tar", f"{what} has a header with {value} for a number")
    return value


def _extend(extension: _Extension, flag: bytes, raw: bytes, what: str) -> None:
    if flag == _LONG_NAME:
        extension.name = raw.rstrip(b"\0")
    elif flag == _LONG_LINK:
        extension.link = raw.rstrip(b"\0")
    else:
        for key, value in _records(raw, what):
            if key.startswith(b"GNU.sparse."):
                raise refuse("entry", f"{what} has a sparse file")
            if key not in (b"path", b"linkpath", b"size"):
                continue
            if flag == _PAX_GLOBAL:
                raise refuse("not_tar", f"{what} renames or resizes all of its entries")
            if key == b"path":
                extension.name = value
            elif key == b"linkpath":
                extension.link = value
            else:
                extension.size = _decimal(value, what)


def _records(raw: bytes, what: str) -> Iterator[tuple[bytes, bytes]]:
    """Records are "length key=value\\n"; the length counts the whole record."""
    at = 0
    while at < len(raw):
        digits, blank, _ = raw[at : at + 20].partition(b" ")
        length = _decimal(digits, what)
        record = raw[at + len(digits) + 1 : at + length]
        key, equals, value = record.partition(b"=")
        if not blank or not equals or not record.endswith(b"\n") or at + length > len(raw):
            raise refuse("not_tar", f"{what} has a malformed pax header")
        yield key, value[:-1]
        at += length


def _decimal(raw: bytes, what: str) -> int:
    # isdigit of bytes is ASCII only; 15 digits stay far below the conversion limit.
    if not raw.isdigit() or len(raw) > 15 or int(raw) > MAX_SIZE:  # noqa: PLR2004
        raise refuse("not_tar", f"{what} has {shown(raw)} for a number in a pax header")
    return int(raw)


def _entry(block: bytes, extension: _Extension, size: int, offset: int, what: str) -> Entry:
    flag = block[156:157]
    kind = _KINDS.get(flag)
    if kind is None:
        raise refuse("entry", f"{what} has an entry of the type {shown(flag)}")
    name = extension.name
    if name is None:
        name = block[:100].split(b"\0")[0]
        if block[257:265] == _USTAR and block[345]:
            name = block[345:500].split(b"\0")[0] + b"/" + name
    link = extension.link if extension.link is not None else block[157:257].split(b"\0")[0]
    size = extension.size if extension.size is not None else size
    if kind is EntryKind.FILE and name.endswith(b"/"):
        kind = EntryKind.DIRECTORY  # before POSIX a directory was a file with such a name
    if size and kind is not EntryKind.FILE:
        raise refuse("entry", f"{what} has {kind.value} {shown(name)} of {size} bytes")
    name = inside(name, what)
    if not name and kind is not EntryKind.DIRECTORY:
        raise refuse("path", f"{what} has a {kind.value} without a name")
    mode = _number(block[100:108], what) & _PERMISSIONS
    return Entry(name=name, kind=kind, size=size, offset=offset, link=link, mode=mode)
