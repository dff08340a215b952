"""The tree as an archive that a container engine loads (`docker load`). Pure.

Sources: OCI image specification 1.1, image configuration (the id is the SHA-256 of the
configuration); Docker image specification v1.2, "Combined Image JSON + Filesystem Changeset
Format" (manifest.json); POSIX.1-2017, pax, "ustar Interchange Format".

One tree has one archive and one id: in order of path, all of it root's, at time zero.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from atoll_cli.image.contents import PYTHON
from atoll_cli.image.refusal import refuse, shown
from atoll_cli.image.tree import Device, Entry, File, Folder, Link, Tree, mode

ENTRYPOINT: Final = (PYTHON, "-I", "-m", "atoll_agent.main")
REPOSITORY: Final = "atoll-agent"
_BLOCK: Final = 512
_NAME: Final = 100
_PREFIX: Final = 155
_FLAGS: Final[dict[type, bytes]] = {File: b"0", Link: b"2", Device: b"3", Folder: b"5"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerImage:
    """An archive, and what the engine will call the image."""

    archive: bytes = field(repr=False)
    image_id: str
    """SHA-256 of the configuration, hex."""


def docker_archive(tree: Tree, *, tag: str) -> DockerImage:
    """The archive of one image with one layer.

    Args:
        tree: the root folder.
        tag: of the image, beside its repository's name.

    Raises:
        InputError: `image.path`: a path that a plain tar header cannot hold.
    """
    layer = tar(tree)
    diff = hashlib.sha256(layer).hexdigest()
    config = _json(
        {
            "architecture": "amd64",
            "config": {
                "Entrypoint": list(ENTRYPOINT),
                "Env": ["PATH=/usr/bin", "LANG=C.UTF-8"],
                "WorkingDir": "/",
            },
            "created": "1970-01-01T00:00:00Z",
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "atoll image build"}],
            "os": "linux",
            "rootfs": {"diff_ids": [f"sha256:{diff}"], "type": "layers"},
        }
    )
    image_id = hashlib.sha256(config).hexdigest()
    manifest = [
        {
            "Config": f"{image_id}.json",
            "Layers": [f"{diff}.tar"],
            "RepoTags": [f"{REPOSITORY}:{tag}"],
        }
    ]
    members: list[tuple[str, Entry]] = [
        (f"{image_id}.json", File(config)),
        (f"{diff}.tar", File(layer)),
        ("manifest.json", File(_json(manifest))),
    ]
    return DockerImage(archive=tar(members), image_id=image_id)


def tar(members: Iterable[tuple[str, Entry]]) -> bytes:
    """A plain tar archive of (path, entry), in the order they come in.

    Raises:
        InputError: `image.path`.
    """
    parts: list[bytes] = []
    for path, entry in members:
        content = entry.content if isinstance(entry, File) else b""
        parts += (_header(path, entry, len(content)), content, bytes(-len(content) % _BLOCK))
    return b"".join([*parts, bytes(2 * _BLOCK)])


def _header(path: str, entry: Entry, size: int) -> bytes:
    prefix, name = _split(f"{path}/" if isinstance(entry, Folder) else path)
    link = entry.target.encode("ascii") if isinstance(entry, Link) else b""
    major, minor = (entry.major, entry.minor) if isinstance(entry, Device) else (0, 0)
    fields = (
        name.ljust(_NAME, b"\0"),
        b"%07o\0" % mode(entry),
        b"%07o\0" % 0,
        b"%07o\0" % 0,
        b"%011o\0" % size,
        b"%011o\0" % 0,
        b" " * 8,  # the checksum, which counts itself as blanks
        _FLAGS[type(entry)],
        link.ljust(_NAME, b"\0"),
        b"ustar\x0000",
        bytes(64),
        b"%07o\0" % major,
        b"%07o\0" % minor,
        prefix.ljust(_PREFIX, b"\0"),
        bytes(12),
    )
    header = b"".join(fields)
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]


def _split(path: str) -> tuple[bytes, bytes]:
    """Prefix and name; the slash between them stands in neither."""
    raw = path.encode("ascii")
    if len(raw) <= _NAME:
        return b"", raw
    at = raw.rfind(b"/", 0, min(_PREFIX + 1, len(raw) - 1))
    if at < 1 or len(raw) - at - 1 > _NAME:
        raise refuse("path", f"{shown(path)} is too long for a tar header")
    return raw[:at], raw[at + 1 :]


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")
