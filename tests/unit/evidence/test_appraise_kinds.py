"""Evidence documents of TDX and Keystone: judged as SEV-SNP's are, by their own steps."""

from dataclasses import replace
from datetime import timedelta
from functools import cache
from hashlib import sha256
from typing import Any

import pytest

from atoll.errors import MalformedEvidenceError
from atoll.evidence import document as documents
from atoll.evidence.appraise import appraise_document
from atoll.evidence.claims import tdx_claims
from atoll.evidence.dcap.collateral import verify_collateral
from atoll.evidence.dcap.verify import verify_quote
from atoll.evidence.document import EvidenceDocument, Tee
from atoll.evidence.ear import trust_vector
from atoll.evidence.findings import Appraisal, Outcome
from atoll.evidence.keystone.verify import DEVELOPMENT_DEVICE_KEY, DeviceKeys
from atoll.evidence.policy_forms import UNCHECKED
from atoll.evidence.tdx_findings import claimed_tdx_findings
from atoll.evidence.trust import PRODUCTION, TrustStore
from atoll.policy.templates import strict_keystone, strict_tdx
from support import dcap, evidence, vtpm
from support.dcap import Platform
from support.evidence import MANIFEST, NONCE, Binding
from support.keystone import DEVICE, ENCLAVE_HASH, SM, Content

NOW = dcap.NOW
MR_TD = b"\x2a" * 48
TRUST = TrustStore(
    roots=frozenset(),
    intel=dcap.roots(simulated=True),
    keystone=DeviceKeys(keys=frozenset({DEVICE.public})),
)
TDX_POLICY = strict_tdx(frozenset({MR_TD}))
KEYSTONE_POLICY = strict_keystone(frozenset({ENCLAVE_HASH}))
TDX_STEPS = [
    "tdx.quote",
    "tdx.collateral",
    "tdx.root",
    "tdx.chain",
    "tdx.crl",
    "tdx.platform",
    "tdx.qe",
    "tdx.signature",
    "tdx.module",
]


def _document(tee: Tee, report: bytes, **changes: Any) -> EvidenceDocument:
    return replace(evidence.document(), tee=tee, report=report, certs=(), **changes)


def _td(platform: Platform | None = None, **body: Any) -> EvidenceDocument:
    fields = {"mr_td": MR_TD, "report_data": Binding().report_data} | body
    base = platform or Platform()
    return _document(Tee.TDX, replace(base, body=dcap.td_report(**fields)).quote())


@cache
def _keystone_report(data: bytes) -> bytes:
    return Content(data=data).report()


def _keystone(**changes: Any) -> EvidenceDocument:
    return _document(Tee.KEYSTONE, _keystone_report(Binding().report_data), **changes)


def _appraise(document: EvidenceDocument, **options: Any) -> Appraisal:
    policies: dict[Tee, Any] = {
        Tee.SNP: evidence.policy(),
        Tee.TDX: TDX_POLICY,
        Tee.KEYSTONE: KEYSTONE_POLICY,
        Tee.VTPM: vtpm.policy(),
    }
    given: dict[str, Any] = {
        "trust": TRUST,
        "policy": policies[document.tee],
        "manifest_digest": MANIFEST,
        "nonce": NONCE,
        "now": NOW,
        "collateral": dcap.collateral(),
    }
    return appraise_document(documents.encode(document), **(given | options))


def _failed(appraisal: Appraisal) -> list[str]:
    return [item.id for item in appraisal.findings if item.outcome is Outcome.FAIL]


def test_a_good_td_passes_and_is_called_simulated_under_a_development_root() -> None:
    appraisal = _appraise(_td())
    assert appraisal.passed, appraisal.reason
    assert appraisal.tee is Tee.TDX
    assert appraisal.simulated
    assert appraisal.claims["mr_td"] == MR_TD.hex()
    assert appraisal.claims["tcb_status"] == "UpToDate"
    assert appraisal.policy_digest == TDX_POLICY.digest.hex()


