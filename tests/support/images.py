"""Image archives made by code: docker-archive and OCI layout, honest ones and others.

    program = {"/main": File(elf, mode=0o755)}
    docker_archive(Build(layers=(program,), entrypoint=("/main",)))

Everything is deterministic. `Build.config` and the archive's members can be replaced, so
that a test can make an archive that lies.
"""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

ARCHITECTURE = "amd64"


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A member of a tar; `kind` as in tarfile."""

    content: bytes = b""
    mode: int = 0o644
    kind: bytes = tarfile.REGTYPE
    link: str = ""


def program(content: bytes) -> File:
    return File(content=content, mode=0o755)


def tar(
    members: Sequence[tuple[str, File]] | Mapping[str, File], *, form: int = tarfile.PAX_FORMAT
) -> bytes:
    """A tar with these members in this order."""
    pairs = list(members.items()) if isinstance(members, Mapping) else list(members)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, item in pairs:
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.linkname = item.kind, item.mode, item.link
            info.size = len(item.content)
            archive.addfile(info, io.BytesIO(item.content))
    return out.getvalue()


def sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """An image before it is an archive."""

    layers: tuple[bytes, ...]
    """Uncompressed tars."""
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    architecture: str = ARCHITECTURE
    compress: bool = False
    tag: str = "example/image:latest"
    run: Mapping[str, Any] = field(default_factory=dict)
    """More of the configuration's `config`."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """More of the configuration itself."""

    @property
    def config(self) -> bytes:
        value: dict[str, Any] = {
            "architecture": self.architecture,
            "os": "linux",
            "config": {
                "Entrypoint": list(self.entrypoint) or None,
                "Cmd": list(self.cmd) or None,
                "Env": list(self.env),
                **self.run,
            },
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{sha256(layer)}" for layer in self.layers],
            },
            "history": [],
            **self.changes,
        }
        return json.dumps(value).encode()

    @property
    def image_id(self) -> str:
        return f"sha256:{sha256(self.config)}"

    @property
    def packed(self) -> tuple[bytes, ...]:
        """The layers as they lie in the archive."""
        if not self.compress:
            return self.layers
        return tuple(gzip.compress(layer, mtime=0) for layer in self.layers)


def docker_members(build: Build) -> dict[str, File]:
    """The members of a docker-archive."""
    config = build.config
    name = f"{sha256(config)}.json"
    layers = {f"{number}/layer.tar": raw for number, raw in enumerate(build.packed)}
    manifest = [{"Config": name, "RepoTags": [build.tag], "Layers": list(layers)}]
    return {
        name: File(content=config),
        **{path: File(content=raw) for path, raw in layers.items()},
        "manifest.json": File(content=json.dumps(manifest).encode()),
    }


def oci_members(build: Build) -> dict[str, File]:
    """The members of an OCI layout."""
    suffix = "+gzip" if build.compress else ""
    layer_type = f"application/vnd.oci.image.layer.v1.tar{suffix}"
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor(build.config, "application/vnd.oci.image.config.v1+json"),
            "layers": [descriptor(layer, layer_type) for layer in build.packed],
        }
    ).encode()
    return {
        "oci-layout": File(content=b'{"imageLayoutVersion": "1.0.0"}'),
        "index.json": File(content=index(manifest)),
        **{blob_name(raw): File(content=raw) for raw in (build.config, manifest, *build.packed)},
    }


def index(*manifests: bytes) -> bytes:
    """An image index over manifests."""
    kind = "application/vnd.oci.image.manifest.v1+json"
    listed = [descriptor(manifest, kind) for manifest in manifests]
    return json.dumps({"schemaVersion": 2, "manifests": listed}).encode()


def descriptor(raw: bytes, kind: str) -> dict[str, Any]:
    return {"mediaType": kind, "digest": f"sha256:{sha256(raw)}", "size": len(raw)}


def blob_name(raw: bytes) -> str:
    return f"blobs/sha256/{sha256(raw)}"


def docker_archive(build: Build) -> bytes:
    return tar(docker_members(build))


def oci_archive(build: Build) -> bytes:
    return tar(oci_members(build))
