"""One case of a manifest through the verification API: its form, and what it is not told."""

from typing import Any

import pytest

from atoll.errors import InputError, NotFoundError
from atoll.evidence.judge import UNSUPPORTED, judge_vector
from support.reports import report


def _case(**fields: Any) -> dict[str, Any]:
    return {
        "id": "one",
        "kind": "snp_parse",
        "path": "a",
        "files": {},
        "policy": {},
        **fields,
    }


def test_a_vector_of_an_unknown_kind_is_unsupported() -> None:
    row = judge_vector(_case(kind="tdx_quote_v9"), lambda _: b"")
    assert (row.got, row.reason) == (UNSUPPORTED, "judge.kind")


def test_a_vector_is_never_told_what_is_expected() -> None:
    case = _case()
    for verdict in ("valid", "invalid", "parse-only", None, 7):
        row = judge_vector({**case, "expected": {"verdict": verdict}}, lambda _: report())
        assert row.got == "parse-only"


def _missing(path: str) -> bytes:
    raise NotFoundError(f"no {path}", code="file.not_found")


def test_a_vector_whose_file_is_missing_or_policy_unknown_is_invalid() -> None:
    assert judge_vector(_case(), _missing).reason == "file.not_found"
    row = judge_vector(_case(policy={"new": 1}), lambda _: report())
    assert (row.got, row.reason) == ("invalid", "policy.invalid")


@pytest.mark.parametrize(
    "fields",
    [
        {"path": 1},
        {"files": []},
        {"files": {"certs": [1]}},
        {"files": {"certs": 1}},
        {"policy": None},
        {"verify_time": "yesterday"},
        {"verify_time": "2026-01-01T00:00:00"},
        {"verify_time": 3},
        {"trusted_roots": "x"},
        {"trusted_roots": {"Milan": "zz"}},
        {"trusted_root_spki": 4},
    ],
)
def test_a_vector_of_another_form_is_invalid_with_that_reason(fields: dict[str, Any]) -> None:
    assert judge_vector(_case(**fields), lambda _: report()).reason == "vectors.case"


@pytest.mark.parametrize("fields", [{"id": 1}, {"kind": None}])
def test_a_vector_without_a_name_is_an_error(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        judge_vector(_case(**fields), lambda _: b"")