def test_a_td_under_a_root_that_is_not_simulated_is_not_called_so() -> None:
    genuine = replace(TRUST, intel=dcap.roots())
    appraisal = _appraise(_td(), trust=genuine)
    assert appraisal.passed
    assert not appraisal.simulated
    assert set(trust_vector(appraisal).values()) == {2}
    assert trust_vector(_appraise(_td()))["hardware"] == 0


def test_a_good_keystone_enclave_passes() -> None:
    appraisal = _appraise(_keystone())
    assert appraisal.passed, appraisal.reason
    assert not appraisal.simulated
    assert appraisal.claims["enclave_hash"] == ENCLAVE_HASH.hex()
    assert appraisal.policy_digest == KEYSTONE_POLICY.digest.hex()


def test_the_published_device_key_is_simulated_also_when_it_fails() -> None:
    report = Content(data=Binding().report_data, device_public=DEVELOPMENT_DEVICE_KEY).report()
    appraisal = _appraise(_document(Tee.KEYSTONE, report))
    assert (appraisal.reason, appraisal.simulated) == ("keystone.root", True)
    assert appraisal.claims == {}


def test_a_production_trust_store_refuses_every_simulated_kind() -> None:
    assert not PRODUCTION.has_simulated
    assert _appraise(_td(), trust=PRODUCTION).reason == "tdx.root"
    assert _appraise(_keystone(), trust=PRODUCTION).reason == "keystone.root"
    snp = _appraise(evidence.document(), trust=PRODUCTION, now=evidence.NOW)
    assert snp.reason == "snp.root"


def test_an_empty_trust_store_believes_nothing() -> None:
    empty = TrustStore(roots=frozenset())
    assert not empty.has_simulated
    for document in (_td(), _keystone()):
        assert _appraise(document, trust=empty).reason.endswith(".root")


def test_a_trust_store_says_that_it_believes_a_simulated_kind() -> None:
    development = DeviceKeys(keys=frozenset({DEVELOPMENT_DEVICE_KEY}), allow_development=True)
    assert replace(PRODUCTION, intel=dcap.roots(simulated=True)).has_simulated
    assert replace(PRODUCTION, keystone=development).has_simulated
    assert not replace(PRODUCTION, keystone=TRUST.keystone).has_simulated


def test_a_development_root_for_sev_snp_leaves_the_other_kinds_as_they_are() -> None:
    store = TRUST.with_development_root(evidence.chain().ark_pem)
    assert (store.intel, store.keystone) == (TRUST.intel, TRUST.keystone)


@pytest.mark.parametrize("tee", list(Tee))
def test_evidence_of_a_kind_that_the_policy_is_not_about_fails(tee: Tee) -> None:
    document = {
        Tee.SNP: evidence.document(),
        Tee.TDX: _td(),
        Tee.KEYSTONE: _keystone(),
        Tee.VTPM: vtpm.document(),
    }[tee]
    others = (evidence.policy(), TDX_POLICY, KEYSTONE_POLICY, vtpm.policy())
    refused = 0
    for policy in others:
        appraisal = _appraise(document, policy=policy)
        refused += appraisal.reason == "document.tee"
        if appraisal.reason == "document.tee":
            assert appraisal.claims == {}
            assert [item.id for item in appraisal.findings] == ["document.parse", "document.tee"]
    assert refused == 3


def test_a_quote_without_collateral_is_refused_with_that_reason() -> None:
    appraisal = _appraise(_td(), collateral=None)
    assert appraisal.reason == "tdx.collateral"
    assert appraisal.finding("tdx.collateral").actual == "no collateral was given"
    assert appraisal.finding("tdx.quote").outcome is Outcome.PASS
    assert appraisal.finding("tdx.fmspc").outcome is Outcome.UNCHECKED


