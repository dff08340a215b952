"""The README's transcript, run against a real stack."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.stack import Stack

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Step:
    command: str
    expected: list[str]


def transcript() -> list[Step]:
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 1
    steps: list[Step] = []
    for line in blocks[0].splitlines():
        if line.startswith("$ "):
            steps.append(Step(line[2:], []))
        else:
            steps[-1].expected.append(line)
    return steps


def matches(expected: list[str], actual: list[str]) -> bool:
    """A line `...` stands for any lines, `...` inside a line for any text."""
    if not expected:
        return not actual
    if expected[0] == "...":
        return any(matches(expected[1:], actual[skip:]) for skip in range(len(actual) + 1))
    if not actual:
        return False
    pattern = ".*".join(map(re.escape, expected[0].split("...")))
    return re.fullmatch(pattern, actual[0]) is not None and matches(expected[1:], actual[1:])


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    # The compiler's cache and scikit-learn are large, and no command of the README reads them.
    left_out = shutil.ignore_patterns(".cache", "wheels", "bundle.zip")
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=left_out)
    return tmp_path


def test_the_transcript_says_what_happens(stack: Stack, checkout: Path) -> None:
    env = {
        **os.environ,  # noqa: TID251
        "ATOLL_HOME": str(stack.home),
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
    }
    for step in transcript():
        done = subprocess.run(
            shlex.split(step.command),
            cwd=checkout,
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        actual = done.stdout.splitlines()

        assert done.returncode == 0, (step.command, done.stderr)
        assert matches(step.expected, actual), (step.command, done.stdout)
