"""Writes an opened archive below a fresh directory, which appears whole or not at all."""

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from atoll.errors import ConfigError, InputError
from atoll.sealing.archive import EXIT, MAX_EXIT_RECORD, ExitRecord
from atoll.sealing.unpack import ArchiveReader, EntryData, EntryEnd, EntryStart

RECEIPT_FILE: Final = "receipt.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpackedFile:
    """One file of a result; `name` as in the archive, `path` where it now is."""

    name: str
    size: int
    sha256: str
    path: Path


class FreshDirectory:
    """A directory under construction beside `final`; `keep` moves it there.

    Raises:
        ConfigError: `out.exists`, `out.unwritable`.
    """

    def __init__(self, final: Path) -> None:
        self.final = final.absolute()
        self.path = self.final.parent / f".{self.final.name}.{secrets.token_hex(6)}"

    def __enter__(self) -> Self:
        try:
            if self.final.exists() and (not self.final.is_dir() or any(self.final.iterdir())):
                raise ConfigError(
                    f"{self.final} is there and not empty",
                    code="out.exists",
                    hint="name a directory that does not exist yet",
                )
            self.path.mkdir(mode=0o700, parents=True)
        except OSError as error:
            raise ConfigError(f"{self.final}: {error.strerror}", code="out.unwritable") from error
        return self

    def keep(self) -> None:
        """Everything held: let it appear."""
        try:
            # On Linux a rename replaces an empty directory.
            self.path.rename(self.final)
        except OSError as error:
            raise ConfigError(f"{self.final}: {error.strerror}", code="out.unwritable") from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


@dataclass(slots=True)
class Unpacker:
    """Archive pieces in, files out. Names were checked by the reader; each file is created
    exclusively, never followed, never executable."""

    root: Path
    _reader: ArchiveReader = field(default_factory=ArchiveReader)
    _whole: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    _file: BinaryIO | None = None
    _name: str = ""
    _seen: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    _size: int = 0
    _done: list[tuple[str, int, str]] = field(default_factory=list)

    def feed(self, piece: bytes) -> None:
        """Raises: InputError `archive.*`; ConfigError `out.unwritable`."""
        self._whole.update(piece)
        try:
            for event in self._reader.feed(piece):
                self._take(event)
        except OSError as error:
            raise _unwritable(self.root, error) from error

    def finish(self) -> bytes:
        """The SHA-256 of the archive, which is complete.

        Raises:
            InputError: `archive.malformed`.
        """
        self._reader.finish()
        return self._whole.digest()

    def close(self) -> None:
        """Close what an error left open."""
        if self._file is not None:
            # On a full disk closing fails as writing did, and that was told.
            with contextlib.suppress(OSError):
                self._file.close()

    def add(self, name: str, raw: bytes) -> None:
        """A file of our own beside those of the archive.

        Raises:
            ConfigError: `out.unwritable`.
        """
        try:
            with _create(self.root / name) as file:
                file.write(raw)
        except OSError as error:
            raise _unwritable(self.root, error) from error

    def files(self, final: Path) -> tuple[UnpackedFile, ...]:
        """What was unpacked, at the place where it will be."""
        return tuple(
            UnpackedFile(name=name, size=size, sha256=digest, path=final / name)
            for name, size, digest in self._done
        )

    def exit_record(self) -> ExitRecord:
        """Raises: InputError `archive.exit`."""
        with (self.root / EXIT).open("rb") as file:
            return ExitRecord.from_bytes(file.read(MAX_EXIT_RECORD + 1))

    def _take(self, event: EntryStart | EntryData | EntryEnd) -> None:
        match event:
            case EntryStart(name=name, size=size):
                if name == RECEIPT_FILE:
                    raise InputError(f"archive has a {RECEIPT_FILE}", code="archive.name")
                path = self.root / name
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._file = _create(path)
                self._name, self._size, self._seen = name, size, hashlib.sha256()
            case EntryData(data=data):
                if self._file is not None:
                    self._file.write(data)
                self._seen.update(data)
            case EntryEnd():
                if self._file is not None:
                    self._file.close()
                    self._file = None
                self._done.append((self._name, self._size, self._seen.hexdigest()))


def _create(path: Path) -> BinaryIO:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "wb")


def _unwritable(root: Path, error: OSError) -> ConfigError:
    hint = None
    if error.errno == errno.ENAMETOOLONG:
        hint = "the result has long paths of its own: name a directory with a shorter path"
    return ConfigError(f"{root}: {error.strerror}", code="out.unwritable", hint=hint)
