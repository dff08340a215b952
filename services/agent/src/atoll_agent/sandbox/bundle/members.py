"""The files of a zip or tar that nobody vouches for, one after the other.

A zip is judged before the library reads its directory: no comment, no 64-bit records, a
directory of at most `MAX_DIRECTORY` bytes, so that it cannot take memory without end. Of either
kind only regular files and directories are taken, with names that go down only and are there
once. What they unpack to is counted while it is read, whatever a header says.
"""

import errno
import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol, Self

from atoll.errors import InputError
from atoll_agent.sandbox.bundle.refusal import refuse, shown
from atoll_agent.sandbox.docker.tarstream import EntryKind, FileSource, entries

CHUNK: Final = 1 << 20
MAX_DIRECTORY: Final = 8 << 20
"""Bytes of a zip's central directory: some 80 000 files."""
MAX_NAME: Final = 1024
MAX_DEPTH: Final = 32

_END: Final = struct.Struct("<4s4H2LH")
"""End of central directory record (APPNOTE.TXT 4.3.16)."""
_END_MARK: Final = b"PK\5\6"
_ZIP64_LOCATOR: Final = b"PK\6\7"
_LOCATOR_SIZE: Final = 20
_ENCRYPTED: Final = 1
_PLAIN_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_LINKS: Final = frozenset({EntryKind.HARD_LINK, EntryKind.SYMBOLIC_LINK})
_BROKEN: Final = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError,
    RuntimeError, ValueError, OverflowError, IndexError, MemoryError, KeyError,
)  # fmt: skip
"""What the libraries raise for bytes that are no archive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """The ends of the codes `bundle.*` for what an archive may not be, or have in it."""

    malformed: str
    path: str
    """A name that leads out, or that no file should have."""
    link: str
    special: str
    """A device, a pipe or a socket."""
    twice: str

    @classmethod
    def all(cls, code: str) -> Self:
        """One code for whatever it is."""
        return cls(malformed=code, path=code, link=code, special=code, twice=code)


@dataclass(slots=True)
class Budget:
    """What may still be unpacked."""

    bytes_left: int
    files_left: int

    def take(self, size: int) -> None:
        """Raises: InputError `bundle.too_large`."""
        self.bytes_left -= size
        if self.bytes_left < 0:
            raise refuse("too_large", "the bundle unpacks to too many bytes")

    def take_file(self) -> None:
        """Raises: InputError `bundle.too_large`."""
        self.files_left -= 1
        if self.files_left < 0:
            raise refuse("too_large", "the bundle holds too many files")


@dataclass(frozen=True, slots=True)
class Member:
    """One file; `chunks` can be read once, before the next member is asked for."""

    name: str
    chunks: Iterator[bytes]


def members(file: BinaryIO, budget: Budget, *, faults: Faults) -> Iterator[Member]:
    """The regular files of an archive, in its order.

    Args:
        file: a zip, or a tar that is not compressed; read at any place.
        budget: goes down with every file and every byte.
        faults: the codes for what is not taken.

    Raises:
        InputError: a code of `faults`, `bundle.too_large`. Also while chunks are read.
    """
    with _translated(faults.malformed):
        file.seek(0)
        head = file.read(4)
        file.seek(0)
        if head.startswith((b"PK\3\4", _END_MARK)):
            yield from _zip_members(file, budget, faults)
        else:
            yield from _tar_members(file, budget, faults)


def safe_parts(name: str, code: str) -> tuple[str, ...]:
    """The parts of a path that goes down only.

    Raises:
        InputError: `bundle.<code>`.
    """
    parts = tuple(name.removesuffix("/").split("/"))
    if (
        not 0 < len(name) <= MAX_NAME
        or len(parts) > MAX_DEPTH
        or not name.isprintable()
        or "\\" in name
        or any(part in {"", ".", ".."} for part in parts)
    ):
        raise refuse(code, f"an archive has the name {shown(name)}")
    return parts


def _zip_members(file: BinaryIO, budget: Budget, faults: Faults) -> Iterator[Member]:
    _require_small_directory(file, faults.malformed)
    seen: set[str] = set()
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            mode = info.external_attr >> 16
            kind = stat.S_IFMT(mode)
            _require_new(info.filename, seen, faults)
            if info.is_dir():
                continue
            if kind not in {0, stat.S_IFREG}:
                code = faults.link if kind == stat.S_IFLNK else faults.special
                raise refuse(code, f"{shown(info.filename)} is not a regular file")
            if info.flag_bits & _ENCRYPTED or info.compress_type not in _PLAIN_METHODS:
                raise refuse(
                    faults.malformed, f"{shown(info.filename)} is encrypted or oddly compressed"
                )
            budget.take_file()
            with archive.open(info) as content:
                yield Member(info.filename, _chunks(content, budget, faults.malformed))


def _tar_members(file: BinaryIO, budget: Budget, faults: Faults) -> Iterator[Member]:
    size = file.seek(0, io.SEEK_END)
    seen: set[str] = set()
    try:
        for entry in entries(FileSource(file, size), "an archive", most=budget.files_left):
            name = entry.name.decode("utf-8")
            if entry.kind is EntryKind.DIRECTORY:
                continue
            _require_new(name, seen, faults)
            if entry.kind is not EntryKind.FILE:
                code = faults.link if entry.kind in _LINKS else faults.special
                raise refuse(code, f"{shown(name)} is a {entry.kind.value}")
            budget.take_file()
            part = _Part(file, entry.offset, min(entry.size, size - entry.offset))
            yield Member(name, _chunks(part, budget, faults.malformed))
    except InputError as error:
        if not error.code.startswith("image."):
            raise
        # The reader of tars is shared with the archives of images.
        known = {"image.path": faults.path, "image.too_many": "too_large"}
        raise refuse(known.get(error.code, faults.malformed), error.message) from error


class _Part:
    """One member's content; the file may be read elsewhere in between."""

    def __init__(self, file: BinaryIO, offset: int, size: int) -> None:
        self._file = file
        self._at = offset
        self._left = size

    def read(self, size: int) -> bytes:
        self._file.seek(self._at)
        raw = self._file.read(min(size, self._left))
        self._at += len(raw)
        self._left -= len(raw)
        return raw


