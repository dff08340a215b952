"""The same image as an archive of our own making, for the engine.

What goes to the engine is not what came from outside: a fresh docker-archive (Docker Image
Specification v1.2, "Combined Image JSON + Filesystem Changeset Format") that holds the
configuration and the layers that were checked, unchanged, in files that we name, under the
one tag that we choose. Tags, other images, links and anything else of the original never
reach the engine, and an OCI layout reaches engines that cannot read one.
"""

import io
import json
import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from atoll_agent.sandbox.docker.image import Image
from atoll_agent.sandbox.docker.layers import Blob
from atoll_agent.sandbox.docker.tarstream import BLOCK, CHUNK


def repack(file: BinaryIO, image: Image, tag: str) -> Iterator[bytes]:
    """The archive in pieces. `file` is the one that `image` was read from."""
    config_name = f"{image.image_id.removeprefix('sha256:')}.json"
    layer_names = [f"{number}/layer.tar" for number in range(len(image.layers))]
    manifest = json.dumps(
        [{"Config": config_name, "RepoTags": [tag], "Layers": layer_names}]
    ).encode("ascii")
    yield from _member("manifest.json", len(manifest), iter([manifest]))
    yield from _member(config_name, image.config.size, _content(file, image.config))
    for name, layer in zip(layer_names, image.layers, strict=True):
        yield from _member(name, layer.size, _content(file, layer))
    yield bytes(2 * BLOCK)


def _member(name: str, size: int, content: Iterator[bytes]) -> Iterator[bytes]:
    info = tarfile.TarInfo(name)
    info.size = size
    yield info.tobuf(format=tarfile.USTAR_FORMAT)
    yield from content
    yield bytes(-size % BLOCK)


def _content(file: BinaryIO, blob: Blob) -> Iterator[bytes]:
    file.seek(blob.offset, io.SEEK_SET)
    left = blob.size
    while left:
        chunk = file.read(min(left, CHUNK))
        if not chunk:
            raise EOFError("the archive became shorter after it was read")
        left -= len(chunk)
        yield chunk