def test_collateral_that_was_verified_before_serves_until_it_expires() -> None:
    verified = verify_collateral(dcap.collateral(), TRUST.intel, now=NOW)
    assert _appraise(_td(), collateral=verified).passed
    late = verified.not_after + timedelta(seconds=1)
    stale = _appraise(_td(), collateral=verified, now=late)
    assert stale.reason == "tdx.collateral"
    assert stale.finding("tdx.collateral").actual.startswith("evidence.collateral_expired")


def test_expired_collateral_is_named_and_not_the_root() -> None:
    appraisal = _appraise(_td(), now=NOW + timedelta(days=365))
    assert appraisal.reason == "tdx.collateral"


@pytest.mark.parametrize(
    ("platform", "step"),
    [
        (Platform(qe_signer="attestation"), "tdx.qe"),
        (Platform(bound_key="other"), "tdx.qe"),
        (Platform(qe={"mr_signer": bytes(32)}), "tdx.qe"),
        (Platform(chain=dcap.pck_chain()[:2]), "tdx.chain"),
    ],
)
def test_a_step_of_verification_has_its_own_finding(platform: Platform, step: str) -> None:
    appraisal = _appraise(_td(platform))
    assert appraisal.reason == step
    before = TDX_STEPS[: TDX_STEPS.index(step)]
    passed = {name for name in before if appraisal.finding(name).outcome is Outcome.PASS}
    assert set(before) - passed <= {"tdx.root"}


def test_a_revoked_platform_fails_at_the_lists() -> None:
    collateral = dcap.collateral(pck_crl=dcap.pck_crl(dcap.PCK.serial))
    appraisal = _appraise(_td(), collateral=collateral)
    assert appraisal.reason == "tdx.crl"
    assert "evidence.revoked" in appraisal.finding("tdx.crl").actual


def test_a_changed_quote_fails_at_its_signature() -> None:
    document = _td()
    raw = bytearray(document.report)
    raw[48 + 136] ^= 1
    appraisal = _appraise(replace(document, report=bytes(raw)))
    assert appraisal.reason == "tdx.signature"
    assert {"tdx.signature", "tdx.module", "tdx.mr_td", "tdx.tcb_status"} == set(_failed(appraisal))


def test_a_module_that_is_not_intels_fails_there() -> None:
    assert _appraise(_td(mr_signer_seam=b"\x01" * 48)).reason == "tdx.module"


def test_collateral_of_another_platform_fails_there() -> None:
    info = dcap.signed(dcap.tcb_info(fmspc="000000000000"))
    appraisal = _appraise(_td(), collateral=dcap.collateral(tcb_info=info))
    assert appraisal.reason == "tdx.platform"


@pytest.mark.parametrize("report", [b"x", Platform.sgx().quote()])
def test_what_is_no_tds_quote_fails_there(report: bytes) -> None:
    appraisal = _appraise(_document(Tee.TDX, report))
    assert appraisal.reason == "tdx.quote"
    assert appraisal.finding("document.report_data").outcome is Outcome.FAIL


def test_certificates_in_the_document_serve_a_quote_that_brings_none() -> None:
    document = _td(Platform(certification=(3, bytes(404))))
    assert _appraise(replace(document, certs=dcap.pck_chain())).passed
    assert _appraise(replace(document, certs=(dcap.pem(*dcap.pck_chain()),))).passed
    for certs in ((), (b"\x30\x80",), dcap.pck_chain()[:2]):
        assert _appraise(replace(document, certs=certs)).reason == "tdx.chain"


@pytest.mark.parametrize(
    ("changes", "step"),
    [
        ({"report": b"x"}, "keystone.report"),
        ({"report": _keystone_report(b"another nonce")}, "document.report_data"),
    ],
)
def test_a_keystone_document_fails_where_it_is_wrong(changes: dict[str, Any], step: str) -> None:
    assert _appraise(replace(_keystone(), **changes)).reason == step


