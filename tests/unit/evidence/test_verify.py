"""Authenticity: simulated chains bit by bit, and published evidence case by case."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from atoll.errors import EvidenceError, InputError, RejectedEvidenceError
from atoll.evidence.cert_table import CertificateTable
from atoll.evidence.chain import VerifiedChain, verify_authorities, verify_chain, verify_crl
from atoll.evidence.findings import first_failed
from atoll.evidence.policy import UNCHECKED, SnpPolicy
from atoll.evidence.products import Product, TcbVersion
from atoll.evidence.snp import REPORT_SIZE, AttestationReport, PlatformInfo
from atoll.evidence.snp_findings import Subject, equal, snp_findings
from atoll.evidence.trust import PRODUCTION, TrustedRoot, TrustStore
from atoll.evidence.verify import VerifiedReport, verify_report, verify_snp
from support import evidence, vectors
from support.evidence import NOW

REPORT_DATA = b"\x42" * 64
P384_ORDER = int(
    "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf"
    "581a0db248b0a77aecec196accc52973",
    16,
)


def _warm() -> VerifiedChain:
    return verify_chain(evidence.chain().certificates, evidence.trust(), now=NOW)


def _report(**changes: Any) -> bytes:
    report = evidence.guest().attest(REPORT_DATA)
    return evidence.resign(report, **changes) if changes else report


def _code(report: bytes, **options: Any) -> str:
    given: dict[str, Any] = {
        "certs": evidence.chain().certificates,
        "trust": evidence.trust(),
        "now": NOW,
    }
    with pytest.raises(EvidenceError) as caught:
        verify_snp(report, **(given | options))
    return caught.value.code


def test_verifies_a_simulated_report_and_says_so() -> None:
    verified = verify_snp(_report(), evidence.chain().certificates, evidence.trust(), now=NOW)
    assert verified.simulated
    assert verified.product is Product.SIMULATED
    assert verified.body.report_data == REPORT_DATA
    assert verified.reported_tcb == evidence.TCB


def test_the_production_store_refuses_the_simulated_root() -> None:
    assert _code(_report(), trust=PRODUCTION) == "evidence.untrusted_root"
    assert not PRODUCTION.has_simulated


def test_an_empty_store_refuses_everything() -> None:
    assert _code(_report(), trust=TrustStore(roots=frozenset())) == "evidence.untrusted_root"


def test_refuses_a_chain_with_the_right_names_under_another_root() -> None:
    other = evidence.other_chain()
    report = evidence.resign(_report(), other)
    assert _code(report, certs=other.certificates) == "evidence.untrusted_root"


def test_refuses_a_vcek_that_another_authority_signed() -> None:
    chain, other = evidence.chain(), evidence.other_chain()
    mixed = (chain.vcek, other.ask, chain.ark)
    assert _code(_report(), certs=mixed) == "evidence.chain_signature"


def test_no_bit_of_a_report_is_ignored() -> None:
    good, chain = _report(), _warm()
    verify_report(AttestationReport.from_bytes(good), chain, now=NOW)
    for bit in range(REPORT_SIZE * 8):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(EvidenceError):
            verify_report(AttestationReport.from_bytes(bytes(bad)), chain, now=NOW)


@pytest.mark.parametrize("which", [0, 1, 2], ids=["vcek", "ask", "ark"])
def test_no_byte_of_a_certificate_is_ignored(which: int) -> None:
    good = evidence.chain().certificates
    for at in range(len(good[which])):
        bad = bytearray(good[which])
        bad[at] ^= 1 << at % 8
        certs = [*good[:which], bytes(bad), *good[which + 1 :]]
        with pytest.raises(EvidenceError):
            verify_chain(certs, evidence.trust(), now=NOW)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"signing_key": 7}, "evidence.unsigned"),
        ({"signing_key": 1}, "evidence.signer"),
        ({"cpuid_fam_id": 0x19, "cpuid_mod_id": 1}, "evidence.product"),
        ({"cpuid_fam_id": 0, "cpuid_mod_id": 0}, "evidence.product"),
        ({"reported_tcb": bytes.fromhex("04010000000018da")}, "evidence.tcb_mismatch"),
        ({"reported_tcb": bytes.fromhex("05010000000018db")}, "evidence.tcb_mismatch"),
        ({"reported_tcb": bytes.fromhex("04010000000118db")}, "evidence.malformed"),
        ({"chip_id": bytes(64)}, "evidence.hwid"),
        ({"chip_id": bytes(range(1, 65))}, "evidence.hwid"),
    ],
)
def test_refuses_a_well_signed_report_that_does_not_fit(changes: dict[str, Any], code: str) -> None:
    assert _code(_report(**changes)) == code


def test_a_masked_chip_id_is_accepted_only_with_the_flag_and_all_zero() -> None:
    chain = _warm()
    masked = AttestationReport.from_bytes(_report(mask_chip_key=True, chip_id=bytes(64)))
    assert verify_report(masked, chain, now=NOW).body.mask_chip_key
    assert _code(_report(mask_chip_key=True, chip_id=bytes(63) + b"\x01")) == "evidence.hwid"


def test_refuses_signature_values_outside_their_range() -> None:
    parsed = AttestationReport.from_bytes(_report())
    for r, s in (
        (0, parsed.signature_s),
        (parsed.signature_r, 0),
        (P384_ORDER, parsed.signature_s),
        (parsed.signature_r, P384_ORDER),
        (2**384 - 1, 2**384 - 1),
    ):
        bad = replace(parsed, signature_r=r, signature_s=s)
        with pytest.raises(RejectedEvidenceError, match="outside"):
            verify_report(bad, _warm(), now=NOW)


@pytest.mark.parametrize(
    ("moment", "code"),
    [
        (NOW - timedelta(days=2), "evidence.not_yet_valid"),
        (NOW + timedelta(days=365 * 8), "evidence.expired"),
        (NOW + timedelta(days=365 * 26), "evidence.expired"),
    ],
)
def test_refuses_a_chain_outside_its_validity_also_when_warm(moment: datetime, code: str) -> None:
    assert _code(_report(), now=moment) == code
    with pytest.raises(RejectedEvidenceError) as caught:
        verify_report(AttestationReport.from_bytes(_report()), _warm(), now=moment)
    assert caught.value.code == code


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_refuses_an_incomplete_chain(missing: int) -> None:
    certs = [one for at, one in enumerate(evidence.chain().certificates) if at != missing]
    assert _code(_report(), certs=certs) == "evidence.chain_incomplete"


def test_refuses_two_veks_because_one_would_be_a_guess() -> None:
    certs = (*evidence.chain().certificates, evidence.other_chain().vcek)
    assert _code(_report(), certs=certs) == "evidence.chain_incomplete"


def test_takes_the_chain_in_any_order_and_as_one_pem() -> None:
    chain = evidence.chain()
    reverse = tuple(reversed(chain.certificates))
    assert verify_chain(reverse, evidence.trust(), now=NOW).vek_der == chain.vcek
    pem = chain.to_pem().partition(b"-----BEGIN PRIVATE KEY")[0]
    assert verify_chain([pem], evidence.trust(), now=NOW).vek_der == chain.vcek


def test_only_an_ark_simulated_certificate_can_become_a_development_root() -> None:
    chain = evidence.chain()
    for raw in (chain.ask, chain.vcek, b"", b"-----", chain.ark + b"\x00"):
        with pytest.raises(InputError) as caught:
            PRODUCTION.with_development_root(raw)
        assert caught.value.code == "trust.development_root"
    both = PRODUCTION.with_development_root(chain.ark_pem)
    assert both.has_simulated
    assert PRODUCTION.roots < both.roots


def test_a_root_cannot_be_simulated_for_a_real_product() -> None:
    for product, simulated in ((Product.MILAN, True), (Product.SIMULATED, False)):
        with pytest.raises(ValueError, match="simulated"):
            TrustedRoot(product=product, spki_sha256=bytes(32), simulated=simulated)
    with pytest.raises(ValueError, match="32 bytes"):
        TrustedRoot(product=Product.MILAN, spki_sha256=bytes(31), simulated=False)


def _cases(kind: str) -> list[Any]:
    return [pytest.param(case, id=case["id"]) for case in vectors.of_kind(kind)]


def _roots(case: dict[str, Any]) -> TrustStore:
    if "trusted_roots" not in case:
        return PRODUCTION
    roots = {
        TrustedRoot(product=Product(name), spki_sha256=bytes.fromhex(digest), simulated=False)
        for name, digest in case["trusted_roots"].items()
    }
    return TrustStore(roots=frozenset(roots))


def _one(policy: dict[str, Any], key: str) -> Any:
    return frozenset({bytes.fromhex(policy[key])}) if key in policy else UNCHECKED


def _exact(policy: dict[str, Any], key: str) -> Any:
    return bytes.fromhex(policy[key]) if key in policy else UNCHECKED


def _policy(policy: dict[str, Any]) -> SnpPolicy:
    """The vectors' policy: what is absent is unchecked, but debug and migration are refused."""
    lowest = policy.get("min_tcb")
    return SnpPolicy(
        measurements=_one(policy, "measurement"),
        minimum_tcb=TcbVersion(**lowest) if lowest else UNCHECKED,
        minimum_launch_tcb=UNCHECKED,
        minimum_committed_tcb=UNCHECKED,
        minimum_current_tcb=UNCHECKED,
        minimum_current_version=UNCHECKED,
        minimum_committed_version=UNCHECKED,
        minimum_current_build=UNCHECKED,
        minimum_committed_build=UNCHECKED,
        allow_provisional_firmware=not policy.get("forbid_provisional", False),
        products=UNCHECKED,
        steppings=UNCHECKED,
        signers=UNCHECKED,
        csp_ids=UNCHECKED,
        minimum_report_version=UNCHECKED,
        vmpls=frozenset({policy["vmpl"]}) if "vmpl" in policy else UNCHECKED,
        allow_debug=policy.get("allow_debug", False),
        allow_migrate_ma=False,
        allow_smt=True,
        guest_policy_required=UNCHECKED,
        guest_policy_forbidden=UNCHECKED,
        minimum_guest_abi=UNCHECKED,
        host_data=_exact(policy, "host_data"),
        require_id_block=False,
        id_key_digests=_one(policy, "id_key_digest"),
        require_author_key=False,
        author_key_digests=_one(policy, "author_key_digest")
        if policy.get("require_author_key") and "author_key_digest" in policy
        else (frozenset() if policy.get("require_author_key") else UNCHECKED),
        family_id=_exact(policy, "family_id"),
        image_id=_exact(policy, "image_id"),
        chip_ids=_one(policy, "chip_id"),
        report_ids=UNCHECKED,
        report_id_mas=UNCHECKED,
        minimum_guest_svn=policy.get("min_guest_svn", UNCHECKED),
        platform_info_required=UNCHECKED,
        platform_info_forbidden=PlatformInfo.SMT_EN if policy.get("forbid_smt") else UNCHECKED,
        launch_mitigations_required=UNCHECKED,
        current_mitigations_required=UNCHECKED,
        require_crl=False,
    )


