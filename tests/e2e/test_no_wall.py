"""A host without what a kind's wall is made of refuses the kind before it asks for a key."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support import wat
from support.command import Stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that looks for its container engine where none is."""
    root = tmp_path_factory.mktemp("bare")
    running = Stack(root, docker=f"unix://{root}/no.sock")
    running.start()
    try:
        yield running
    finally:
        running.stop()


def test_the_job_fails_naming_what_is_missing_and_no_key_was_released(
    stack: Stack, tmp_path: Path
) -> None:
    image = tmp_path / "image.tar"
    image.write_bytes(bytes(1024))
    said = stack.run(image, "--kind", "docker")
    document = said.document()
    assert document["error"]["code"] == "sandbox.unavailable"
    assert document["state"] == "failed"
    assert "no container engine" in document["reason"]["message"]
    assert "no.sock" in document["reason"]["message"]
    events = stack.atoll("events", document["job_id"], "--json").out
    assert "running" not in events


def test_the_host_still_serves_the_kinds_that_it_can_wall_in(stack: Stack, tmp_path: Path) -> None:
    module, data = tmp_path / "module.wasm", tmp_path / "in"
    module.write_bytes(wat.echo())
    data.write_bytes(b"x")
    assert stack.run(module, "--data", f"in={data}").status == 0