@pytest.mark.parametrize(
    ("content", "step"),
    [
        (Content(device=SM, device_public=DEVICE.public), "keystone.sm_signature"),
        (Content(sm=DEVICE, sm_public=SM.public), "keystone.signature"),
    ],
)
def test_a_keystone_signature_has_its_own_finding(content: Content, step: str) -> None:
    report = replace(content, data=Binding().report_data).report()
    appraisal = _appraise(_document(Tee.KEYSTONE, report))
    assert appraisal.reason == step
    assert appraisal.finding("keystone.root").outcome is Outcome.PASS
    assert appraisal.claims == {}


def test_keystone_has_no_certificates_to_bring() -> None:
    with pytest.raises(MalformedEvidenceError, match="no certificates"):
        documents.parse(documents.encode(replace(_keystone(), certs=(b"x",))))


@pytest.mark.parametrize("make", [_td, _keystone])
def test_a_stale_or_foreign_document_fails_at_the_binding(make: Any) -> None:
    stale = replace(make(), nonce=b"\x98" * 32)
    assert _failed(_appraise(stale)) == ["document.nonce", "document.report_data"]
    foreign = replace(make(), manifest_digest=b"\x99" * 32)
    assert _failed(_appraise(foreign)) == ["document.manifest", "document.report_data"]
    swapped = replace(make(), hpke_key=b"\x97" * 1216)
    assert _failed(_appraise(swapped)) == ["document.report_data"]


@pytest.mark.parametrize("make", [_td, _keystone])
def test_ids_are_unique_and_the_same_for_good_and_bad_evidence(make: Any) -> None:
    good = [item.id for item in _appraise(make()).findings]
    bad = [item.id for item in _appraise(make(), trust=PRODUCTION).findings]
    assert len(set(good)) == len(good)
    assert sorted(good) == sorted(bad)


def test_the_policys_fields_are_compared() -> None:
    assert _failed(_appraise(_td(), policy=strict_tdx(frozenset()))) == ["tdx.mr_td"]
    assert _failed(_appraise(_td(td_attributes=1))) == ["tdx.debug"]
    assert _failed(_appraise(_keystone(), policy=strict_keystone(frozenset()))) == [
        "keystone.enclave_hash"
    ]


def test_the_tcb_of_a_quote_that_is_not_verified_meets_no_minimum() -> None:
    policy = replace(TDX_POLICY, minimum_tcb_evaluation_data_number=1)
    appraisal = _appraise(_td(), policy=policy, collateral=None)
    assert {"tdx.tcb_evaluation", "tdx.tcb_status"} <= set(_failed(appraisal))
    lax = replace(TDX_POLICY, minimum_tcb_evaluation_data_number=UNCHECKED)
    told = _appraise(_td(), policy=lax, collateral=None).finding("tdx.tcb_evaluation")
    assert told.outcome is Outcome.UNCHECKED


def test_claims_and_findings_of_an_sgx_quote_are_a_bug() -> None:
    quote = Platform.sgx().quote()
    verified = verify_quote(quote, dcap.collateral("SGX"), dcap.roots(), now=NOW)
    with pytest.raises(TypeError):
        tdx_claims(verified)
    with pytest.raises(TypeError):
        claimed_tdx_findings(verified.quote, TDX_POLICY)


@pytest.mark.parametrize("make", [_td, _keystone])
def test_no_bit_of_a_document_is_ignored(make: Any) -> None:
    document = make()
    raw = documents.encode(document)
    given: dict[str, Any] = {
        "trust": TRUST,
        "manifest_digest": MANIFEST,
        "nonce": NONCE,
        "now": NOW,
        "collateral": verify_collateral(dcap.collateral(), TRUST.intel, now=NOW),
    }
    policy: Any = TDX_POLICY if document.tee is Tee.TDX else KEYSTONE_POLICY
    first = raw.index(document.report)
    signed = range(first, first + (48 + 584 if document.tee is Tee.TDX else 136), 61)
    for at in signed:
        changed = bytearray(raw)
        changed[at] ^= 1 << at % 8
        appraisal = appraise_document(bytes(changed), policy=policy, **given)
        assert not appraisal.passed, at
        assert appraisal.evidence_digest == sha256(bytes(changed)).hexdigest()
