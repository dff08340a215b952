"""`atoll demo`: the whole journey, and nothing left behind however it ends."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from atoll_cli.session import BANNER
from support.command import ATOLL, adopting, atoll, descendants, environment
from support.nats import wait_for

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SHM = Path("/dev/shm")


def demo(tmp: Path, *options: str) -> "subprocess.Popen[str]":
    """Start the demo with its temporary files below `tmp`."""
    tmp.mkdir()
    return subprocess.Popen(
        [*ATOLL, "demo", "--examples", str(EXAMPLES), *options],
        env=environment(tmp / "home", TMPDIR=str(tmp)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.fixture
def family() -> Iterator[set[int]]:
    """The processes that were there before; every orphan of this test comes to us."""
    with adopting():
        yield set(descendants())
        for pid in set(descendants()):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def left_behind(before: set[int]) -> dict[int, str]:
    return {pid: line for pid, line in descendants().items() if pid not in before}


def test_the_demo_answers_and_leaves_nothing(tmp_path: Path, family: set[int]) -> None:
    process = demo(tmp_path / "tmp")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert "  | Iris-versicolor" in out
    assert out.count("receipt verified") == 2
    assert "chained" in out
    assert "run workload" in out
    assert "pass       snp.signature" in err
    for event in ("submitted", "attesting", "running", "completed"):
        assert event in err
    assert BANNER in out
    assert BANNER in err
    assert left_behind(family) == {}
    assert list((tmp_path / "tmp").iterdir()) == []


def test_the_demo_is_one_document_with_json(tmp_path: Path, family: set[int]) -> None:
    process = demo(tmp_path / "tmp", "--json")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    document = json.loads(out)
    assert document["answer"] == "Iris-versicolor"
    assert document["simulated"] is True
    assert [job["state"] for job in document["jobs"]] == ["completed", "completed"]
    assert left_behind(family) == {}


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("starting bus", signal.SIGINT),
        ("bus nats", signal.SIGTERM),
        ("submitted", signal.SIGINT),
        ("running", signal.SIGTERM),
        ("2 of 2", signal.SIGINT),
        ("stopping the stack", signal.SIGTERM),
    ],
)
async def test_a_stopped_demo_leaves_nothing(
    tmp_path: Path, family: set[int], number: signal.Signals, moment: str
) -> None:
    tmp = tmp_path / "tmp"
    process = demo(tmp, "--json")
    assert process.stderr is not None
    for line in process.stderr:
        if moment in line:
            break
    # As Ctrl-C in a terminal does: to every process of the foreground group.
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert "Traceback" not in err
    await wait_for(lambda: not left_behind(family), f"nothing: {left_behind(family)}")
    assert list(tmp.iterdir()) == []


async def test_a_killed_demo_takes_its_processes_along(tmp_path: Path, family: set[int]) -> None:
    process = demo(tmp_path / "tmp", "--json")
    assert process.stderr is not None
    for line in process.stderr:
        if "running" in line:
            break
    process.kill()
    process.communicate(timeout=60)
    await wait_for(lambda: not left_behind(family), "processes end by themselves", within_s=40)


def test_without_built_examples_it_says_what_to_do(tmp_path: Path) -> None:
    said = atoll(tmp_path, "demo", "--examples", tmp_path, "--json")
    assert said.status == 1
    assert said.document()["error"]["code"] == "demo.examples"
    assert "make setup" in said.document()["error"]["hint"]
