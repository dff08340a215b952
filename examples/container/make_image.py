"""Make build/image.tar: an image of one static program and nothing else, as a docker-archive.

    python examples/build.py container

No base, no shell, no libc: one layer with /summary in it. Nothing is pulled and no container
engine is needed; an image is a tar of a tar and two JSON files (Docker Image Specification v1.2,
"Combined Image JSON + Filesystem Changeset Format"). The same program gives the same bytes.
"""

import hashlib
import io
import json
import os
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
PROGRAM: Final = HERE / "build" / "summary"
IMAGE: Final = HERE / "build" / "image.tar"
TAG: Final = "example/summary:1"
ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64", "riscv64": "riscv64"}
"""What Go calls the machines, by what the kernel calls them."""


def tar(members: Mapping[str, bytes], *, mode: int) -> bytes:
    """Files of nobody in particular, without times."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), mode
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def image(program: bytes, architecture: str) -> bytes:
    """The archive of an image that starts `program`."""
    layer = tar({"summary": program}, mode=0o755)
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Entrypoint": ["/summary"], "Cmd": None, "Env": []},
        "rootfs": {
            "type": "layers",
            "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"],
        },
        "history": [],
    }
    raw = json.dumps(config).encode()
    name = f"{hashlib.sha256(raw).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [TAG], "Layers": ["layer.tar"]}]
    members = {name: raw, "layer.tar": layer, "manifest.json": json.dumps(manifest).encode()}
    return tar(members, mode=0o644)


def main() -> int:
    """Write the image of this machine's program."""
    architecture = ARCHITECTURES.get(os.uname().machine)
    if architecture is None:
        print(f"error: no image for a {os.uname().machine}", file=sys.stderr)
        return 1
    raw = image(PROGRAM.read_bytes(), architecture)
    fresh = not IMAGE.exists() or IMAGE.read_bytes() != raw
    if fresh:
        IMAGE.write_bytes(raw)
    said = "built" if fresh else "up to date"
    print(f"examples/container/build/image.tar: {said}, {len(raw)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
