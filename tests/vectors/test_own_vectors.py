"""The project's own vectors are what the generator makes, and are judged as they say."""

import json
from pathlib import Path
from typing import Any

import pytest

from atoll.evidence.judge import JUDGES, judge_vector
from vectors import generate

HERE = Path(generate.HERE)
MANIFEST: dict[str, Any] = json.loads((HERE / generate.MANIFEST).read_text("utf-8"))
CASES: list[dict[str, Any]] = MANIFEST["vectors"]
MAX_SIZE = 1_500_000


def read(path: str) -> bytes:
    return (HERE / path).read_bytes()


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_judged_as_the_manifest_says_and_for_that_reason(case: dict[str, Any]) -> None:
    blind = {name: value for name, value in case.items() if name != "expected"}
    row = judge_vector(blind, read)
    expected = case["expected"]
    assert (row.got, row.reason) == (expected["verdict"], expected.get("reason", ""))
    if expected["verdict"] == "valid":
        assert row.tcb_status == expected.get("tcb_status", "")


def test_every_kind_has_a_positive_and_several_negatives() -> None:
    assert {case["kind"] for case in CASES} == set(JUDGES)
    for kind in JUDGES:
        verdicts = [case["expected"]["verdict"] for case in CASES if case["kind"] == kind]
        assert set(verdicts) == {"invalid", "parse-only" if kind.endswith("_parse") else "valid"}
        assert verdicts.count("invalid") >= 2, kind


def test_the_generator_makes_exactly_what_is_stored() -> None:
    made, stored = generate.build(), generate.stored()
    assert sorted(made) == sorted(stored)
    assert [path for path in made if made[path] != stored[path]] == []


def test_ids_are_unique_and_the_folder_is_small() -> None:
    assert len({case["id"] for case in CASES}) == len(CASES)
    assert sum(len(content) for content in generate.stored().values()) < MAX_SIZE


def test_pinned_roots_believe_none_of_these_cases() -> None:
    for case in CASES:
        if "trusted_roots" in case or "trusted_root_spki" in case:
            blind = {key: value for key, value in case.items() if not key.startswith("trusted_")}
            assert judge_vector(blind, read).got == "invalid", case["id"]
