"""The layers of an image as one folder, for a wall instead of an engine.

OCI image specification 1.1, layer.md: layers are applied in order, each over all before it.

* `.wh.NAME` takes away what earlier layers have at NAME, `.wh..wh..opq` all that they have in its
  folder; neither touches what the same layer brings, wherever it stands in the archive.
* A folder over something else, and anything over a folder, replaces it, as a union of file
  systems does.
* Nothing is followed: a path that leads through a link of an earlier layer gets folders in its
  place; through one of the same layer it is refused (`image.entry`).

Nobody else may change the folder meanwhile. Left out: owners, set-user-id bits, times and extended
attributes. All is its maker's, who can read and write it; for others it is as the image says.
"""

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from atoll_agent.sandbox.docker.image import Image
from atoll_agent.sandbox.docker.layers import Budget, LayerSource
from atoll_agent.sandbox.docker.refusal import refuse, shown
from atoll_agent.sandbox.docker.tarstream import CHUNK, Entry, EntryKind, entries, inside

MAX_FOLDERS: Final = 256
"""How deep a name may lie."""

_WHITEOUT: Final = b".wh."
_OPAQUE: Final = b".wh..wh..opq"
_NOTHING: Final = frozenset({b"", b".", b".."})
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FOLDER: Final = 0o700
_OPEN_FILE: Final = 0o600
_ANYBODYS: Final = 0o755


def unpack(file: BinaryIO, image: Image, root: Path) -> None:
    """Write the layers of `image`, which was read from `file`, into the new folder `root`.

    Does not check: digests; the file is the one that was judged, and nobody else's.

    Raises:
        InputError: `image.entry`: layers that do not fit together; `image.path`: a name that lies
            too deep.
        OSError: no room, or a name that the file system does not take.
    """
    root.mkdir(mode=_ANYBODYS)
    top = os.open(root, _FOLDER)
    try:
        for number, _ in enumerate(image.layers):
            # Twice: what is taken away is of the layers before, wherever that is said.
            if number:
                _Layer(file, image, number, top).each(_take_away)
            _Layer(file, image, number, top).each(_put)
    finally:
        os.close(top)


def make_folders(root: Path, paths: Iterator[str] | tuple[str, ...]) -> None:
    """Have a folder at each absolute path; what else stands in the way is replaced.

    Raises:
        OSError: as `unpack`.
    """
    top = os.open(root, _FOLDER)
    try:
        for path in paths:
            with _opened(top, path.strip("/").encode()):
                pass
    finally:
        os.close(top)


class _Layer:
    def __init__(self, file: BinaryIO, image: Image, number: int, top: int) -> None:
        self.what = f"layer {number + 1}"
        self.top = top
        packed = sum(layer.size for layer in image.layers)
        self._budget = Budget.of(packed)
        self.source = LayerSource(file, image.layers[number], self._budget, self.what)
        self.links: set[bytes] = set()
        """Symbolic links of this layer."""

    def each(self, do: Callable[["_Layer", Entry], None]) -> None:
        """Call it with each entry that has a name."""
        for entry in entries(self.source, self.what, most=self._budget.entries_left):
            name = entry.name.rpartition(b"/")[2]
            if entry.name.count(b"/") >= MAX_FOLDERS:
                raise refuse("path", f"{self.what} has {shown(entry.name)}, which lies too deep")
            if name.startswith(_WHITEOUT) and name[len(_WHITEOUT) :] in _NOTHING:
                raise refuse("entry", f"{self.what} has {shown(entry.name)}, which names nothing")
            if name:
                do(self, entry)

    def require_no_link(self, folder: bytes, entry: Entry) -> None:
        at = folder
        while at:
            if at in self.links:
                raise refuse(
                    "entry", f"{self.what} has {shown(entry.name)} below a link of its own"
                )
            at = at.rpartition(b"/")[0]


