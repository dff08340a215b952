"""Packages of Debian and kernel modules, made by code."""

import io
import lzma
import struct
import tarfile
from collections.abc import Mapping

CONTROL = (
    b"Package: thing\nVersion: 1.0-1\nArchitecture: amd64\nDescription: a thing\n more of it\n"
)


def tarred(members: Mapping[str, bytes | tarfile.TarInfo]) -> bytes:
    """A tar archive: bytes are a file, anything else is its header."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, member in members.items():
            if isinstance(member, bytes):
                info = tarfile.TarInfo(name)
                info.size = len(member)
                archive.addfile(info, io.BytesIO(member))
            else:
                archive.addfile(member)
    return out.getvalue()


def special(name: str, kind: bytes, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    """A header of something that is no file."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info


def ar(members: Mapping[str, bytes]) -> bytes:
    """An ar archive."""
    parts = [b"!<arch>\n"]
    for name, raw in members.items():
        header = f"{name:16}{0:<12}{0:<6}{0:<6}{'100644':8}{len(raw):<10}`\n"
        parts += (header.encode(), raw, b"\n" * (len(raw) % 2))
    return b"".join(parts)


def deb(
    files: Mapping[str, bytes | tarfile.TarInfo],
    *,
    control: bytes = CONTROL,
    version: bytes = b"2.0\n",
) -> bytes:
    """A package with these files."""
    return ar(
        {
            "debian-binary": version,
            "control.tar.xz": lzma.compress(tarred({"./control": control})),
            "data.tar.xz": lzma.compress(tarred(files)),
        }
    )


def module(depends: str, *, section: bytes = b".modinfo") -> bytes:
    """An ELF object whose only content is what a module says of itself."""
    info = b"license=GPL\0depends=" + depends.encode() + b"\0"
    names = b"\0" + section + b"\0.shstrtab\0"
    start = 64
    table = start + len(info) + len(names)
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, table, 0, 64, 0, 0, 64, 3, 2
    )
    sections = (
        bytes(64),
        struct.pack("<IIQQQQIIQQ", 1, 1, 0, 0, start, len(info), 0, 0, 1, 0),
        struct.pack(
            "<IIQQQQIIQQ", 2 + len(section), 3, 0, 0, start + len(info), len(names), 0, 0, 1, 0
        ),
    )
    return header + info + names + b"".join(sections)