def _judge(verified: VerifiedReport, policy: dict[str, Any]) -> str:
    """The first failed finding, or an empty string."""
    findings = snp_findings(Subject.verified(verified), _policy(policy))
    data = _exact(policy, "report_data")
    digest = UNCHECKED if policy.get("require_author_key") else _exact(policy, "author_key_digest")
    body = verified.body
    extra = (
        equal("snp.report_data", "REPORT_DATA", data, body.report_data),
        # The vectors compare this digest also where no author key is in use.
        equal("snp.author_key", "AUTHOR_KEY_DIGEST", digest, body.author_key_digest),
    )
    return first_failed((*findings, *extra))


FINDING_OF = {
    "policy_vmpl": "snp.vmpl",
    "policy_debug": "snp.debug",
    "policy_migrate_ma": "snp.migrate_ma",
    "measurement_mismatch": "snp.measurement",
    "report_data_mismatch": "snp.report_data",
    "host_data_mismatch": "snp.host_data",
    "id_key_digest_mismatch": "snp.id_key",
    "author_key_digest_mismatch": "snp.author_key",
    "author_key_missing": "snp.author_key",
    "family_id_mismatch": "snp.family_id",
    "image_id_mismatch": "snp.image_id",
    "chip_id_mismatch": "snp.chip_id",
    "tcb_too_old": "snp.tcb.",
    "platform_smt": "snp.platform.forbidden",
    "guest_svn_too_old": "snp.guest_svn",
    "provisional_firmware": "snp.provisional",
}