def _require_small_directory(file: BinaryIO, code: str) -> None:
    size = file.seek(0, io.SEEK_END)
    if size < _END.size:
        raise refuse(code, "an archive is too short for a zip")
    file.seek(max(0, size - _END.size - _LOCATOR_SIZE))
    tail = file.read()
    mark, *_, directory, _, comment = _END.unpack(tail[-_END.size :])
    if mark != _END_MARK or comment:
        raise refuse(code, "a zip does not end with its directory, or has a comment")
    if tail[: -_END.size].startswith(_ZIP64_LOCATOR):
        raise refuse(code, "a zip has 64-bit records")
    if directory > MAX_DIRECTORY:
        raise refuse("too_large", f"a zip's directory has {directory} bytes")
    file.seek(0)


def _require_new(name: str, seen: set[str], faults: Faults) -> None:
    path = "/".join(safe_parts(name, faults.path))
    if path in seen:
        raise refuse(faults.twice, f"an archive has {shown(name)} twice")
    seen.add(path)


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def _chunks(content: _Readable, budget: Budget, code: str) -> Iterator[bytes]:
    with _translated(code):
        while chunk := content.read(CHUNK):
            budget.take(len(chunk))
            yield chunk


@contextmanager
def _translated(code: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # A library that was led to a place before the file's beginning; else it is the host's.
        if error.errno != errno.EINVAL:
            raise
        raise refuse(code, "an archive points outside of itself") from error
    except _BROKEN as error:
        raise refuse(code, f"an archive cannot be read: {str(error)[:200]}") from error
