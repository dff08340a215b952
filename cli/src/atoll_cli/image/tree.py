"""A root folder in memory: files, folders, symbolic links and the console's device.

Everything belongs to root. Modes are made plain: 0755 for what may be run and for folders,
0644 for the rest. Nothing is setuid, because an entry has no such bit to carry.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from atoll_cli.image.refusal import refuse, shown

MAX_ENTRIES: Final = 50_000
MAX_BYTES: Final = 1 << 30
MAX_PATH: Final = 255
"""Bytes; what a plain tar header can hold, and no file of Debian's comes near."""
MAX_TARGET: Final = 100

MERGED: Final = ("bin", "lib", "lib64", "sbin")
"""Links to the folders of the same name under usr, since Debian 12."""


@dataclass(frozen=True, slots=True)
class File:
    content: bytes
    runnable: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    target: str


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder; 01777 if anybody may write there, as in /tmp."""

    shared: bool = False


@dataclass(frozen=True, slots=True)
class Device:
    """A character device."""

    major: int
    minor: int


Entry = File | Link | Folder | Device


def plain_path(path: str) -> str:
    """`path` without a leading "./", with merged folders under usr.

    Raises:
        InputError: `image.path`: absolute, leads out, empty parts, control characters, not
            ASCII, or too long.
    """
    path = path.removeprefix("./").rstrip("/")
    parts = path.split("/")
    if len(path) > MAX_PATH or not path.isascii() or not path.isprintable():
        raise refuse("path", f"{shown(path)} is no path of at most {MAX_PATH} printable characters")
    if any(part in {"", ".", ".."} for part in parts):
        raise refuse("path", f"{shown(path)} is no plain path below the root")
    return f"usr/{path}" if parts[0] in MERGED and len(parts) > 1 else path


class Tree:
    """Paths and what is there, each path once."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._bytes = 0

    def add(self, path: str, entry: Entry) -> None:
        """Put `entry` at `path`; the folders above come by themselves.

        Raises:
            InputError: `image.path`; `image.twice`: something else is there; `image.limit`.
        """
        path = plain_path(path)
        there = self._entries.get(path)
        if there is not None and there != entry:
            raise refuse("twice", f"{shown(path)} is in the image already, as something else")
        for above in _above(path):
            if not isinstance(self._entries.setdefault(above, Folder()), Folder):
                raise refuse("twice", f"{shown(path)} lies below something that is no folder")
        if isinstance(entry, Link) and not _is_target(entry.target):
            raise refuse("path", f"{shown(path)} links to {shown(entry.target)}")
        if there is None and isinstance(entry, File):
            self._bytes += len(entry.content)
        self._entries[path] = entry
        if self._bytes > MAX_BYTES or len(self._entries) > MAX_ENTRIES:
            raise refuse("limit", f"over {MAX_BYTES} bytes or {MAX_ENTRIES} entries in the image")

    def get(self, path: str) -> Entry | None:
        """What is there; links are not followed."""
        return self._entries.get(path)

    def __iter__(self) -> Iterator[tuple[str, Entry]]:
        """In order of path, so that a folder comes before what is in it."""
        return iter(sorted(self._entries.items()))

    def __len__(self) -> int:
        return len(self._entries)


def mode(entry: Entry) -> int:
    """The permission bits."""
    match entry:
        case File(runnable=runnable):
            return 0o755 if runnable else 0o644
        case Link():
            return 0o777
        case Folder(shared=shared):
            return 0o1777 if shared else 0o755
        case Device():
            return 0o600


def _above(path: str) -> Iterator[str]:
    at = path.find("/")
    while at > 0:
        yield path[:at]
        at = path.find("/", at + 1)


def _is_target(target: str) -> bool:
    return 0 < len(target) <= MAX_TARGET and target.isascii() and target.isprintable()
