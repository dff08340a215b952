"""`atoll vectors run` on the published vectors, and on manifests that were written here."""

import json
from pathlib import Path
from typing import Any

import pytest

from support import evidence, vectors
from unit.cli.console import Console


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "vectors"
    path.mkdir()
    (path / "report").write_bytes(evidence.guest().attest(bytes(64)))
    (tmp_path / "secret").write_bytes(evidence.guest().attest(bytes(64)))
    return path


def _case(**fields: Any) -> dict[str, Any]:
    return {
        "id": "one",
        "kind": "snp_parse",
        "path": "report",
        "expected": {"verdict": "parse-only"},
        **fields,
    }


def _write(folder: Path, *cases: Any) -> Path:
    (folder / "manifest.json").write_text(json.dumps({"vectors": cases}))
    return folder


def test_every_published_vector_agrees(console: Console) -> None:
    vectors.require()
    said = console("vectors", "run", vectors.folder(), "--json")
    rows = said.document()
    assert [row for row in rows if not row["agrees"]] == []
    assert [row for row in rows if row["got"] != row["expected"]] == []
    assert {row["kind"] for row in rows} == vectors.all_kinds()
    assert said.status == 0


def test_prints_a_line_per_vector_and_totals(console: Console, folder: Path) -> None:
    said = console("vectors", "run", _write(folder, _case(), _case(id="two", path="manifest.json")))
    assert said.status == 1
    lines = said.out.splitlines()
    assert lines[0].split() == ["ok", "one", "parse-only", "parse-only"]
    assert lines[1].split() == ["DIFFERS", "two", "parse-only", "invalid", "snp.report"]
    assert "snp_parse  1 of 2 agree" in lines
    assert "total      1 of 2 agree" in lines


def test_a_row_has_the_promised_keys(console: Console, folder: Path) -> None:
    (row,) = console("vectors", "run", _write(folder, _case()), "--json").document()
    assert row.keys() >= {"id", "kind", "expected", "got", "reason"}


@pytest.mark.parametrize(
    ("case", "agrees"),
    [
        (_case(), True),
        (_case(expected={"verdict": "valid"}), False),
        (_case(expected={}), False),
        (_case(expected=None), False),
        (_case(kind="unknown", expected={"verdict": "unsupported"}), False),
        (_case(kind="unknown", expected={"verdict": "invalid"}), False),
        (_case(kind="snp_report", expected={"verdict": "valid"}), False),
        (_case(path="none", expected={"verdict": "valid"}, strict_ok=True), True),
        (_case(path="none", expected={"verdict": "valid"}, strict_ok="yes"), False),
        (_case(path="none", expected={"verdict": "valid"}, lenient_ok=True), False),
        (_case(id=7), False),
        ({}, False),
    ],
)
def test_only_what_agrees_agrees(
    console: Console, folder: Path, case: dict[str, Any], *, agrees: bool
) -> None:
    said = console("vectors", "run", _write(folder, case), "--json")
    assert said.document()[0]["agrees"] is agrees
    assert said.status == (0 if agrees else 1)


def test_what_is_expected_does_not_change_what_is_got(console: Console, folder: Path) -> None:
    got = set()
    for verdict in ("valid", "invalid", "parse-only"):
        case = _case(expected={"verdict": verdict, "reason": "snp.debug"})
        rows = console("vectors", "run", _write(folder, case), "--json").document()
        got.add((rows[0]["got"], rows[0]["reason"]))
    assert len(got) == 1


@pytest.mark.parametrize("path", ["../secret", "/etc/hostname", "a\0b"])
def test_a_manifest_cannot_name_files_outside_its_folder(
    console: Console, folder: Path, path: str
) -> None:
    rows = console("vectors", "run", _write(folder, _case(path=path)), "--json").document()
    assert (rows[0]["got"], rows[0]["reason"]) == ("invalid", "vectors.path")


def test_a_manifest_without_cases_does_not_pass(console: Console, folder: Path) -> None:
    assert console("vectors", "run", _write(folder)).status == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"vectors": 1}', '{"vectors": [1]}', "[" * 9999])
def test_what_is_no_manifest_is_a_usage_error(console: Console, folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text)
    assert console("vectors", "run", folder).status == 2


def test_a_folder_without_manifest_is_a_usage_error(console: Console, folder: Path) -> None:
    assert console("vectors", "run", folder).status == 2
    assert console("vectors", "run", folder / "none").status == 2
