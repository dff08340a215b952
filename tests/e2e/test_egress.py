"""A job that may connect to one destination: from the command to a result that came from there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from atoll_agent.sandbox.wall import bubblewrap
from support.command import Stack
from support.places import SCRIPT, place

__all__ = ["place"]

pytestmark = pytest.mark.skipif(bubblewrap.missing() is not None, reason=str(bubblewrap.missing()))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, place: str) -> Iterator[Stack]:
    made = Stack(tmp_path_factory.mktemp("egress"), egress=(place, "*.example.org:443"))
    made.start()
    yield made
    made.stop()


def test_a_job_reaches_where_its_manifest_and_its_host_say(
    stack: Stack, place: str, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    listed = ("--destination", place)
    asked = ("--arg", place, "--arg", "www.example.org:443")
    said = stack.run(script, "--kind", "python", *listed, *asked, "--out", tmp_path / "out")
    assert said.status == 0, said
    found = (tmp_path / "out" / "results" / "found").read_text()
    assert found == "from outside\nTunnel connection failed: 403 Forbidden"
    shown = stack.atoll("hosts", "show", "local", "--json").document()["host"]
    assert shown["egress"] == [place, "*.example.org:443"]


def test_what_no_host_lets_out_is_refused_by_name(stack: Stack, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    said = stack.run(script, "--kind", "python", "--destination", "example.com:443")
    assert said.status == 1
    error = said.document()["error"]
    assert error["code"] == "network.refused"
    assert "example.com:443" in error["message"]
