"""The examples give the numbers that their READMEs promise, on one stack with an own engine."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from atoll.computation.releasing import ReleasePolicy
from atoll.errors import InputError
from examples.container.job import CASE as CONTAINER
from examples.container.make_image import image
from examples.harness import engine, stack
from examples.harness.case import Case, Place
from examples.harness.party import Party
from examples.hospitals import policies
from examples.hospitals.job import CASE as HOSPITALS
from examples.run import CASES, attempt
from support.stack import ROOT

BUILD_S = 300
"""The first time a C library is compiled, and wheels are fetched."""
KEY = "ab" * 32


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A running stack; built are the examples here, if `make examples` did not."""
    # What cannot be built, its case says; the others run.
    subprocess.run([sys.executable, ROOT / "examples" / "build.py"], check=False)
    folder = tmp_path_factory.mktemp("examples")
    with ExitStack() as around:
        docker = around.enter_context(engine.running()) if engine.missing() is None else None
        profile = around.enter_context(stack.running(folder, docker=docker))
        yield Place(profile=profile, folder=folder)


@pytest.mark.timeout(BUILD_S)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_gives_the_right_numbers(place: Place, case: Case) -> None:
    if why := case.missing():
        pytest.skip(why)
    assert case.faults(await case.run(place)) == []


async def test_a_wrong_number_and_a_missing_one_are_told(tmp_path: Path) -> None:
    case = replace(HOSPITALS, expected={"accuracy": 0.9, "right": 1})
    assert case.faults({"accuracy": 0.8, "right": 1}) == ["accuracy: found 0.8, expected 0.9"]
    assert case.faults({"accuracy": 0.9}) == ["right: found None, expected 1"]


@pytest.mark.parametrize("what", ["file", "wall", "engine"])
async def test_what_is_missing_fails_the_case_and_is_named(
    what: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = replace(HOSPITALS, docker=True)
    if what == "file":
        case = replace(case, files=(ROOT / "examples" / "never",))
    elif what == "wall":
        monkeypatch.setattr("examples.harness.case.bubblewrap.missing", lambda: "no wall here")
    else:
        monkeypatch.setattr("examples.harness.case.bubblewrap.missing", lambda: None)
        monkeypatch.setattr(engine, "missing", lambda: "no engine here")
    (fault,) = await attempt(case, place)
    words = {"file": "examples/never is not built", "wall": "no wall", "engine": "no engine"}
    assert fault.startswith(f"missing: {words[what]}")


async def test_what_goes_wrong_for_a_party_is_told_as_it_is(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why := CONTAINER.missing():
        pytest.skip(why)

    async def answer(*_: object) -> None:
        raise InputError("not today")

    monkeypatch.setattr(Party, "answer", answer)
    assert await attempt(CONTAINER, place) == ["InputError: not today"]


def test_the_policies_of_the_hospitals_are_files_that_a_releaser_reads() -> None:
    for policy in (policies.north(KEY, KEY, (KEY,)), policies.south(KEY), policies.east((KEY,))):
        assert ReleasePolicy.from_bytes(policy.to_bytes()) == policy


def test_the_same_program_makes_the_same_image() -> None:
    assert image(b"\x7fELF", "amd64") == image(b"\x7fELF", "amd64")


def test_nothing_that_is_handed_out_is_a_pickle() -> None:
    for script in (ROOT / "examples").glob("*/train.py"):
        source = script.read_text()
        assert "json.dumps" in source
        assert not {"pickle", "joblib"} & set(source.split())


def test_an_unknown_name_is_a_mistake_of_usage() -> None:
    command = [sys.executable, str(ROOT / "examples" / "run.py"), "never"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "never is none of iris, logistic" in done.stderr


@pytest.mark.timeout(BUILD_S)
def test_the_command_ends_with_one_line_of_json(place: Place) -> None:
    if why := HOSPITALS.missing():
        pytest.skip(why)
    command = [sys.executable, str(ROOT / "examples" / "run.py"), "iris"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, ""), done
    assert lines[0].startswith("passed iris")
    assert json.loads(lines[-1]) == {"examples": 1, "passed": 1}
    assert sum(line.startswith("{") for line in lines) == 1
