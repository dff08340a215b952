"""`atoll attest explain` and `parse`: evidence for a person."""

from typing import Any

import pytest

from atoll.evidence.findings import Finding, Outcome
from atoll.evidence.judge import judge_vector
from atoll.evidence.snp import GuestPolicy
from atoll_cli.advice import advice
from atoll_cli.explanations import SENTENCES, sentence
from support import evidence, vectors
from unit.cli.attest import AT, REPORT_DATA, Files, verify
from unit.cli.console import Console, Said


def _explain(console: Console, files: Files, *more: str, **changes: Any) -> Said:
    return verify(console, files, *more, action="explain", **changes)


def test_the_verdict_comes_first_then_what_failed_and_what_to_do_then_what_holds(
    console: Console, files: Files
) -> None:
    lines = _explain(console, files, policy=0x30133 | GuestPolicy.DEBUG).out.splitlines()
    assert lines[0].startswith("FAIL: snp_report of Simulated, SIMULATED: snp.debug")
    assert lines[1:4] == [
        f"  {SENTENCES['snp.debug']} NO (snp.debug)",
        "      expected  clear",
        "      found     set",
    ]
    assert lines[4].startswith("      do        Release nothing: the host can read")
    assert lines.index("what holds") > 4


def test_a_pass_says_what_it_does_not_prove(console: Console, files: Files) -> None:
    said = _explain(console, files)
    assert said.status == 0
    assert "careful: Nobody said which code must run" in said.out
    assert "careful: Nobody said what the guest's own data must be" in said.out
    assert "careful: No revocation list was looked at" in said.out
    named = ("--measurement", evidence.MEASUREMENT.hex(), "--report-data", REPORT_DATA.hex())
    said = _explain(console, files, *named, "--json")
    assert [text.partition(":")[0] for text in said.document()["cautions"]] == [
        "No revocation list was looked at"
    ]


def test_a_pass_under_debugging_says_so(console: Console, files: Files) -> None:
    allow = files.policy({"allow_debug": True})
    said = _explain(console, files, "--policy", str(allow), policy=0x30133 | GuestPolicy.DEBUG)
    assert said.status == 0
    assert "careful: The guest is under debugging" in said.out


def test_a_failure_has_no_cautions_that_sound_like_a_pass(console: Console, files: Files) -> None:
    said = _explain(console, files, "--measurement", "00" * 48, "--json")
    assert said.document()["cautions"] == []


def test_the_document_has_a_question_for_each_check_and_advice_for_each_failure(
    console: Console, files: Files
) -> None:
    checks = _explain(console, files, "--measurement", "00" * 48, "--json").document()["checks"]
    assert all(item["question"].endswith((".", "?")) for item in checks)
    assert [item["id"] for item in checks if "advice" in item] == ["snp.measurement"]


def test_what_nobody_asked_is_listed_with_what_the_evidence_says(
    console: Console, files: Files
) -> None:
    said = _explain(console, files)
    assert f"snp.measurement          {evidence.MEASUREMENT.hex()}" in said.out
    assert "fmc 0, bootloader 4, tee 1, snp 24, microcode 219" in said.out
    fixed = ("--kind", "snp", "--certs", files.certs(), "--at", AT)
    alone = console("attest", "explain", files.report(), *fixed)
    assert "what the evidence says of it, unproven" in alone.out


def _reasons() -> list[str]:
    """Why the published vectors are refused, by the checks' ids."""
    cases = [case for kind in sorted(vectors.all_kinds()) for case in vectors.of_kind(kind)]
    return sorted({judge_vector(case, vectors.read).reason for case in cases} - {""})


def test_every_reason_of_the_vectors_has_a_question_and_advice_of_its_own() -> None:
    vectors.require()
    reasons = _reasons()
    assert len(reasons) > 80
    assert [reason for reason in reasons if sentence(reason).startswith("Does this hold")] == []
    launched = advice(_failed("snp.host_data"))
    by_launch = {reason for reason in reasons if advice(_failed(reason)) == launched}
    assert by_launch <= {
        "idblock.author_key_digest",
        "snp.author_key",
        "snp.author_key_en",
        "snp.family_id",
        "snp.host_data",
        "snp.id_key",
        "snp.image_id",
        "snp.platform.forbidden",
        "tdx.attributes.required",
        "tdx.mr_config_id",
        "tdx.mr_owner",
        "tdx.mr_seam",
        "tdx.mr_service_td",
    }


def _failed(name: str, actual: str = "another") -> Finding:
    return Finding(id=name, outcome=Outcome.FAIL, field=name, expected="holds", actual=actual)


@pytest.mark.parametrize(
    ("name", "actual", "word"),
    [
        ("snp.chain", "evidence.expired: VEK was valid until 2020", "current"),
        ("snp.crl", "evidence.revoked: SEV-Milan", "withdrawn"),
        ("snp.chain", "evidence.chain_incomplete: no ASK", "--certs"),
        ("snp.root", "evidence.untrusted_root: unknown", "--root"),
        ("snp.measurement", "00", "your code"),
        ("snp.tcb.microcode", "1", "firmware"),
    ],
)
def test_advice_follows_the_error_inside_a_step(name: str, actual: str, word: str) -> None:
    assert word in advice(_failed(name, actual))


def test_explains_each_step_and_both_values_of_a_failure(console: Console, files: Files) -> None:
    fixed = ("--kind", "snp", "--certs", files.certs(), "--root", files.root(), "--at", AT)
    said = console("attest", "explain", files.report(), *fixed, "--measurement", "00" * 48)
    assert said.status == 1
    assert SENTENCES["snp.signature"] in said.out
    assert "NO (snp.measurement)" in said.out
    assert "00" * 48 in said.out
    assert evidence.MEASUREMENT.hex() in said.out


def test_every_snp_check_has_a_sentence_of_its_own(console: Console, files: Files) -> None:
    checks = verify(console, files, "--json").document()["checks"]
    assert [
        item["id"] for item in checks if sentence(item["id"]).startswith("Does this hold")
    ] == []
    assert sentence("new.check") == "Does this hold: new: check?"


def test_parses_without_a_verdict(console: Console, files: Files) -> None:
    said = console("attest", "parse", files.report(), "--kind", "snp", "--json")
    assert said.status == 0
    assert said.document()["fields"]["report_data"] == REPORT_DATA.hex()
    assert "verdict" not in said.document()
    plain = console("attest", "parse", files.report(), "--kind", "snp_parse")
    assert evidence.MEASUREMENT.hex() in plain.out


def test_parsing_what_is_malformed_is_a_failure(console: Console, files: Files) -> None:
    bad = files.write("bad", b"x")
    said = console("attest", "parse", bad, "--kind", "tdx", "--json")
    assert said.status == 1
    assert said.document()["error"]["code"].startswith("evidence.")


def test_evidence_that_can_only_be_parsed_does_not_pass(console: Console, files: Files) -> None:
    said = console("attest", "verify", files.report(), "--kind", "snp_parse", "--json")
    assert (said.status, said.document()["reason"]) == (1, "not_verifiable")
    said = console("attest", "explain", files.report(), "--kind", "snp_parse")
    assert "nothing about it is proven" in said.out
