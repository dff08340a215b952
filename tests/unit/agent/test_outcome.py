"""From what steps left to an archive for each output: what is allowed, to whom it is for."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given as with_values
from hypothesis import settings
from hypothesis import strategies as st

from atoll.computation.manifest import Manifest
from atoll.computation.outputs import Output
from atoll.sealing.archive import EXIT, RESULTS, STDERR, STDOUT, require_path
from atoll.sealing.tar import MAX_FILE_SIZE
from atoll_agent.outcome import Packed, archive_entries, pack
from atoll_agent.pipeline import StepRun
from atoll_agent.sandbox.outcome import Kind, Outcome, ResultFile, Used
from atoll_agent.sandbox.results import is_legal_name
from atoll_agent.sandbox.runner import clear_outputs
from atoll_agent.staging import Staging
from support.computations import clean, manifest, train

USED = Used(wall_ms=1, memory_bytes=1, output_bytes=1, output_files=1)
FAILED = Outcome(kind=Kind.EXITED, exit_code=3, used=USED, results=())
MODEL = manifest().outputs["model"]


def good(*files: ResultFile) -> Outcome:
    return Outcome(kind=Kind.EXITED, exit_code=0, used=USED, results=files)


def staged(root: Path, of: Manifest | None = None) -> Staging:
    staging = Staging(root=root, manifest=of or manifest())
    staging.prepare()
    for step in staging.manifest.steps:
        clear_outputs(staging.space(step.name))
    return staging


def left(staging: Staging, step: str, **files: bytes) -> Outcome:
    """Files below /results, as a run would report them."""
    for name, content in files.items():
        (staging.space(step).results / name.replace("_", ".")).write_bytes(content)
    return good(*(ResultFile(name=n.replace("_", "."), size=len(raw)) for n, raw in files.items()))


def packed(staging: Staging, output: Output = MODEL, **outcomes: Outcome | None) -> Packed:
    runs = tuple(
        StepRun(step=step, outcome=outcomes.get(step.name)) for step in staging.manifest.steps
    )
    return pack(output, staging, runs)


def contents(of: Packed) -> dict[str, bytes]:
    return {entry.name: b"".join(map(bytes, entry.chunks())) for entry in archive_entries(of)}


def test_what_is_allowed_goes_out_with_its_logs(tmp_path: Path) -> None:
    staging = staged(tmp_path)
    staging.space("train").stdout.write_bytes(b"done\n")
    found = packed(staging, clean=good(), train=left(staging, "train", model_json=b"{}"))
    assert contents(found) == {
        EXIT: b'{"exit_code":0,"outcome":"workload.exited","step":"train"}',
        STDOUT: b"done\n",
        STDERR: b"",
        f"{RESULTS}model.json": b"{}",
    }


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"model_csv": b"1"}, "output.name"),
        ({"a_json": b"1", "b_json": b"2", "c_json": b"3"}, "output.files"),
        ({"model_json": b"1" * 5001}, "output.bytes"),
        ({"model_json": b"not json"}, "output.type"),
    ],
)
def test_what_breaks_the_policy_stays_inside_with_the_logs(
    tmp_path: Path, files: dict[str, bytes], code: str
) -> None:
    staging = staged(tmp_path)
    staging.space("train").stderr.write_bytes(b"marker")
    found = packed(staging, clean=good(), train=left(staging, "train", **files))
    assert found.breach is not None
    assert contents(found) == {
        EXIT: f'{{"exit_code":0,"outcome":"{code}","step":"train"}}'.encode(),
        STDOUT: b"",
        STDERR: b"",
    }


def test_logs_count_and_may_be_withheld(tmp_path: Path) -> None:
    staging = staged(tmp_path)
    staging.space("train").stdout.write_bytes(b"x" * 5000)
    outcome = left(staging, "train", model_json=b"{}")
    assert packed(staging, clean=good(), train=outcome).exit.outcome == "output.bytes"
    silent = packed(staging, replace(MODEL, logs=False), clean=good(), train=outcome)
    assert contents(silent)[STDOUT] == b""
    assert contents(silent)[f"{RESULTS}model.json"] == b"{}"


def test_a_step_that_fails_is_told_to_those_who_depend_on_it(tmp_path: Path) -> None:
    staging = staged(tmp_path)
    staging.space("clean").stderr.write_bytes(b"no such column\n")
    found = packed(staging, clean=FAILED, train=None)
    assert contents(found) == {
        EXIT: b'{"exit_code":3,"outcome":"workload.exit_nonzero","step":"clean"}',
        STDOUT: b"",
        STDERR: b"no such column\n",
    }


def test_those_who_do_not_depend_on_it_learn_nothing_of_it(tmp_path: Path) -> None:
    other = replace(clean(), name="apart")
    outputs = {"model": MODEL, "apart": replace(MODEL, step="apart")}
    staging = staged(tmp_path, manifest(steps=(clean(), train(), other), outputs=outputs))
    staging.space("clean").stderr.write_bytes(b"marker")
    outcomes: dict[str, Any] = {"clean": FAILED, "train": None, "apart": None}
    found = packed(staging, outputs["apart"], **outcomes)
    assert contents(found) == {
        EXIT: b'{"exit_code":null,"outcome":"workload.not_run","step":"apart"}',
        STDOUT: b"",
        STDERR: b"",
    }


@pytest.mark.parametrize(
    ("file", "code"),
    [
        (ResultFile(name="sculpture", size=MAX_FILE_SIZE + 1), "workload.output_limit"),
        (ResultFile(name="../up", size=0), "workload.output_names"),
        (ResultFile(name="line\nend", size=0), "workload.output_names"),
        (ResultFile(name="/".join(["d"] * 40), size=0), "workload.output_names"),
    ],
)
def test_what_no_archive_takes_stays_inside(tmp_path: Path, file: ResultFile, code: str) -> None:
    staging = staged(tmp_path)
    found = packed(staging, Output(step="train", consumers=("consumer",)), train=good(file))
    assert found.breach is not None
    assert found.breach.code == code
    assert found.files == ()
    assert file.name not in found.breach.message


def names() -> Iterator[int]:
    """Characters that have made trouble in names."""
    yield from (0, 10, 0x7F, 0x85, 0xAD, 0x61C, 0x180E, 0x200B, 0x2028, 0x202E, 0x2065, 0xFEFF)
    yield from (0xFFF9, 0xE0001, 0x5C, 0x2F, 0x3000, 0x1F600, 0xE9)


@settings(max_examples=300)
@with_values(
    st.lists(
        st.text(
            min_size=1,
            max_size=85,
            alphabet=st.one_of(
                st.sampled_from([chr(number) for number in names()]),
                st.characters(exclude_categories=["Cs"]),
            ),
        ),
        min_size=1,
        max_size=16,
    )
)
def test_every_name_that_the_sandbox_lets_pass_has_a_place_in_the_archive(parts: list[str]) -> None:
    if all(is_legal_name(part.encode()) for part in parts):
        path = RESULTS + "/".join(parts)
        assert require_path(path) == path
