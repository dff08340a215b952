"""One entry point: every failure becomes a finding with its id, and all are listed."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import MessageError
from atoll.evidence import document as documents
from atoll.evidence.findings import Appraisal, Finding, Outcome, Verdict
from atoll.evidence.snp import GuestPolicy
from atoll.evidence.trust import PRODUCTION
from atoll.wire import schema
from support import evidence
from support.evidence import MANIFEST, NONCE, NOW, Binding
from support.reports import appraise, failed

BASE = 0x30133


def test_good_evidence_passes_and_is_called_simulated() -> None:
    document = evidence.document()
    appraisal = appraise(document)
    assert appraisal.passed
    assert (appraisal.verdict, appraisal.reason) == (Verdict.PASS, "")
    assert appraisal.simulated
    assert appraisal.claims["measurement"] == evidence.MEASUREMENT.hex()
    assert appraisal.claims["product"] == "Simulated"
    assert appraisal.evidence_digest == documents.digest(documents.encode(document)).hex()
    assert appraisal.policy_digest == evidence.policy().digest.hex()


def test_an_appraisal_has_no_finding_of_another_name() -> None:
    with pytest.raises(KeyError):
        appraise(evidence.document()).finding("snp.nothing")


def test_ids_are_unique_and_the_same_for_good_and_bad_evidence() -> None:
    good = [item.id for item in appraise(evidence.document()).findings]
    bad = [item.id for item in appraise(evidence.document(), trust=PRODUCTION).findings]
    assert len(set(good)) == len(good)
    assert set(good) == set(bad)


def test_the_production_store_refuses_simulated_evidence_and_still_says_simulated() -> None:
    appraisal = appraise(evidence.document(), trust=PRODUCTION)
    assert appraisal.reason == "snp.root"
    assert appraisal.finding("snp.root").actual.startswith("evidence.untrusted_root")
    assert appraisal.simulated
    assert appraisal.claims == {}


def test_evidence_under_another_root_fails_at_the_root() -> None:
    assert appraise(evidence.document(signer=evidence.other_chain())).reason == "snp.root"


def test_evidence_for_another_manifest_fails_there_alone() -> None:
    document = evidence.document(binding=Binding(manifest_digest=b"\x99" * 32))
    assert failed(appraise(document)) == ["document.manifest"]


def test_evidence_for_another_challenge_fails_there_alone() -> None:
    document = evidence.document(binding=Binding(nonce=b"\x98" * 32))
    assert failed(appraise(document)) == ["document.nonce"]
    assert appraise(document, nonce=None).passed
    assert appraise(document, nonce=None).finding("document.nonce").outcome is Outcome.UNCHECKED


@pytest.mark.parametrize(
    "swap",
    [
        {"signing_key": b"\x01" * 32},
        {"hpke_key": b"\x01" * 1216},
        {"report": "other"},
    ],
)
def test_evidence_of_another_enclave_fails_at_report_data(swap: dict[str, Any]) -> None:
    if swap.get("report"):
        swap = {"report": evidence.document(binding=Binding(hpke_key=b"\x07" * 1216)).report}
    document = replace(evidence.document(), **swap)
    assert failed(appraise(document)) == ["snp.report_data"]


def test_a_document_edited_to_the_expected_manifest_fails_at_report_data() -> None:
    other = evidence.document(binding=Binding(manifest_digest=b"\x99" * 32))
    assert failed(appraise(replace(other, manifest_digest=MANIFEST))) == ["snp.report_data"]
    stale = evidence.document(binding=Binding(nonce=b"\x98" * 32))
    assert failed(appraise(replace(stale, nonce=NONCE))) == ["snp.report_data"]


def test_stale_certificates_fail_at_the_chain() -> None:
    appraisal = appraise(evidence.document(), now=NOW + timedelta(days=3000))
    assert appraisal.reason == "snp.chain"
    assert appraisal.finding("snp.chain").actual.startswith("evidence.expired")


def test_all_findings_are_listed_also_when_authenticity_fails_first() -> None:
    document = evidence.document(
        signer=evidence.other_chain(), policy=BASE | GuestPolicy.DEBUG, measurement=b"\x55" * 48
    )
    names = failed(appraise(document, manifest_digest=b"\x77" * 32))
    assert names[0] == "snp.root"
    assert {"document.manifest", "snp.debug", "snp.measurement", "snp.signature"} <= set(names)


@pytest.mark.parametrize(
    ("changes", "step"),
    [
        ({"signing_key": 7}, "snp.signer"),
        ({"cpuid_fam_id": 0x19}, "snp.product"),
        ({"reported_tcb": bytes.fromhex("04010000000018da")}, "snp.tcb_match"),
        ({"chip_id": bytes(64)}, "snp.hwid"),
    ],
)
def test_a_step_of_verification_has_its_own_finding(changes: dict[str, Any], step: str) -> None:
    appraisal = appraise(evidence.document(**changes))
    assert appraisal.reason == step
    assert appraisal.finding("snp.root").outcome is Outcome.PASS


def test_a_broken_signature_fails_at_the_signature() -> None:
    document = evidence.document()
    report = bytearray(document.report)
    report[0x2A0] ^= 1
    appraisal = appraise(replace(document, report=bytes(report)))
    assert failed(appraisal)[0] == "snp.signature"
    assert appraisal.finding("snp.hwid").outcome is Outcome.PASS


@pytest.mark.parametrize("report", [b"x", bytes(1184)])
def test_a_report_that_does_not_parse_fails_there(report: bytes) -> None:
    assert appraise(replace(evidence.document(), report=report)).reason == "snp.report"


def test_an_appraisal_travels_and_reads_back() -> None:
    for trust in (evidence.trust(), PRODUCTION):
        appraisal = appraise(evidence.document(), trust=trust)
        assert schema.decode(Appraisal, schema.encode(appraisal)) == appraisal
        plain = schema.to_plain(appraisal, json=True)
        assert schema.from_plain(Appraisal, plain, json=True) == appraisal


def _finding(outcome: Outcome) -> Finding:
    return Finding(id="snp.x", outcome=outcome, field="f", expected="e", actual="a")


@pytest.mark.parametrize(
    ("outcome", "verdict", "reason"),
    [
        (Outcome.FAIL, Verdict.PASS, ""),
        (Outcome.FAIL, Verdict.PASS, "snp.x"),
        (Outcome.FAIL, Verdict.FAIL, "snp.y"),
        (Outcome.PASS, Verdict.FAIL, ""),
        (Outcome.PASS, Verdict.PASS, "snp.x"),
        (Outcome.UNCHECKED, Verdict.PASS, ""),
    ],
)
def test_an_appraisal_cannot_contradict_its_findings(
    outcome: Outcome, verdict: Verdict, reason: str
) -> None:
    base = appraise(evidence.document())
    with pytest.raises(MessageError, match="do not follow"):
        replace(base, findings=(_finding(outcome),), verdict=verdict, reason=reason)


@given(st.binary(max_size=200))
@settings(max_examples=60)
def test_arbitrary_bytes_give_a_failed_appraisal_and_no_exception(raw: bytes) -> None:
    appraisal = appraise(raw)
    assert appraisal.reason == "document.parse"
    assert appraisal.tee is None


@given(st.integers(0, 10_000), st.integers(1, 255))
@settings(max_examples=80)
def test_a_flipped_byte_anywhere_in_the_document_never_passes(at: int, flip: int) -> None:
    document = evidence.document()
    raw = bytearray(documents.encode(document))
    raw[at % len(raw)] ^= flip
    appraisal = appraise(bytes(raw))
    changed = appraisal.finding("document.parse").outcome is Outcome.FAIL
    if not changed:
        read = documents.parse(bytes(raw))
        # The id of the enclave is a label that nothing commits to.
        changed = replace(read, enclave_id=document.enclave_id) != document
    assert appraisal.passed != changed
