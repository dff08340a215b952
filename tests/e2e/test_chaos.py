"""The chaos run itself, small: the whole of it is a step of its own in `make test`."""

import json
import subprocess
import sys

import pytest

from support.stack import ROOT

COUNTS = ("lost", "duplicated", "gaps", "double_releases", "unexplained")


def chaos(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "tests/chaos/run.py", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.timeout(300)
def test_every_kind_of_process_is_killed_and_every_promise_is_kept() -> None:
    done = chaos("--jobs", "30", "--kills", "7", "--seed", "3")

    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    ran = json.loads(line)
    assert (ran["jobs"], ran["kills"], ran["seed"]) == (30, 7, 3)
    assert set(ran["kills_by_kind"].values()) == {1}
    assert ran["completed"] + ran["failed"] == 30
    assert {name: ran[name] for name in COUNTS} == dict.fromkeys(COUNTS, 0)
    assert "seed 3" in done.stderr


@pytest.mark.parametrize("arguments", [("--jobs", "0"), ("--kills", "-1"), ("--jobs", "many")])
def test_a_size_that_cannot_be_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    done = chaos(*arguments)

    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