def _verify_case(case: dict[str, Any], report: bytes, certs: list[bytes]) -> VerifiedReport:
    return verify_snp(
        report,
        certs,
        _roots(case),
        now=datetime.fromisoformat(case["verify_time"]),
        crls=[vectors.read(path) for path in case["files"].get("crls", [])],
    )


@pytest.mark.parametrize("case", _cases("snp_report"))
def test_agrees_with_a_published_report(case: dict[str, Any]) -> None:
    certs = [vectors.read(path) for path in case["files"]["certs"]]
    reason = case["expected"].get("reason", "")
    try:
        verified = _verify_case(case, vectors.read(case["path"]), certs)
    except EvidenceError:
        assert case["expected"]["verdict"] == "invalid"
        assert reason not in FINDING_OF
        return
    failed = _judge(verified, case["policy"])
    assert failed.startswith(FINDING_OF[reason]) if reason else not failed


@pytest.mark.parametrize("case", _cases("snp_extended_report"))
def test_agrees_with_a_published_extended_report(case: dict[str, Any]) -> None:
    raw = vectors.read(case["path"])
    try:
        certs = list(CertificateTable.from_bytes(raw[REPORT_SIZE:]).certificates())
        failed = _judge(_verify_case(case, raw[:REPORT_SIZE], certs), case["policy"])
    except EvidenceError:
        failed = "verification"
    assert (not failed) == (case["expected"]["verdict"] == "valid")


@pytest.mark.parametrize("case", _cases("snp_cert_chain"))
def test_agrees_with_a_published_certificate_chain(case: dict[str, Any]) -> None:
    certs = [vectors.read(path) for path in case["files"]["certs"]]
    now = datetime.fromisoformat(case["verify_time"])
    root = verify_authorities(certs, PRODUCTION, now=now)
    assert root.product.value == case["product"]
    with pytest.raises(RejectedEvidenceError):
        verify_authorities(certs, evidence.trust(), now=now)


@pytest.mark.parametrize("case", _cases("snp_crl"))
def test_agrees_with_a_published_revocation_list(case: dict[str, Any]) -> None:
    ark = vectors.read(case["files"]["issuer"])
    now = datetime.fromisoformat(case["verify_time"])
    try:
        crl = verify_crl(vectors.read(case["path"]), ark, now=now)
    except EvidenceError:
        assert case["expected"]["verdict"] == "invalid"
        return
    assert case["expected"]["verdict"] == "valid"
    assert sorted(f"{serial:x}" for serial in crl.serials) == case["fields"]["revoked_serials"]


def test_the_vectors_are_there() -> None:
    vectors.require()
    assert len(vectors.of_kind("snp_report")) > 150
