"""The tree as a cpio archive, and that compressed: what the kernel unpacks as its root.

Sources: Linux, Documentation/driver-api/early-userspace/buffer-format.rst ("newc": a header of
110 ASCII characters, numbers in hex, names and content padded to 4 bytes).

One tree has one archive: in order of path, all of it root's, at time zero, inodes counted up.
The compressed bytes are what a processor measures, and they depend on the compressor's
version: it is pinned, and its level is fixed here.
"""

from typing import Final

import zstandard

from atoll_cli.image.refusal import refuse
from atoll_cli.image.tree import Device, Entry, File, Folder, Link, Tree, mode

COMPRESSOR: Final = "0.25.0"
"""The version of zstandard whose output is measured; another one is another image."""
LEVEL: Final = 9
_TYPE: Final[dict[type, int]] = {File: 0o100000, Link: 0o120000, Folder: 0o040000, Device: 0o020000}
_TRAILER: Final = "TRAILER!!!"


def cpio(tree: Tree) -> bytes:
    """The archive, not compressed."""
    parts: list[bytes] = []
    for inode, (path, entry) in enumerate(tree, start=1):
        parts += _member(inode, path, entry)
    parts += _record(_TRAILER, b"", inode=0, mode_=0, links=1)
    return b"".join(parts)


def compressed(raw: bytes) -> bytes:
    """One frame of Zstandard, with its length and checksum.

    Raises:
        InputError: `image.compressor`: another version of it is installed.
    """
    if zstandard.__version__ != COMPRESSOR:
        raise refuse(
            "compressor",
            f"zstandard {zstandard.__version__} is installed, want {COMPRESSOR}",
            hint=f"pip install zstandard=={COMPRESSOR}: another version makes another image",
        )
    return zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress(raw)


def _member(inode: int, path: str, entry: Entry) -> list[bytes]:
    content, device, links = b"", (0, 0), 1
    match entry:
        case File():
            content = entry.content
        case Link():
            content = entry.target.encode("ascii")
        case Folder():
            links = 2
        case Device():
            device = (entry.major, entry.minor)
    kind = _TYPE[type(entry)] | mode(entry)
    return _record(path, content, inode=inode, mode_=kind, links=links, device=device)


def _record(
    path: str,
    content: bytes,
    *,
    inode: int,
    mode_: int,
    links: int,
    device: tuple[int, int] = (0, 0),
) -> list[bytes]:
    name = path.encode("ascii") + b"\0"
    fields = (
        inode, mode_, 0, 0, links, 0, len(content), 0, 0, *device, len(name), 0,
    )  # fmt: skip
    header = b"070701" + b"".join(b"%08x" % field for field in fields)
    return [header, name, _padding(len(header) + len(name)), content, _padding(len(content))]


def _padding(length: int) -> bytes:
    return bytes(-length % 4)
