"""Docker-archive and OCI layout: which blobs make up the one image in an archive.

Docker Image Specification v1.2, "Combined Image JSON + Filesystem Changeset Format"
(`manifest.json`); OCI image specification 1.1, image-layout.md, image-index.md and
manifest.md (`oci-layout`, `index.json`, `blobs/sha256/<hex>`). Engines since version 25
write both into one archive; then both must name the same configuration.

JSON here is read as the engine's language reads it: names are compared without case. Two
names that differ only in that are refused, for there each reader could take another one.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

from atoll_agent.sandbox.docker.layers import Blob
from atoll_agent.sandbox.docker.refusal import refuse, shown
from atoll_agent.sandbox.docker.tarstream import CHUNK, EntryKind, FileSource, entries, inside

MAX_MEMBERS: Final = 2048
MAX_JSON: Final = 4 << 20
"""Bytes of one JSON file; registries have the same limit for manifests."""
MAX_LAYERS: Final = 127
"""What the overlay driver can stack."""
MAX_INDEXES: Final = 3
"""How deep an index may lie in an index."""
MAX_LINKS: Final = 8

_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})")
_NAMED_BLOB: Final = re.compile(rb"(?:blobs/sha256/([0-9a-f]{64})|([0-9a-f]{64})\.json)")
_INDEXES: Final = frozenset(
    {
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    }
)
_MANIFESTS: Final = frozenset(
    {
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    }
)
_CONFIGS: Final = frozenset(
    {
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
    }
)
_LAYERS: Final = frozenset(
    {
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
    }
)
_ATTESTATION: Final = "vnd.docker.reference.type"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The blobs of the one image, in the order of its layers."""

    config: Blob
    config_raw: bytes = field(repr=False)
    layers: tuple[Blob, ...]

    @property
    def image_id(self) -> str:
        """What engines call the image: the digest of its configuration."""
        return f"sha256:{hashlib.sha256(self.config_raw).hexdigest()}"


def find_image(file: BinaryIO, size: int) -> Parts:
    """Read the archive's layout, and check every file that is named by its digest.

    Raises:
        InputError: `image.layout`, `image.several`, `image.ambiguous`, `image.digest`,
            `image.json`, `image.duplicate`, `image.entry`, `image.path` and what
            `tarstream.entries` raises.
    """
    archive = _Archive(file, size)
    archive.require_named_blobs()
    docker = archive.has(b"manifest.json")
    oci = archive.has(b"index.json") and archive.has(b"oci-layout")
    if not docker and not oci:
        raise refuse("layout", "the archive has neither manifest.json nor oci-layout + index.json")
    if not docker:
        return _oci_parts(archive)
    found = _docker_parts(archive)
    if oci and found.image_id != _oci_parts(archive).image_id:
        raise refuse("ambiguous", "manifest.json and index.json name different images")
    return found


def parse_json(raw: bytes, what: str) -> Any:
    """A JSON document, names of objects in lower case.

    Raises:
        InputError: `image.json`.
    """
    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=_folded)
    except (ValueError, RecursionError) as error:
        raise refuse("json", f"{what} is not JSON in UTF-8: {error}") from error


def digest_hex(value: object, what: str) -> str:
    """The 64 digits of a digest.

    Raises:
        InputError: `image.digest`.
    """
    found = _DIGEST.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise refuse("digest", f"{what} has {str(value)[:80]!a}, want sha256:<64 hex digits>")
    return found[1]


def as_object(value: object, what: str) -> Mapping[str, Any]:
    """`value`, an object. Raises: InputError `image.json`."""
    if not isinstance(value, dict):
        raise refuse("json", f"{what} is not an object")
    return value


def as_list(value: object, what: str) -> list[Any]:
    """`value`, an array. Raises: InputError `image.json`."""
    if not isinstance(value, list):
        raise refuse("json", f"{what} is not an array")
    return value


