"""One entry point: every failure becomes a finding with its id, and all are listed."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import MessageError
from atoll.evidence import document as documents
from atoll.evidence.appraise import appraise_document
from atoll.evidence.certs import Signer
from atoll.evidence.document import EvidenceDocument
from atoll.evidence.findings import Appraisal, Finding, Outcome, Verdict
from atoll.evidence.policy import UNCHECKED
from atoll.evidence.products import Product
from atoll.evidence.snp import AbiVersion, GuestPolicy, PlatformInfo, ReportBody
from atoll.evidence.snp_findings import Subject, snp_findings
from atoll.evidence.trust import PRODUCTION
from atoll.wire import schema
from support import evidence
from support.evidence import MANIFEST, NONCE, NOW, TCB, Binding

BASE = 0x30133


def _appraise(document: EvidenceDocument | bytes, **options: Any) -> Appraisal:
    raw = document if isinstance(document, bytes) else documents.encode(document)
    given: dict[str, Any] = {
        "trust": evidence.trust(),
        "policy": evidence.policy(),
        "manifest_digest": MANIFEST,
        "nonce": NONCE,
        "now": NOW,
    }
    return appraise_document(raw, **(given | options))


def _failed(appraisal: Appraisal) -> list[str]:
    return [item.id for item in appraisal.findings if item.outcome is Outcome.FAIL]


def test_good_evidence_passes_and_is_called_simulated() -> None:
    document = evidence.document()
    appraisal = _appraise(document)
    assert appraisal.passed
    assert (appraisal.verdict, appraisal.reason) == (Verdict.PASS, "")
    assert appraisal.simulated
    assert appraisal.claims["measurement"] == evidence.MEASUREMENT.hex()
    assert appraisal.claims["product"] == "Simulated"
    assert appraisal.evidence_digest == documents.digest(documents.encode(document)).hex()
    assert appraisal.policy_digest == evidence.policy().digest.hex()


def test_an_appraisal_has_no_finding_of_another_name() -> None:
    with pytest.raises(KeyError):
        _appraise(evidence.document()).finding("snp.nothing")


def test_ids_are_unique_and_the_same_for_good_and_bad_evidence() -> None:
    good = [item.id for item in _appraise(evidence.document()).findings]
    bad = [item.id for item in _appraise(evidence.document(), trust=PRODUCTION).findings]
    assert len(set(good)) == len(good)
    assert set(good) == set(bad)


def test_the_production_store_refuses_simulated_evidence_and_still_says_simulated() -> None:
    appraisal = _appraise(evidence.document(), trust=PRODUCTION)
    assert appraisal.reason == "snp.root"
    assert appraisal.finding("snp.root").actual.startswith("evidence.untrusted_root")
    assert appraisal.simulated
    assert appraisal.claims == {}


def test_evidence_under_another_root_fails_at_the_root() -> None:
    assert _appraise(evidence.document(signer=evidence.other_chain())).reason == "snp.root"


def test_evidence_for_another_manifest_fails_there_alone() -> None:
    document = evidence.document(binding=Binding(manifest_digest=b"\x99" * 32))
    assert _failed(_appraise(document)) == ["document.manifest"]


def test_evidence_for_another_challenge_fails_there_alone() -> None:
    document = evidence.document(binding=Binding(nonce=b"\x98" * 32))
    assert _failed(_appraise(document)) == ["document.nonce"]
    assert _appraise(document, nonce=None).passed
    assert _appraise(document, nonce=None).finding("document.nonce").outcome is Outcome.UNCHECKED


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
    assert _failed(_appraise(document)) == ["snp.report_data"]


def test_a_document_edited_to_the_expected_manifest_fails_at_report_data() -> None:
    other = evidence.document(binding=Binding(manifest_digest=b"\x99" * 32))
    assert _failed(_appraise(replace(other, manifest_digest=MANIFEST))) == ["snp.report_data"]
    stale = evidence.document(binding=Binding(nonce=b"\x98" * 32))
    assert _failed(_appraise(replace(stale, nonce=NONCE))) == ["snp.report_data"]


def test_stale_certificates_fail_at_the_chain() -> None:
    appraisal = _appraise(evidence.document(), now=NOW + timedelta(days=3000))
    assert appraisal.reason == "snp.chain"
    assert appraisal.finding("snp.chain").actual.startswith("evidence.expired")


def test_all_findings_are_listed_also_when_authenticity_fails_first() -> None:
    document = evidence.document(
        signer=evidence.other_chain(), policy=BASE | GuestPolicy.DEBUG, measurement=b"\x55" * 48
    )
    failed = _failed(_appraise(document, manifest_digest=b"\x77" * 32))
    assert failed[0] == "snp.root"
    assert {"document.manifest", "snp.debug", "snp.measurement", "snp.signature"} <= set(failed)


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
    appraisal = _appraise(evidence.document(**changes))
    assert appraisal.reason == step
    assert appraisal.finding("snp.root").outcome is Outcome.PASS


def test_a_broken_signature_fails_at_the_signature() -> None:
    document = evidence.document()
    report = bytearray(document.report)
    report[0x2A0] ^= 1
    appraisal = _appraise(replace(document, report=bytes(report)))
    assert _failed(appraisal)[0] == "snp.signature"
    assert appraisal.finding("snp.hwid").outcome is Outcome.PASS


@pytest.mark.parametrize("report", [b"x", bytes(1184)])
def test_a_report_that_does_not_parse_fails_there(report: bytes) -> None:
    assert _appraise(replace(evidence.document(), report=report)).reason == "snp.report"


POLICY_CASES: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    # id, policy that passes, policy that fails, changes to the report (for both)
    ("snp.debug", {"allow_debug": True}, {}, {"policy": BASE | GuestPolicy.DEBUG}),
    ("snp.migrate_ma", {"allow_migrate_ma": True}, {}, {"policy": BASE | GuestPolicy.MIGRATE_MA}),
    ("snp.smt", {"allow_smt": True}, {"allow_smt": False}, {}),
    ("snp.vmpl", {"vmpls": frozenset({0, 2})}, {}, {"vmpl": 2}),
    ("snp.vmpl", {"vmpls": UNCHECKED}, {"vmpls": frozenset()}, {}),
    ("snp.measurement", {"measurements": frozenset({bytes(48)})}, {}, {"measurement": bytes(48)}),
    ("snp.measurement", {"measurements": UNCHECKED}, {"measurements": frozenset()}, {}),
    ("snp.host_data", {"host_data": b"h" * 32}, {"host_data": bytes(32)}, {"host_data": b"h" * 32}),
    ("snp.family_id", {"family_id": bytes(16)}, {"family_id": b"f" * 16}, {}),
    ("snp.image_id", {"image_id": bytes(16)}, {"image_id": b"f" * 16}, {}),
    ("snp.guest_svn", {"minimum_guest_svn": 3}, {"minimum_guest_svn": 4}, {"guest_svn": 3}),
    (
        "snp.id_key",
        {"id_key_digests": frozenset({b"k" * 48})},
        {"id_key_digests": frozenset({bytes(48)})},
        {"id_key_digest": b"k" * 48},
    ),
    (
        "snp.author_key",
        {"author_key_digests": frozenset({b"a" * 48})},
        {"author_key_digests": frozenset({bytes(48)})},
        {"author_key_digest": b"a" * 48, "author_key_en": True},
    ),
    (
        "snp.author_key",
        {"author_key_digests": UNCHECKED},
        {"author_key_digests": frozenset({b"a" * 48})},
        {"author_key_digest": b"a" * 48, "author_key_en": False},
    ),
    (
        "snp.chip_id",
        {"chip_ids": frozenset({evidence.CHIP_ID})},
        {"chip_ids": frozenset({bytes(64)})},
        {},
    ),
    ("snp.key_kind", {"signers": UNCHECKED}, {"signers": frozenset({Signer.VLEK})}, {}),
    ("snp.product_line", {"products": UNCHECKED}, {"products": frozenset({Product.MILAN})}, {}),
    (
        "snp.provisional",
        {"allow_provisional_firmware": True},
        {},
        {"committed_tcb": bytes.fromhex("03010000000018db")},
    ),
    ("snp.provisional", {"allow_provisional_firmware": True}, {}, {"committed_version": (1, 0, 0)}),
    (
        "snp.platform.required",
        {"platform_info_required": PlatformInfo.ECC_EN | PlatformInfo.SMT_EN},
        {"platform_info_required": PlatformInfo.ECC_EN | PlatformInfo.TSME_EN},
        {},
    ),
    (
        "snp.platform.forbidden",
        {"platform_info_forbidden": PlatformInfo.TSME_EN},
        {"platform_info_forbidden": PlatformInfo.TSME_EN | PlatformInfo.SMT_EN},
        {},
    ),
    ("snp.revocation", {"require_crl": False}, {"require_crl": True}, {}),
    *(
        (
            f"snp.{prefix}tcb.{name}",
            {f"minimum_{prefix}tcb": TCB},
            {f"minimum_{prefix}tcb": replace(TCB, **{name: value + 1})},
            {},
        )
        for prefix in ("", "launch_", "committed_", "current_")
        for name, value in TCB.components()
    ),
    *(
        (
            f"snp.{which}_version",
            {f"minimum_{which}_version": AbiVersion(1, 55)},
            {f"minimum_{which}_version": AbiVersion(*least)},
            {"current_version": (1, 55, 21), "committed_version": (1, 55, 21)},
        )
        for which in ("current", "committed")
        for least in ((1, 56), (2, 0))
    ),
    *(
        (
            f"snp.{which}_build",
            {f"minimum_{which}_build": 21},
            {f"minimum_{which}_build": 22},
            {"current_version": (1, 55, 21), "committed_version": (1, 55, 21)},
        )
        for which in ("current", "committed")
    ),
    (
        "snp.policy.required",
        {"guest_policy_required": GuestPolicy.SINGLE_SOCKET | GuestPolicy.RESERVED_ONE},
        {"guest_policy_required": GuestPolicy.SINGLE_SOCKET | GuestPolicy.RAPL_DIS},
        {"policy": BASE | GuestPolicy.SINGLE_SOCKET},
    ),
    (
        "snp.policy.forbidden",
        {"guest_policy_forbidden": GuestPolicy.CXL_ALLOW},
        {"guest_policy_forbidden": GuestPolicy.CXL_ALLOW | GuestPolicy.SINGLE_SOCKET},
        {"policy": BASE | GuestPolicy.SINGLE_SOCKET},
    ),
    *(
        (
            "snp.policy.abi",
            {"minimum_guest_abi": AbiVersion(1, 55)},
            {"minimum_guest_abi": AbiVersion(*least)},
            {"policy": BASE & ~0xFFFF | 1 << 8 | 55},
        )
        for least in ((1, 56), (2, 0))
    ),
    ("snp.id_block", {"require_id_block": False}, {"require_id_block": True}, {}),
    ("snp.author_key_en", {"require_author_key": False}, {"require_author_key": True}, {}),
    (
        "snp.report_id",
        {"report_ids": frozenset({evidence.REPORT_ID})},
        {"report_ids": frozenset({bytes(32)})},
        {},
    ),
    (
        "snp.report_id_ma",
        {"report_id_mas": frozenset({b"m" * 32})},
        {"report_id_mas": frozenset({b"\xff" * 32})},
        {"report_id_ma": b"m" * 32},
    ),
    (
        "snp.report_version",
        {"minimum_report_version": 3},
        {"minimum_report_version": 4},
        {"version": 3},
    ),
    (
        "snp.stepping",
        {"steppings": frozenset({1})},
        {"steppings": frozenset({0})},
        {"cpuid_step": 1},
    ),
    *(
        (
            f"snp.{which}_mitigations",
            {f"{which}_mitigations_required": b"\x01" + bytes(7)},
            {f"{which}_mitigations_required": b"\x01\x01" + bytes(6)},
            {"version": 5, f"{which}_mit_vector": 3},
        )
        for which in ("launch", "current")
    ),
]


@pytest.mark.parametrize(("name", "passing", "failing", "changes"), POLICY_CASES)
def test_each_field_of_a_policy_can_pass_and_fail(
    name: str, passing: dict[str, Any], failing: dict[str, Any], changes: dict[str, Any]
) -> None:
    document = evidence.document(**changes)
    good = _appraise(document, policy=evidence.policy(**passing))
    assert good.passed, good.reason
    assert good.finding(name).outcome is not Outcome.FAIL
    bad = _appraise(document, policy=evidence.policy(**failing))
    assert _failed(bad) == [name]
    assert bad.finding(name).expected != bad.finding(name).actual


def test_a_signed_launch_and_a_vouched_owner_meet_what_is_required() -> None:
    policy = evidence.policy(require_id_block=True, require_author_key=True)
    document = evidence.document(id_key_digest=b"k" * 48, author_key_en=True)
    appraisal = _appraise(document, policy=policy)
    assert appraisal.passed
    for name in ("snp.id_block", "snp.author_key_en"):
        assert appraisal.finding(name).outcome is Outcome.PASS


def test_a_version_2_report_has_no_stepping_to_accept() -> None:
    body = ReportBody(version=2)
    policy = evidence.policy(steppings=frozenset({0}))
    findings = {item.id: item for item in snp_findings(Subject.claimed(body), policy)}
    assert findings["snp.stepping"].outcome is Outcome.FAIL


def test_a_report_that_is_not_verified_has_no_tcb_to_compare() -> None:
    document = evidence.document(signer=evidence.other_chain())
    policy = evidence.policy(minimum_launch_tcb=TCB, minimum_current_tcb=UNCHECKED)
    appraisal = _appraise(document, policy=policy)
    assert appraisal.finding("snp.launch_tcb.snp").outcome is Outcome.FAIL
    assert appraisal.finding("snp.launch_tcb.snp").actual == "not verified"
    assert appraisal.finding("snp.current_tcb.snp").outcome is Outcome.UNCHECKED


def test_a_higher_microcode_does_not_make_up_for_an_older_firmware() -> None:
    lowest = replace(TCB, snp=TCB.snp + 1, microcode=0)
    appraisal = _appraise(evidence.document(), policy=evidence.policy(minimum_tcb=lowest))
    assert _failed(appraisal) == ["snp.tcb.snp"]


def test_an_appraisal_travels_and_reads_back() -> None:
    for trust in (evidence.trust(), PRODUCTION):
        appraisal = _appraise(evidence.document(), trust=trust)
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
    base = _appraise(evidence.document())
    with pytest.raises(MessageError, match="do not follow"):
        replace(base, findings=(_finding(outcome),), verdict=verdict, reason=reason)


@given(st.binary(max_size=200))
@settings(max_examples=60)
def test_arbitrary_bytes_give_a_failed_appraisal_and_no_exception(raw: bytes) -> None:
    appraisal = _appraise(raw)
    assert appraisal.reason == "document.parse"
    assert appraisal.tee is None


@given(st.integers(0, 10_000), st.integers(1, 255))
@settings(max_examples=80)
def test_a_flipped_byte_anywhere_in_the_document_never_passes(at: int, flip: int) -> None:
    document = evidence.document()
    raw = bytearray(documents.encode(document))
    raw[at % len(raw)] ^= flip
    appraisal = _appraise(bytes(raw))
    changed = appraisal.finding("document.parse").outcome is Outcome.FAIL
    if not changed:
        read = documents.parse(bytes(raw))
        # The id of the enclave is a label that nothing commits to.
        changed = replace(read, enclave_id=document.enclave_id) != document
    assert appraisal.passed != changed
