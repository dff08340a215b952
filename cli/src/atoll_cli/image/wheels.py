"""The files of a wheel, where Debian's Python looks for them. Pure.

Source: PyPA binary distribution format. Left out: what an installer writes, scripts and headers
(`NAME.data/`), caches, and what only people or compilers read (tests, type stubs, C sources).
Nothing of a wheel is run.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from email.errors import MessageError
from email.parser import BytesHeaderParser
from typing import Final

from atoll.errors import InputError
from atoll_agent.sandbox.bundle.lock import normal_name
from atoll_agent.sandbox.bundle.members import Budget, Faults, members
from atoll_cli.image.refusal import refuse, shown
from atoll_cli.image.tree import File, plain_path

FOLDER: Final = "usr/lib/python3/dist-packages"
MAX_WHEEL: Final = 128 << 20
MAX_FILES: Final = 20_000
MAX_BYTES: Final = 256 << 20
MAX_METADATA: Final = 1 << 20

_LEFT_OUT: Final = (
    "RECORD",
    "RECORD.jws",
    "RECORD.p7s",
    "INSTALLER",
    "REQUESTED",
    "direct_url.json",
)
_ENDINGS: Final = (".pyi", ".pyc", ".pyx", ".pxd", ".c", ".h", ".cpp", ".rst", ".txt", ".exe")
_ZIP: Final = b"PK\3\4"
_FAULTS: Final = replace(Faults.all("wheel"), path="path")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """An unpacked wheel."""

    name: str
    version: str
    metadata: Mapping[str, str]
    """Headers of METADATA that stand once."""
    files: Mapping[str, File] = field(repr=False)


def read_wheel(raw: bytes) -> Wheel:
    """Everything in a wheel that the image takes.

    Raises:
        InputError: `image.wheel`: no zip archive, too large, encrypted, with a path that leads
            out or is there twice, or without exactly one METADATA; `image.path`.
    """
    if len(raw) > MAX_WHEEL:
        raise _odd(f"has {len(raw)} bytes, want at most {MAX_WHEEL}")
    contents = _members(raw)
    found = [path for path in contents if path.endswith(".dist-info/METADATA")]
    if len(found) != 1 or found[0].count("/") != 1:
        raise _odd(f"has {shown(found)}, want one METADATA")
    metadata = parse_metadata(contents[found[0]])
    files = {
        plain_path(f"{FOLDER}/{path}"): File(content)
        for path, content in contents.items()
        if not _left_out(path)
    }
    return Wheel(
        name=normal_name(metadata["Name"]),
        version=metadata["Version"],
        metadata=metadata,
        files=files,
    )


def parse_metadata(raw: bytes) -> dict[str, str]:
    """Headers of a METADATA file that stand once; it has a Name and a Version.

    Raises:
        InputError: `image.wheel`.
    """
    if len(raw) > MAX_METADATA:
        raise _odd(f"has METADATA of {len(raw)} bytes, want at most {MAX_METADATA}")
    try:
        headers = BytesHeaderParser().parsebytes(raw)
    except (MessageError, ValueError) as error:
        raise _odd(f"has METADATA that cannot be read: {error}") from error
    items = [(name, str(value)) for name, value in headers.items()]
    names = [name for name, _ in items]
    fields = {name: value for name, value in items if names.count(name) == 1}
    if not fields.get("Name") or not fields.get("Version"):
        raise _odd("has no Name or no Version")
    return fields


def _members(raw: bytes) -> dict[str, bytes]:
    if not raw.startswith(_ZIP):
        raise _odd("is no zip archive")
    budget = Budget(bytes_left=MAX_BYTES, files_left=MAX_FILES)
    try:
        found = members(io.BytesIO(raw), budget, faults=_FAULTS)
        return {member.name: b"".join(member.chunks) for member in found}
    except InputError as error:
        if error.code == "bundle.path":
            raise refuse("path", error.message) from error
        raise _odd(f"cannot be read: {error.message}") from error


def _left_out(path: str) -> bool:
    parts = path.split("/")
    written = parts[0].endswith(".dist-info") and parts[-1] in _LEFT_OUT
    extra = parts[0].endswith(".data") or "__pycache__" in parts or "tests" in parts
    return written or extra or (path.endswith(_ENDINGS) and ".dist-info/" not in path)


def _odd(why: str) -> InputError:
    return refuse("wheel", f"the wheel {why}")
