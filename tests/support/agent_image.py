"""An image of this machine's interpreter and the agent as it is installed here, for tests.

What `atoll image build` makes is smaller and reproducible; this one needs nothing but an engine.
"""

import io
import json
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import pytest

from atoll.measure.installed import DISTRIBUTIONS, PACKAGES
from support.dockerd import Dockerd

LEFT_OUT = {"test", "tests", "idlelib", "tkinter", "ensurepip", "site-packages", "__pycache__"}
LIBRARY = f"/usr/lib/{Path(sysconfig.get_path('stdlib')).name}"
SITE = f"{LIBRARY}/site-packages"
EXTRA = ("typing-extensions",)


def archive() -> bytes:
    """A file system as a tar."""
    found = dict(contents())
    libraries = set[Path]()
    for path in found.values():
        if ".so" in path.name or path == Path(sys.executable):
            libraries |= needed(path)
    found |= {str(path): path for path in libraries}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, path in sorted(found.items()):
            tar.add(path.resolve(), name.lstrip("/"), recursive=False)
        for folder in ("tmp", "run", "dev/shm", "run/host"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
    return buffer.getvalue()


def contents() -> Iterator[tuple[str, Path]]:
    """What is in the image, but for shared libraries, and where it is here."""
    yield "/usr/bin/python3", Path(sys.executable)
    standard = Path(sysconfig.get_path("stdlib"))
    for path in standard.rglob("*"):
        inside = path.relative_to(standard)
        if path.is_file() and not LEFT_OUT & set(inside.parts):
            yield f"{LIBRARY}/{inside}", path
    for package in PACKAGES:
        spec = find_spec(package)
        assert spec is not None
        assert spec.submodule_search_locations
        root = Path(spec.submodule_search_locations[0])
        for path in root.rglob("*.py"):
            yield f"{SITE}/{package}/{path.relative_to(root)}", path
    for name in (*DISTRIBUTIONS, *EXTRA):
        for file in metadata.distribution(name).files or ():
            path = Path(str(file.locate()))
            if path.is_file() and not file.parts[0].startswith("..") and file.suffix != ".pyc":
                yield f"{SITE}/{file}", path


def needed(path: Path) -> set[Path]:
    """The shared libraries that a file is linked with."""
    out = subprocess.run(["ldd", str(path.resolve())], capture_output=True, text=True, check=False)
    words = (line.split() for line in out.stdout.splitlines())
    return {Path(word) for line in words for word in line if word.startswith("/")}


@pytest.fixture(scope="session")
def agent_image(dockerd: Dockerd) -> str:
    """The digest of the image, which the engine has."""
    client = dockerd.client()
    try:
        client.import_image_from_data(
            archive(),
            repository="atoll-test-agent",
            tag="latest",
            changes=[
                f"ENTRYPOINT {json.dumps(['/usr/bin/python3', '-I', '-m', 'atoll_agent.main'])}",
            ],
        )
        return str(client.inspect_image("atoll-test-agent:latest")["Id"])
    finally:
        client.close()
