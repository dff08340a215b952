"""One real job of each kind, from the command to the opened result, on one running stack."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from atoll_agent.sandbox.wall import bubblewrap
from support import dockerd as engines
from support import wat, wheels
from support.command import Stack
from support.images import Build, docker_archive, oci_archive, program, tar
from support.programs import compiled

pytestmark = pytest.mark.skipif(bubblewrap.missing() is not None, reason=str(bubblewrap.missing()))

C_PROGRAM = "integration/agent_docker/guest.c"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose enclaves have a container engine of their own."""
    with engines.running() as engine:
        running = Stack(tmp_path_factory.mktemp("kinds"), docker=engine.host)
        running.start()
        try:
            yield running
        finally:
            running.stop()
        client = engine.client()
        assert client.containers(all=True) == []
        assert client.images() == []
        client.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "flowers"
    path.write_bytes(b"5.1,3.5,setosa\n" * 4)
    return path


def results(stack: Stack, out: Path, algorithm: bytes, *arguments: str | Path) -> dict[str, str]:
    """Run; what lies in the opened result, and the receipt's word for the kind."""
    path = stack.root / "algorithm"
    path.write_bytes(algorithm)
    said = stack.run(path, *arguments, "--out", out)
    assert said.status == 0, said
    assert said.document()["exit_code"] == 0
    return {file.name: file.read_text() for file in (out / "results").iterdir()}


def test_wasm(stack: Stack, data: Path, tmp_path: Path) -> None:
    found = results(stack, tmp_path / "out", wat.echo(), "--data", f"in={data}")
    assert found == {"out": data.read_text()}


def test_binary(stack: Stack, data: Path, tmp_path: Path) -> None:
    found = results(
        stack, tmp_path / "out", compiled(C_PROGRAM), "--kind", "binary", "--data", f"in={data}",
        "--arg", "copy", "--arg", "/data/in", "--processes", "4", "--scratch-mib", "1",
    )  # fmt: skip
    assert found == {"out": data.read_text()}


def test_python_with_a_bundle(stack: Stack, data: Path, tmp_path: Path) -> None:
    source = b"""
import json, os, sys
from counting.lines import count
def main():
    with open("/results/model.json", "w") as file:
        json.dump({"lines": count("/data/in"), "args": sys.argv[1:], "env": os.environ["K"]}, file)
"""
    bundle = tmp_path / "bundle.zip"
    bundle.write_bytes(
        wheels.bundle(
            counting={
                "counting/__init__.py": b"",
                "counting/lines.py": b"def count(path):\n    return sum(1 for _ in open(path))\n",
            }
        )
    )
    found = results(
        stack, tmp_path / "out", wheels.wheel("job", {"job.py": source}), "--kind", "python",
        "--entry", "job:main", "--bundle", bundle, "--data", f"in={data}", "--arg", "a b",
        "--env", "K=v",
    )  # fmt: skip
    assert json.loads(found["model.json"]) == {"lines": 4, "args": ["a b"], "env": "v"}


@pytest.mark.parametrize("pack", [docker_archive, oci_archive])
def test_docker(stack: Stack, data: Path, tmp_path: Path, pack: object) -> None:
    assert callable(pack)
    layer = tar({"main": program(compiled(C_PROGRAM))})
    image = pack(Build(layers=(layer,), entrypoint=("/main",)))
    found = results(
        stack, tmp_path / "out", image, "--kind", "docker", "--data", f"in={data}",
        "--arg", "copy", "--arg", "/data/in",
    )  # fmt: skip
    assert found == {"out": data.read_text()}


def test_an_exit_code_reaches_the_owner_alone(stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "algorithm"
    path.write_bytes(compiled(C_PROGRAM))
    arguments = ("--kind", "binary", "--arg", "exit", "--arg", "42", "--out", tmp_path / "out")
    said = stack.run(path, *arguments)
    assert (said.status, said.document()["exit_code"]) == (1, 42)
    assert said.document()["error"]["code"] == "workload.exit_nonzero"
    shown = stack.atoll("jobs", "show", said.document()["job_id"], "--json").out
    assert "exit_nonzero" in shown
    assert "42" not in json.dumps(json.loads(shown).get("reason"))


def test_a_bundle_that_lacks_what_its_lock_names_fails_the_job_by_its_code(
    stack: Stack, tmp_path: Path
) -> None:
    script, bundle = tmp_path / "job.py", tmp_path / "bundle.zip"
    script.write_text("print('never')")
    lock = wheels.locked("absent", b"")
    bundle.write_bytes(wheels.zipped({"requirements.txt": lock.encode()}))
    said = stack.run(script, "--kind", "python", "--bundle", bundle)
    assert said.document()["error"]["code"] == "bundle.missing"
    assert "absent" not in said.document()["reason"]["message"]


def test_what_is_no_program_of_its_kind_is_refused_before_it_is_uploaded(
    stack: Stack, tmp_path: Path
) -> None:
    path = tmp_path / "algorithm"
    path.write_bytes(b"#!/bin/sh\n")
    said = stack.run(path, "--kind", "binary")
    assert said.document()["error"]["code"] == "workload.not_elf"
    said = stack.run(path, "--kind", "docker", "--entry", "a:b")
    assert said.document()["error"]["code"] == "workload.entry"
