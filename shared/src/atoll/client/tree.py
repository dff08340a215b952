"""A directory as one archive that is the same for the same tree.

The archive is a tar of its regular files, in ascending order of the bytes of their paths, with
the headers of `atoll.sealing.tar`: no owner, no time, one mode. Directories are implied by
files; empty ones are not kept, and neither are permissions. Paths are the safe subset of
`atoll.sealing.archive` and printable. What is neither a regular file nor a directory is
refused rather than left out, and no symbolic link below the root is followed.
"""

import os
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from atoll.errors import InputError
from atoll.sealing.archive import ArchiveEntry, entry_pieces, require_safe_path
from atoll.sealing.tar import END, MAX_FILE_SIZE

MAX_FILES: Final = 100_000
MAX_TREE_SIZE: Final = 1 << 40
"""Bytes of all files together."""

PIECE: Final = 1 << 20


def tree_pieces(root: Path, *, max_files: int = MAX_FILES) -> Iterator[bytes]:
    """The archive of the directory `root` in pieces; holds one piece and the names of all.

    Every name and kind is checked before the first piece comes out. A file that is written to
    while it is read, and keeps its size, is not noticed.

    Raises:
        InputError: `archive.name`; `archive.kind`, a link, device, socket or pipe;
            `archive.too_many`; `archive.too_large`; `file.unreadable`; `archive.size` or
            `archive.changed`, a file became another one meanwhile.
    """
    entries = sorted(_scan(root, max_files), key=lambda entry: entry.name.encode())
    for entry in entries:
        yield from entry_pieces(entry)
    yield END


def file_pieces(path: Path) -> Iterator[bytes]:
    """The content of a regular file in pieces; a link that the caller names is followed.

    Raises:
        InputError: `file.not_regular`, `file.unreadable`.
    """
    try:
        # Not blocking: a pipe that nobody writes to would hold us up before we see what it is.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InputError(f"{path} is no regular file", code="file.not_regular")
            while piece := file.read(PIECE):
                yield piece
    except OSError as error:
        raise _unreadable(path, error) from error


def _scan(root: Path, max_files: int) -> list[ArchiveEntry]:
    found: list[ArchiveEntry] = []
    total = 0
    waiting = [root]
    while waiting:
        for item in _listed(waiting.pop()):
            path = Path(item.path)
            name = _require_name(path.relative_to(root).as_posix())
            try:
                status = item.stat(follow_symlinks=False)
            except OSError as error:
                raise _unreadable(path, error) from error
            if stat.S_ISDIR(status.st_mode):
                waiting.append(path)
                continue
            _require_regular(path, status)
            total += status.st_size
            if total > MAX_TREE_SIZE:
                raise _too_large(root, MAX_TREE_SIZE)
            if len(found) == max_files:
                raise InputError(f"{root} has over {max_files} files", code="archive.too_many")
            content = partial(_content, path, status)
            found.append(ArchiveEntry(name=name, size=status.st_size, chunks=content))
    return found


def _listed(directory: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as items:
            return list(items)
    except OSError as error:
        raise _unreadable(directory, error) from error


def _require_name(name: str) -> str:
    require_safe_path(name)
    if not name.isprintable():
        raise InputError(f"archive: path {name[:80]!r} is not printable", code="archive.name")
    return name


def _require_regular(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise InputError(
            f"{path} is neither a regular file nor a directory",
            code="archive.kind",
            hint="replace links by what they point to, and remove devices, sockets and pipes",
        )
    if status.st_size > MAX_FILE_SIZE:
        raise _too_large(path, MAX_FILE_SIZE)


def _content(path: Path, seen: os.stat_result) -> Iterator[bytes]:
    """The content of the very file that was seen, and not of what took its place."""
    try:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags), "rb", buffering=0) as file:
            now = os.fstat(file.fileno())
            if (now.st_dev, now.st_ino) != (seen.st_dev, seen.st_ino):
                raise InputError(f"{path} was replaced meanwhile", code="archive.changed")
            while piece := file.read(PIECE):
                yield piece
    except OSError as error:
        raise _unreadable(path, error) from error


def _too_large(path: Path, limit: int) -> InputError:
    return InputError(f"{path} is over {limit} bytes", code="archive.too_large")


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path}: {error.strerror}", code="file.unreadable")