def _take_away(layer: _Layer, entry: Entry) -> None:
    folder, _, name = entry.name.rpartition(b"/")
    if not name.startswith(_WHITEOUT):
        return
    gone = name.removeprefix(_WHITEOUT)
    with _found(layer.top, folder) as parent:
        if parent is not None:
            for one in _names(parent) if name == _OPAQUE else [gone]:
                _remove(parent, one)


def _put(layer: _Layer, entry: Entry) -> None:
    folder, _, name = entry.name.rpartition(b"/")
    if name.startswith(_WHITEOUT):
        return
    layer.require_no_link(folder, entry)
    with _opened(layer.top, folder) as parent:
        if entry.kind is EntryKind.DIRECTORY:
            _make_folder(parent, name)
            os.chmod(name, entry.mode & 0o777 | _OPEN_FOLDER, dir_fd=parent)
            return
        _remove(parent, name)
        match entry.kind:
            case EntryKind.FILE:
                _write(layer, entry, parent, name)
            case EntryKind.SYMBOLIC_LINK:
                layer.links.add(entry.name)
                os.symlink(entry.link, name, dir_fd=parent)
            case EntryKind.HARD_LINK:
                _link(layer, entry, parent, name)
            case EntryKind.FIFO:
                os.mkfifo(name, entry.mode & 0o777, dir_fd=parent)
            case EntryKind.DEVICE:
                raise refuse("entry", f"{layer.what} has the device {shown(entry.name)}")


def _write(layer: _Layer, entry: Entry, parent: int, name: bytes) -> None:
    with open(os.open(name, _NEW_FILE, _OPEN_FILE, dir_fd=parent), "wb") as file:  # noqa: PTH123
        left = entry.size
        while left:
            piece = layer.source.take(min(left, CHUNK))
            if not piece:
                break  # `entries` says so
            file.write(piece)
            left -= len(piece)
        os.fchmod(file.fileno(), entry.mode & 0o777 | _OPEN_FILE)


def _link(layer: _Layer, entry: Entry, parent: int, name: bytes) -> None:
    folder, _, target = inside(entry.link, layer.what).rpartition(b"/")
    with _found(layer.top, folder) as there:
        if there is None or _kind(there, target) not in {stat.S_IFREG, stat.S_IFLNK}:
            raise refuse("entry", f"{layer.what} has {shown(entry.name)}, a link to no file")
        os.link(target, name, src_dir_fd=there, dst_dir_fd=parent, follow_symlinks=False)


@contextmanager
def _opened(top: int, path: bytes) -> Iterator[int]:
    """The folder at `path`, made where it is not."""
    at = os.dup(top)
    try:
        for part in filter(None, path.split(b"/")):
            _make_folder(at, part)
            below = os.open(part, _FOLDER, dir_fd=at)
            os.close(at)
            at = below
        yield at
    finally:
        os.close(at)


@contextmanager
def _found(top: int, path: bytes) -> Iterator[int | None]:
    """The folder at `path`, if there is one and no link on the way."""
    at = os.dup(top)
    try:
        for part in filter(None, path.split(b"/")):
            try:
                below = os.open(part, _FOLDER, dir_fd=at)
            except (FileNotFoundError, NotADirectoryError):
                yield None
                return
            os.close(at)
            at = below
        yield at
    finally:
        os.close(at)


def _make_folder(parent: int, name: bytes) -> None:
    kind = _kind(parent, name)
    if kind != stat.S_IFDIR:
        if kind is not None:
            os.unlink(name, dir_fd=parent)
        os.mkdir(name, _ANYBODYS, dir_fd=parent)
        os.chmod(name, _ANYBODYS, dir_fd=parent)  # whatever the mask is


def _remove(parent: int, name: bytes) -> None:
    kind = _kind(parent, name)
    if kind == stat.S_IFDIR:
        shutil.rmtree(name, dir_fd=parent)
    elif kind is not None:
        os.unlink(name, dir_fd=parent)


def _names(folder: int) -> list[bytes]:
    return [os.fsencode(name) for name in os.listdir(folder)]


def _kind(parent: int, name: bytes) -> int | None:
    """What is there by its type (inode(7)); None: nothing."""
    try:
        return stat.S_IFMT(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return None
