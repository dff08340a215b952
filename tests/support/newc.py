"""Reads cpio archives as the kernel does (buffer-format.rst), for tests."""

from collections.abc import Iterator
from dataclasses import dataclass

HEADER = 110


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One entry."""

    name: str
    content: bytes
    inode: int
    mode: int
    uid: int
    gid: int
    mtime: int
    device: tuple[int, int]


def newc(raw: bytes) -> Iterator[Member]:
    """The entries up to the trailer, which must end the archive."""
    at = 0
    while True:
        header = raw[at : at + HEADER]
        assert header[:6] == b"070701", f"no header at {at}"
        fields = [int(header[place : place + 8], 16) for place in range(6, HEADER, 8)]
        inode, mode, uid, gid, _, mtime, size, _, _, major, minor, length, check = fields
        assert check == 0
        name = raw[at + HEADER : at + HEADER + length - 1].decode("ascii")
        start = _aligned(at + HEADER + length)
        end = _aligned(start + size)
        if name == "TRAILER!!!":
            assert end == len(raw), "something follows the trailer"
            return
        yield Member(
            name=name,
            content=raw[start : start + size],
            inode=inode,
            mode=mode,
            uid=uid,
            gid=gid,
            mtime=mtime,
            device=(major, minor),
        )
        at = end


def _aligned(at: int) -> int:
    return at + -at % 4
