"""The files of a Debian package, from bytes that only a hash vouches for. Pure.

Sources: deb(5): an ar archive of `debian-binary` ("2.0"), `control.tar.*` and `data.tar.*`;
ar(5): 60 bytes of header before each member, which begins at an even offset. Scripts of the
package are never run.

Read are archives compressed with xz or zstd, which is what Debian makes; everything else is
refused.
"""

import io
import lzma
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import zstandard

from atoll.errors import InputError
from atoll_agent.sandbox.docker.tarstream import Entry as Member
from atoll_agent.sandbox.docker.tarstream import EntryKind, FileSource, entries
from atoll_cli.image.refusal import refuse, shown
from atoll_cli.image.tree import Entry, File, Link, plain_path

MAX_DEB: Final = 512 << 20
MAX_CONTROL: Final = 8 << 20
MAX_DATA: Final = 512 << 20
MAX_MEMBERS: Final = 20_000
MAX_LINE: Final = 1 << 16
_MAGIC: Final = b"!<arch>\n"
_HEADER: Final = 60
_MODE: Final = slice(100, 108)
_RUNNABLE: Final = 0o111
_SETUID: Final = 0o6000
_XZ_MEMORY: Final = 256 << 20
_STEP: Final = 1 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A binary package."""

    control: Mapping[str, str]
    """The fields of its control file; continued lines are left out."""
    files: Mapping[str, Entry] = field(repr=False)
    """By path, without folders."""


def read_deb(raw: bytes) -> Package:
    """Everything in a package.

    Raises:
        InputError: `image.deb`, and what `tarstream.entries` and `tree.plain_path` raise.
    """
    if len(raw) > MAX_DEB:
        raise _odd(f"has {len(raw)} bytes, want at most {MAX_DEB}")
    members = list(_members(raw))
    names = [name for name, _ in members]
    if len(members) != 3 or names[0] != "debian-binary" or not members[0][1].startswith(b"2."):  # noqa: PLR2004
        raise _odd(f"has the members {shown(names)}, want debian-binary 2.0, control.tar, data.tar")
    control = _unpacked(*members[1], stem="control.tar", limit=MAX_CONTROL)
    data = _unpacked(*members[2], stem="data.tar", limit=MAX_DATA)
    text = _files(control, "control.tar").get("control")
    if not isinstance(text, File):
        raise _odd("has no control file")
    return Package(control=parse_control(text.content), files=_files(data, "data.tar"))


def parse_control(raw: bytes) -> dict[str, str]:
    """The first paragraph of a control file (deb822(5)), without continued lines.

    Raises:
        InputError: `image.deb`.
    """
    fields: dict[str, str] = {}
    for line in raw.decode("utf-8", "replace").split("\n"):
        if not line.strip():
            break
        if line[0] in " \t#":
            continue
        name, colon, value = line.partition(":")
        if not colon or name in fields or len(line) > MAX_LINE:
            raise _odd(f"has {shown(line)} in its control file")
        fields[name] = value.strip()
    return fields


def unxz(raw: bytes, limit: int) -> bytes:
    """What xz holds.

    Raises:
        InputError: `image.xz`: not xz, cut off, with something after it, or over `limit`.
    """
    try:
        engine = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
        result = engine.decompress(raw, max_length=limit + 1)
    except lzma.LZMAError as error:
        raise refuse("xz", f"not what xz makes: {error}") from error
    if len(result) > limit:
        raise refuse("xz", f"over {limit} bytes when unpacked")
    if not engine.eof or engine.unused_data:
        raise refuse("xz", "cut off, or goes on after its end")
    return result


def unzstd(raw: bytes, limit: int) -> bytes:
    """What one frame of Zstandard holds.

    Raises:
        InputError: `image.zstd`.
    """
    try:
        engine = zstandard.ZstdDecompressor(max_window_size=_XZ_MEMORY).decompressobj()
        result, at = bytearray(), 0
        # So little at a time that what it becomes is never much over the limit.
        while at < len(raw) and not engine.eof:
            result += engine.decompress(raw[at : at + _STEP])
            at += _STEP
            if len(result) > limit:
                raise refuse("zstd", f"over {limit} bytes when unpacked")
    except zstandard.ZstdError as error:
        raise refuse("zstd", f"not what zstd makes: {error}") from error
    if not engine.eof or engine.unused_data or at < len(raw):
        raise refuse("zstd", "cut off, or goes on after its end")
    return bytes(result)


def _members(raw: bytes) -> Iterator[tuple[str, bytes]]:
    if not raw.startswith(_MAGIC):
        raise _odd("does not begin like an ar archive")
    at = len(_MAGIC)
    while at < len(raw):
        header = raw[at : at + _HEADER]
        name, size = header[:16].rstrip(b" ").rstrip(b"/"), header[48:58].rstrip(b" ")
        if len(header) < _HEADER or header[58:] != b"`\n" or not size.isdigit():
            raise _odd(f"has no ar header at {at}")
        start, length = at + _HEADER, int(size)
        if start + length > len(raw):
            raise _odd(f"is cut off in the member {shown(name)}")
        yield name.decode("ascii", "backslashreplace"), raw[start : start + length]
        at = start + length + length % 2


def _unpacked(name: str, raw: bytes, *, stem: str, limit: int) -> bytes:
    if name == f"{stem}.xz":
        return unxz(raw, limit)
    if name == f"{stem}.zst":
        return unzstd(raw, limit)
    raise _odd(f"has {shown(name)}, want {stem}.xz or {stem}.zst")


def _files(raw: bytes, what: str) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for member in entries(FileSource(io.BytesIO(raw), len(raw)), what, most=MAX_MEMBERS):
        if not member.name:
            continue
        path = plain_path(_text(member.name))
        if member.kind is EntryKind.DIRECTORY:
            continue
        entry = _entry(raw, member, found)
        if path in found:
            raise _odd(f"has {shown(path)} twice")
        found[path] = entry
    return found


def _entry(raw: bytes, member: Member, found: Mapping[str, Entry]) -> Entry:
    match member.kind:
        case EntryKind.FILE:
            return File(
                raw[member.offset : member.offset + member.size],
                runnable=bool(_bits(raw, member) & _RUNNABLE),
            )
        case EntryKind.SYMBOLIC_LINK:
            return Link(_text(member.link))
        case EntryKind.HARD_LINK:
            linked = found.get(plain_path(_text(member.link)))
            if isinstance(linked, File):
                return linked
        case EntryKind.DEVICE | EntryKind.DIRECTORY | EntryKind.FIFO:
            pass
    raise _odd(f"has a {member.kind.value} {shown(member.name)}")


def _bits(raw: bytes, member: Member) -> int:
    """The mode, from the header just before the content."""
    header = raw[member.offset - 512 : member.offset]
    text = header[_MODE].strip(b" \0")
    if not text or text.strip(b"01234567"):
        raise _odd(f"has {shown(text)} for the mode of {shown(member.name)}")
    bits = int(text, 8)
    if bits & _SETUID:
        raise _odd(f"has {shown(member.name)} setuid or setgid")
    return bits


def _text(name: bytes) -> str:
    try:
        return name.decode("ascii")
    except UnicodeDecodeError as error:
        raise _odd(f"has a name {shown(name)} that is not ASCII") from error


def _odd(why: str) -> InputError:
    return refuse("deb", f"the package {why}")
