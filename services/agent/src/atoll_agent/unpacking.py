"""A dataset that is an archive becomes the directory that a step sees.

Whoever made the archive is trusted with nothing: only regular files, no name twice, no path that
leads out, no link, no device; counted and measured while they are written, so that an archive of
ten gigabytes of zeros ends at the limit and not at the end of memory. Modes, owners, times and
empty directories are not taken over.
"""

import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from atoll.computation.manifest import ArchiveFormat, Unpacking
from atoll.errors import InputError, RefusedError
from atoll_agent.sandbox.bundle.members import Budget, Faults, members, safe_parts

CHUNK: Final = 1 << 20
_GZIP: Final = b"\x1f\x8b"
_GZIP_WINDOW: Final = 31
"""zlib's number for gzip framing with the largest window."""
_HEADERS: Final = 4096
"""Bytes that a file of a tar may take beside its content."""
_FAULTS: Final = Faults(
    malformed="malformed", path="traversal", link="link", special="device", twice="duplicate"
)
_WHY: Final = {
    "malformed": "cannot be read",
    "traversal": "has a name that leads out of it, or that no file should have",
    "link": "has a link in it",
    "device": "has a device or a pipe in it",
    "duplicate": "has one name twice",
    "too_large": "unpacks to more than the manifest allows",
}
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def unpack(archive: Path, into: Path, how: Unpacking) -> None:
    """Unpack into a fresh directory. Blocks.

    Raises:
        RefusedError: `archive.malformed`: another format, or damaged; `archive.traversal`,
            `archive.link`, `archive.device`, `archive.duplicate`: what may not be in it;
            `archive.too_large`: more bytes or files than the manifest allows.
        FileExistsError: `into` is there already.
    """
    into.mkdir(mode=0o700)
    plain = archive.with_name(f"{archive.name}.plain")
    try:
        with archive.open("rb") as file:
            head = file.read(4)
            is_zip = head.startswith((b"PK\3\4", b"PK\5\6"))
            if is_zip is not (how.format is ArchiveFormat.ZIP):
                raise _refused("malformed", f"is no {how.format.value}")
            if not head.startswith(_GZIP):
                _write(file, into, how)
                return
            _gunzip(file, plain, how.max_bytes + _HEADERS * (how.max_files + 1))
        with plain.open("rb") as file:
            _write(file, into, how)
    except InputError as error:
        # Its message can quote names, which are plaintext.
        code = error.code.rpartition(".")[2]
        raise _refused(code, _WHY[code]) from error
    finally:
        plain.unlink(missing_ok=True)


def _write(file: BinaryIO, into: Path, how: Unpacking) -> None:
    budget = Budget(bytes_left=how.max_bytes, files_left=how.max_files)
    for member in members(file, budget, faults=_FAULTS):
        path = into.joinpath(*safe_parts(member.name, _FAULTS.path))
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, _NEW, 0o600)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise _refused("duplicate", "has a file that is a directory as well") from error
        with open(descriptor, "wb") as target:  # noqa: PTH123 - a descriptor, not a path
            target.writelines(member.chunks)
            os.fchmod(descriptor, 0o400)


def _gunzip(file: BinaryIO, into: Path, most: int) -> None:
    file.seek(0)
    left = most
    with open(os.open(into, _NEW, 0o600), "wb") as target:  # noqa: PTH123 - a descriptor
        for piece in _inflated(file):
            left -= len(piece)
            if left < 0:
                raise _refused("too_large", "unpacks to more than the manifest allows")
            target.write(piece)


def _inflated(file: BinaryIO) -> Iterator[bytes]:
    """The content of one gzip member, in pieces whose size the file does not choose."""
    inflater = zlib.decompressobj(_GZIP_WINDOW)
    try:
        while not inflater.eof:
            raw = inflater.unconsumed_tail or file.read(CHUNK)
            if not raw:
                raise _refused("malformed", "ends in the middle")
            yield inflater.decompress(raw, CHUNK)
    except zlib.error as error:
        raise _refused("malformed", "is not what gzip makes") from error
    if inflater.unused_data or file.read(1):
        raise _refused("malformed", "goes on behind its end")


def _refused(code: str, why: str) -> RefusedError:
    return RefusedError(f"the archive {why}", code=f"archive.{code}")
