"""`atoll receipt verify` and `atoll attest show` on files, with no stack anywhere."""

import json
from pathlib import Path

import pytest

from atoll.client.profile import Profile, ProfileFile
from atoll.wire.messages import Tee
from atoll_cli.session import BANNER
from support import evidence
from unit.cli import receipts
from unit.cli.console import Console


def test_verifies_a_receipt_offline_and_says_simulated(console: Console, tmp_path: Path) -> None:
    case = receipts.case(tmp_path)
    said = console("receipt", "verify", case.receipt, *case.options())
    assert said.status == 0, said.err
    assert "receipt verified" in said.out
    assert BANNER in said.out
    for check in ("snp.signature", "snp.measurement", "snp.report_data", "document.manifest"):
        assert f"pass       {check}" in said.out


def test_prints_one_document_with_json(console: Console, tmp_path: Path) -> None:
    case = receipts.case(tmp_path)
    document = console("receipt", "verify", case.receipt, "--json", *case.options()).document()
    assert document["verified"] is True
    assert document["simulated"] is True
    assert document["receipt"]["job_id"] == "job-1"
    assert document["evidence"]["verdict"] == "pass"


def test_takes_policy_and_root_from_the_profile(console: Console, tmp_path: Path) -> None:
    case = receipts.case(tmp_path)
    ProfileFile(console.home).save(
        Profile(
            nats_url="nats://127.0.0.1:1",
            nats_creds="x",
            tee=Tee.SIMULATED,
            policy=json.dumps(
                json.loads(case.policy.read_text()), separators=(",", ":"), sort_keys=True
            ),
            development_root=case.root.read_text(),
        )
    )
    assert console("receipt", "verify", case.receipt).status == 0


def test_without_any_policy_the_answer_is_no(console: Console, tmp_path: Path) -> None:
    case = receipts.case(tmp_path)
    said = console("receipt", "verify", case.receipt, "--json", "--root", case.root)
    assert said.status == 1
    assert said.document()["error"]["code"] == "policy.missing"
    assert "--policy" in said.document()["error"]["hint"]


def test_without_its_root_a_simulated_receipt_is_refused(console: Console, tmp_path: Path) -> None:
    case = receipts.case(tmp_path)
    said = console("receipt", "verify", case.receipt, "--json", "--policy", case.policy)
    assert said.status == 1
    assert said.document()["error"]["code"] == "receipt.appraisal"
    assert "snp.root" in said.document()["error"]["message"]


def test_refuses_another_measurement(console: Console, tmp_path: Path) -> None:
    policy = evidence.policy(measurements=frozenset({bytes(48)}))
    case = receipts.case(tmp_path, policy=policy)
    said = console("receipt", "verify", case.receipt, *case.options())
    assert said.status == 1
    assert "error: " in said.err
    assert "snp.measurement" in said.err
    assert "receipt verified" not in said.out


@pytest.mark.parametrize("at", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_refuses_a_changed_receipt(console: Console, tmp_path: Path, at: float) -> None:
    case = receipts.case(tmp_path)
    raw = bytearray(case.receipt.read_bytes())
    raw[int(len(raw) * at)] ^= 1
    case.receipt.write_bytes(raw)
    said = console("receipt", "verify", case.receipt, "--json", *case.options())
    assert said.status == 1
    assert said.document()["error"]["code"].startswith("receipt.")


@pytest.mark.parametrize("raw", [b"", b"\xff\xfe", b"{}", b"[" * 100_000, b'{"version": 1e999}'])
def test_refuses_what_is_no_receipt(console: Console, tmp_path: Path, raw: bytes) -> None:
    case = receipts.case(tmp_path)
    case.receipt.write_bytes(raw)
    said = console("receipt", "verify", case.receipt, "--json", *case.options())
    assert said.status == 1
    assert said.document()["error"]["code"].startswith("receipt.")


@pytest.mark.parametrize("raw", [b"", b"{}", b"\xff", b"[" * 100_000, b'{"tee": 1, "tee": 2}'])
def test_refuses_what_is_no_policy(console: Console, tmp_path: Path, raw: bytes) -> None:
    case = receipts.case(tmp_path)
    case.policy.write_bytes(raw)
    said = console("receipt", "verify", case.receipt, "--json", *case.options())
    assert said.status == 1
    assert said.document()["error"]["code"].startswith(("policy.", "json."))


def test_a_missing_file_is_a_wrong_argument(console: Console, tmp_path: Path) -> None:
    assert console("receipt", "verify", tmp_path / "nothing.json").status == 2


def test_shows_the_evidence_in_a_receipt(console: Console, tmp_path: Path) -> None:
    case = receipts.case(tmp_path)
    said = console("attest", "show", case.receipt, "--verbose", *case.options())
    assert said.status == 0, said.err
    assert BANNER in said.out
    assert evidence.MEASUREMENT.hex() in said.out
    assert "expected" in said.out


def test_evidence_for_another_manifest_fails_by_name(console: Console, tmp_path: Path) -> None:
    case = receipts.case(tmp_path)
    wrong = ("--manifest-digest", "77" * 32)
    said = console("attest", "show", case.receipt, "--json", *wrong, *case.options())
    assert said.status == 1
    document = said.document()
    assert document["error"]["code"] == "evidence.refused"
    failed = {item["id"]: item for item in document["findings"] if item["outcome"] == "fail"}
    assert set(failed) == {"document.manifest"}
    assert failed["document.manifest"]["expected"] == "77" * 32


def test_shows_expected_and_actual_of_a_failed_check(console: Console, tmp_path: Path) -> None:
    policy = evidence.policy(measurements=frozenset({bytes(48)}))
    case = receipts.case(tmp_path, policy=policy)
    said = console("attest", "show", case.receipt, *case.options())
    assert said.status == 1
    assert "FAIL       snp.measurement" in said.out
    assert bytes(48).hex() in said.out
    assert evidence.MEASUREMENT.hex() in said.out


def test_any_file_gets_an_appraisal_and_no_traceback(console: Console, tmp_path: Path) -> None:
    case = receipts.case(tmp_path)
    noise = tmp_path / "noise"
    noise.write_bytes(bytes(range(256)))
    said = console("attest", "show", noise, "--json", *case.options())
    assert said.status == 1
    assert said.document()["reason"] == "document.parse"


@pytest.mark.parametrize("digest", ["", "zz", "77" * 31])
def test_a_digest_that_is_none_is_a_wrong_option(
    console: Console, tmp_path: Path, digest: str
) -> None:
    case = receipts.case(tmp_path)
    said = console("attest", "show", case.receipt, "--manifest-digest", digest, *case.options())
    assert said.status == 2


def test_refuses_a_subject_that_is_neither_file_nor_id(console: Console, tmp_path: Path) -> None:
    case = receipts.case(tmp_path)
    said = console("attest", "show", "../up", *case.options())
    assert said.status == 2
    assert "no such file" in said.err