def _folded(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = {name.casefold(): value for name, value in pairs}
    if len(found) != len(pairs):
        raise ValueError("a name is there twice, perhaps in another case")
    return found


class _Archive:
    """The files of the archive by name."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._blobs: dict[bytes, Blob] = {}
        self._links: dict[bytes, bytes] = {}
        what = "the archive"
        for entry in entries(FileSource(file, size), what, most=MAX_MEMBERS):
            if entry.kind is EntryKind.DIRECTORY:
                continue
            if entry.name in self._blobs or entry.name in self._links:
                raise refuse("duplicate", f"{what} has {shown(entry.name)} twice")
            if entry.kind is EntryKind.FILE:
                self._blobs[entry.name] = Blob(offset=entry.offset, size=entry.size)
            elif entry.kind is EntryKind.SYMBOLIC_LINK:
                self._links[entry.name] = _target(entry.name, entry.link, what)
            else:
                raise refuse("entry", f"{what} has the {entry.kind.value} {shown(entry.name)}")

    def has(self, name: bytes) -> bool:
        return name in self._blobs

    def blob(self, name: bytes) -> Blob:
        """A file; links are followed, within the archive only."""
        for _ in range(MAX_LINKS):
            if name in self._blobs:
                return self._blobs[name]
            if name not in self._links:
                break
            name = self._links[name]
        raise refuse("layout", f"the archive has no file {shown(name)}")

    def read(self, blob: Blob, what: str) -> bytes:
        if blob.size > MAX_JSON:
            raise refuse("json", f"{what} has {blob.size} bytes, want at most {MAX_JSON}")
        self._file.seek(blob.offset)
        return self._file.read(blob.size)

    def require_named_blobs(self) -> None:
        """Every file whose name is a digest has that digest."""
        for name, blob in self._blobs.items():
            named = _NAMED_BLOB.fullmatch(name)
            wanted = (named[1] or named[2]).decode() if named else None
            if wanted and self._digest(blob) != wanted:
                raise refuse("digest", f"{shown(name)} has other content than its name says")

    def _digest(self, blob: Blob) -> str:
        digest = hashlib.sha256()
        self._file.seek(blob.offset)
        left = blob.size
        while left and (chunk := self._file.read(min(left, CHUNK))):
            digest.update(chunk)
            left -= len(chunk)
        return digest.hexdigest()


def _target(name: bytes, link: bytes, what: str) -> bytes:
    """Where a symbolic link leads; older engines write one for a layer that is there twice."""
    folder = name.split(b"/")[:-1]
    parts = link.split(b"/")
    while parts and parts[0] == b".." and folder:
        parts.pop(0)
        folder.pop()
    return inside(b"/".join([*folder, *parts]) if not link.startswith(b"/") else link, what)


def _docker_parts(archive: _Archive) -> Parts:
    what = "manifest.json"
    images = as_list(parse_json(archive.read(archive.blob(what.encode()), what), what), what)
    if len(images) != 1:
        raise refuse("several", f"{what} lists {len(images)} images, want one")
    image = as_object(images[0], what)
    names = as_list(image.get("layers"), f"{what}, Layers")
    if len(names) > MAX_LAYERS:
        raise refuse("too_many", f"{what} lists {len(names)} layers, want at most {MAX_LAYERS}")
    config = archive.blob(_path(image.get("config"), what))
    return Parts(
        config=config,
        config_raw=archive.read(config, "the configuration"),
        layers=tuple(archive.blob(_path(name, what)) for name in names),
    )


def _path(value: object, what: str) -> bytes:
    if not isinstance(value, str):
        raise refuse("json", f"{what} has something other than a path for a file")
    try:
        return inside(value.encode("utf-8"), what)
    except UnicodeEncodeError as error:
        raise refuse("path", f"{what} has a path that is not Unicode text") from error


def _oci_parts(archive: _Archive) -> Parts:
    what = "oci-layout"
    layout = as_object(parse_json(archive.read(archive.blob(what.encode()), what), what), what)
    version = layout.get("imagelayoutversion")
    if not isinstance(version, str) or not version.startswith("1."):
        raise refuse("layout", f"{what} is of version {str(version)[:20]!a}, want 1.x")
    what = "index.json"
    index = parse_json(archive.read(archive.blob(what.encode()), what), what)
    found = _manifests(archive, index, what, depth=1)
    if len(found) != 1:
        raise refuse("several", f"{what} lists {len(found)} images, want one")
    what = "the image's manifest"
    manifest = as_object(parse_json(archive.read(found[0], what), what), what)
    config = _described(archive, manifest.get("config"), _CONFIGS, f"{what}, config")
    layers = as_list(manifest.get("layers"), f"{what}, layers")
    if len(layers) > MAX_LAYERS:
        raise refuse("too_many", f"{what} lists {len(layers)} layers, want at most {MAX_LAYERS}")
    return Parts(
        config=config,
        config_raw=archive.read(config, "the configuration"),
        layers=tuple(_described(archive, item, _LAYERS, f"{what}, layer") for item in layers),
    )


def _manifests(archive: _Archive, value: object, what: str, *, depth: int) -> list[Blob]:
    """The image manifests that an index leads to, but for attestations about images."""
    if depth > MAX_INDEXES:
        raise refuse("layout", f"indexes lie deeper than {MAX_INDEXES}")
    found: list[Blob] = []
    listed = as_list(as_object(value, what).get("manifests"), f"{what}, manifests")
    if len(listed) > MAX_MEMBERS:
        raise refuse("too_many", f"{what} lists {len(listed)} manifests")
    for item in listed:
        entry = as_object(item, f"{what}, manifests")
        if _ATTESTATION in as_object(entry.get("annotations") or {}, f"{what}, annotations"):
            continue
        blob = _described(archive, entry, _INDEXES | _MANIFESTS, f"{what}, manifest")
        if entry.get("mediatype") in _INDEXES:
            inner = parse_json(archive.read(blob, what), f"an index in {what}")
            found += _manifests(archive, inner, what, depth=depth + 1)
        else:
            found.append(blob)
        if len(found) > 1:
            raise refuse("several", f"{what} leads to more than one image, want one")
    return found


def _described(archive: _Archive, value: object, types: frozenset[str], what: str) -> Blob:
    """The blob of a descriptor (descriptor.md): type, digest, size."""
    entry = as_object(value, what)
    kind = entry.get("mediatype")
    if not isinstance(kind, str) or kind not in types:
        raise refuse("layout", f"{what} has the type {str(kind)[:80]!a}, which is not accepted")
    blob = archive.blob(f"blobs/sha256/{digest_hex(entry.get('digest'), what)}".encode())
    if entry.get("size") != blob.size:
        raise refuse("digest", f"{what} says another size than the {blob.size} bytes it has")
    return blob
