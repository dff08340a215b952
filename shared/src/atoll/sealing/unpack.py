"""Reading a result archive (`atoll.sealing.archive`) without trusting it.

It comes out of the enclave sealed, and yet the guest chose the names and contents. What is
read here is exactly what `write_archive` can have written: anything else is refused, so one
result has one archive. Nothing is written anywhere; the caller gets events.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from atoll.errors import InputError
from atoll.sealing.archive import MAX_PATH, ArchiveNames
from atoll.sealing.tar import (
    BLOCK,
    LONG_NAME,
    PAX_NAME,
    Kind,
    TarHeader,
    malformed,
    padding,
    read_pax_path,
)

MAX_RECORD: Final = len(b"9999 path=\n") + MAX_PATH


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveLimits:
    """How much a reader takes."""

    entries: int = 10_000
    """Entries, `exit.json`, `stdout` and `stderr` among them."""
    content_bytes: int = 64 * 1024**3
    """Content of all entries together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryStart:
    """A file begins; `size` bytes of data follow."""

    name: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryData:
    """Some of the current file. A view of what was fed; use it before you change that."""

    data: memoryview


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryEnd:
    """The current file is complete."""


Event = EntryStart | EntryData | EntryEnd


class _State(Enum):
    HEADER = auto()
    RECORD = auto()
    CONTENT = auto()
    PADDING = auto()
    END = auto()
    DONE = auto()


class ArchiveReader:
    """Archive pieces in, events out. Holds at most a header or pax record, and all names.

    Until `finish` returned, what came out is a beginning of an archive.
    """

    __slots__ = ("_content", "_held", "_left", "_limits", "_long", "_names", "_size", "_state")

    def __init__(self, limits: ArchiveLimits | None = None) -> None:
        self._limits: Final = limits or ArchiveLimits()
        self._names: Final = ArchiveNames()
        self._held: Final = bytearray()
        self._content = 0
        self._size = 0
        self._long: bytes | None = None
        self._expect(_State.HEADER, BLOCK)

    @property
    def held(self) -> int:
        """Bytes of input kept back."""
        return len(self._held)

    def feed(self, data: bytes) -> Iterator[Event]:
        """Take the next piece. Exhaust the iterator before the next call.

        Raises:
            InputError: `archive.malformed`, `archive.name`, `archive.limit`. The reader is of
                no use after that.
        """
        view = memoryview(data)
        while view:
            if self._state is _State.DONE:
                raise malformed("goes on after its end")
            piece, view = view[: self._left], view[self._left :]
            self._left -= len(piece)
            if self._state is _State.CONTENT:
                yield EntryData(data=piece)
            else:
                self._held.extend(piece)
            if not self._left:
                block = bytes(self._held)
                self._held.clear()
                yield from self._step(block)

    def finish(self) -> None:
        """Return if the archive is complete.

        Raises:
            InputError: `archive.malformed`.
        """
        if self._state is not _State.DONE:
            raise malformed("ends too early")

    def _expect(self, state: _State, size: int) -> None:
        self._state = state
        self._left = size

    def _step(self, block: bytes) -> Iterator[Event]:
        match self._state:
            case _State.HEADER if any(block):
                yield from self._entry(TarHeader.from_bytes(block))
            case _State.HEADER:
                if self._long is not None:
                    raise malformed("pax record without a file behind it")
                self._names.require_complete()
                self._expect(_State.END, BLOCK)
            case _State.RECORD:
                self._long = read_pax_path(block[: self._size])
                _require_zero(block[self._size :])
                self._expect(_State.HEADER, BLOCK)
            case _State.CONTENT:
                yield EntryEnd()
                self._after(self._size)
            case _State.PADDING:
                _require_zero(block)
                self._expect(_State.HEADER, BLOCK)
            case _State.END | _State.DONE:
                _require_zero(block)
                self._expect(_State.DONE, 0)

    def _entry(self, header: TarHeader) -> Iterator[Event]:
        self._size = header.size
        if header.kind is Kind.PAX:
            if header.name != PAX_NAME or self._long is not None or header.size > MAX_RECORD:
                raise malformed("pax record that is not for one long path")
            self._expect(_State.RECORD, header.size + padding(header.size))
            return
        if self._long is not None and header.name != LONG_NAME:
            raise malformed("file with two names")
        raw = header.name if self._long is None else self._long
        self._long = None
        try:
            name = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError("result archive: path is not UTF-8", code="archive.name") from error
        self._names.add(name)
        self._content += header.size
        if len(self._names) > self._limits.entries:
            raise InputError(
                f"result archive: over {self._limits.entries} entries", code="archive.limit"
            )
        if self._content > self._limits.content_bytes:
            raise InputError(
                f"result archive: over {self._limits.content_bytes} bytes of content",
                code="archive.limit",
            )
        yield EntryStart(name=name, size=header.size)
        if header.size:
            self._expect(_State.CONTENT, header.size)
        else:
            yield EntryEnd()
            self._expect(_State.HEADER, BLOCK)

    def _after(self, size: int) -> None:
        if padding(size):
            self._expect(_State.PADDING, padding(size))
        else:
            self._expect(_State.HEADER, BLOCK)


def _require_zero(raw: bytes) -> None:
    if any(raw):
        raise malformed("padding that is not zero")
