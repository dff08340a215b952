"""A job of each kind in a virtual machine of its own."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import iris, wheels
from support.command import Said, Stack, atoll
from support.guest_image import guest_image
from support.images import Build, docker_archive, program, tar
from support.libvirt import binding, qemu
from support.places import SCRIPT, place
from support.programs import compiled

__all__ = ["guest_image", "place"]

pytestmark = pytest.mark.timeout(900)
C_PROGRAM = "integration/agent_docker/guest.c"
QUESTION = '{"sepal_length": 7.0, "sepal_width": 3.2, "petal_length": 4.7, "petal_width": 1.4}'
FLOWERS = "5.1,3.5,setosa\n" * 4
PATIENCE_S = 600.0


@pytest.fixture(scope="module")
def stack(guest_image: Path, place: str) -> Iterator[Stack]:
    binding()
    qemu()
    # Short, for there are sockets in it.
    with tempfile.TemporaryDirectory(prefix="vk-") as folder:
        own = {"image": str(guest_image), "driver": "libvirt", "egress": (place,)}
        made = Stack(Path(folder), slots=1, **own)  # type: ignore[arg-type]
        made.start()
        try:
            yield made
        finally:
            assert made.stop() == 0


def run(stack: Stack, folder: Path, algorithm: bytes, *options: str | Path) -> Said:
    (folder / "algorithm").write_bytes(algorithm)
    (folder / "flowers").write_text(FLOWERS)
    line = ("run", folder / "algorithm", "--data", f"in={folder / 'flowers'}", *options)
    return atoll(stack.home, *line, "--out", folder / "out", "--json", within_s=PATIENCE_S)


def results(said: Said, folder: Path) -> dict[str, Any]:
    assert said.status == 0, said
    assert said.document()["exit_code"] == 0
    return {file.name: file.read_text() for file in (folder / "out" / "results").iterdir()}


def test_wasm(stack: Stack, tmp_path: Path) -> None:
    """A model trained in one machine answers in another, and both receipts verify."""
    said = []
    for name, options in (
        ("train", (iris.program("train"), "--data", f"iris={iris.FLOWERS}")),
        ("infer", (iris.program("infer"), "--data", f"model={tmp_path}/train/results/model.json")),
    ):
        asked = ("--arg", QUESTION) if name == "infer" else ()
        out = ("--out", tmp_path / name, "--json")
        said.append(atoll(stack.home, "run", *options, *asked, *out, within_s=PATIENCE_S))
        assert said[-1].status == 0, said[-1]
        receipt = said[-1].document()["receipt"]
        assert stack.atoll("receipt", "verify", receipt).status == 0
    iris.require_good((tmp_path / "train" / "results" / "metrics.json").read_text())
    answer = (tmp_path / "infer" / "results" / "results.txt").read_text()
    assert answer.split() == ["Iris-versicolor"]


@pytest.mark.parametrize("target", ["musl", "gnu"])
def test_binary(stack: Stack, tmp_path: Path, target: str) -> None:
    """Static, and with the C library that is the image's."""
    options = ("--kind", "binary", "--arg", "copy", "--arg", "/data/in", "--processes", "4")
    said = run(stack, tmp_path, compiled(C_PROGRAM, target=target), *options)
    assert results(said, tmp_path) == {"out": FLOWERS}


def test_python_with_a_bundle(stack: Stack, tmp_path: Path) -> None:
    source = b"""
import json, platform, sys
from counting.lines import count
def main():
    found = {"lines": count("/data/in"), "args": sys.argv[1:], "kernel": platform.release()}
    with open("/results/model.json", "w") as file:
        json.dump(found, file)
"""
    bundle = tmp_path / "bundle.zip"
    counting = b"def count(path):\n    return sum(1 for _ in open(path))\n"
    bundle.write_bytes(
        wheels.bundle(counting={"counting/__init__.py": b"", "counting/lines.py": counting})
    )
    said = run(
        stack, tmp_path, wheels.wheel("job", {"job.py": source}), "--kind", "python",
        "--entry", "job:main", "--bundle", bundle, "--arg", "a b",
    )  # fmt: skip
    model = json.loads(results(said, tmp_path)["model.json"])
    assert (model["lines"], model["args"]) == (4, ["a b"])
    # The machine's own, and not the host's.
    assert model["kernel"].endswith("-cloud-amd64")


def test_an_image_without_an_engine(stack: Stack, tmp_path: Path) -> None:
    layer = tar({"main": program(compiled(C_PROGRAM))})
    archive = docker_archive(Build(layers=(layer,), entrypoint=("/main",), compress=True))
    options = ("--kind", "docker", "--arg", "copy", "--arg", "/data/in")
    assert results(run(stack, tmp_path, archive, *options), tmp_path) == {"out": FLOWERS}


def test_a_destination_is_reached_over_the_channel(
    stack: Stack, tmp_path: Path, place: str
) -> None:
    """The machine has no network: the host dials, for this place alone."""
    asked = ("--arg", place, "--arg", "127.0.0.1:1")
    said = run(stack, tmp_path, SCRIPT.encode(), "--kind", "python", "--destination", place, *asked)
    found = results(said, tmp_path)["found"]
    assert found == "from outside\nTunnel connection failed: 403 Forbidden"
