"""Judge evidence: is it genuine, is it about this job, does the policy accept it?

`appraise_document` is the one entry point, for the attestor and for every client. It
never raises for bad evidence: what is wrong becomes a failed finding, and all the
findings that can be made are made, so that a person sees everything at once. Once
authenticity has failed, the remaining fields are still compared, as what the report
merely says; the verdict is a failure regardless, and there are no claims.

The findings, in order (`*` stands for a field):

| id                       | what                                                        |
| document.parse           | the bytes are an evidence document                          |
| document.tee             | the evidence is of the kind that the policy is about        |
| snp.report to .signature | verification of a SEV-SNP report, see `snp_steps`           |
| tdx.quote to .module     | or of a TDX quote, see `tdx_steps`                          |
| keystone.report to .signature | or of a Keystone report, see `keystone.steps`          |
| vtpm.report to .replay   | or of a virtual TPM's quote and log, see `vtpm.steps`       |
| document.manifest        | the evidence is for this manifest                           |
| document.nonce           | the evidence answers this challenge                         |
| snp.report_data          | the report commits to the keys, the manifest and the nonce  |
| document.report_data     | the same of a TDX quote, a Keystone report or a TPM quote   |
| snp.* tdx.* keystone.* vtpm.* | the policy's fields, see `snp_findings` and its likes  |

A document of a kind that the policy is not about fails at `document.tee`, and nothing is
verified. Evidence of a virtual TPM is always marked as simulated: its host owns it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from atoll.errors import EvidenceError
from atoll.evidence import document as documents
from atoll.evidence.claims import keystone_claims, snp_claims, tdx_claims, vtpm_claims
from atoll.evidence.comparisons import equal, finding
from atoll.evidence.dcap.collateral import Collateral, VerifiedCollateral
from atoll.evidence.dcap.intel_chain import IntelRoots
from atoll.evidence.document import EvidenceDocument, Tee
from atoll.evidence.findings import Appraisal, Finding, Outcome, Verdict, first_failed
from atoll.evidence.keystone.findings import claimed_keystone_findings
from atoll.evidence.keystone.policy import KeystonePolicy
from atoll.evidence.keystone.steps import verify_keystone_steps
from atoll.evidence.keystone.verify import DEVELOPMENT_DEVICE_KEY
from atoll.evidence.policy import SnpPolicy
from atoll.evidence.products import Product, product_of_cpuid
from atoll.evidence.snp import AttestationReport
from atoll.evidence.snp_findings import Subject, snp_findings
from atoll.evidence.snp_steps import verify_steps
from atoll.evidence.steps import error_text
from atoll.evidence.tdx_findings import claimed_tdx_findings, tdx_findings
from atoll.evidence.tdx_policy import TdxPolicy
from atoll.evidence.tdx_steps import verify_tdx_steps
from atoll.evidence.trust import TrustStore
from atoll.evidence.vtpm.chain import VtpmRoots
from atoll.evidence.vtpm.findings import Subject as VtpmSubject
from atoll.evidence.vtpm.findings import vtpm_findings
from atoll.evidence.vtpm.policy import VtpmPolicy
from atoll.evidence.vtpm.report import qualifying_data
from atoll.evidence.vtpm.steps import verify_vtpm_steps

EvidencePolicy = SnpPolicy | TdxPolicy | KeystonePolicy | VtpmPolicy
"""A policy of any kind that a document can be of."""

_TEES: Final = {
    SnpPolicy: Tee.SNP,
    TdxPolicy: Tee.TDX,
    KeystonePolicy: Tee.KEYSTONE,
    VtpmPolicy: Tee.VTPM,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What evidence must be about. `nonce=None`: the appraiser sent no challenge itself."""

    manifest_digest: bytes
    nonce: bytes | None


def appraise_document(
    raw: bytes,
    *,
    trust: TrustStore,
    policy: EvidencePolicy,
    manifest_digest: bytes,
    nonce: bytes | None,
    now: datetime,
    certs: Sequence[bytes] = (),
    crls: Sequence[bytes] = (),
    collateral: Collateral | VerifiedCollateral | None = None,
    lacks: str = "",
) -> Appraisal:
    """Judge an encoded evidence document.

    Args:
        raw: as published; any bytes.
        manifest_digest: of the manifest that the evidence must be for; empty for an
            enclave that has no job yet.
        nonce: the challenge that it must answer, or None if it was somebody else's.
            Without one, only `now` and the bound manifest speak for freshness.
        certs: for SEV-SNP, of a document that brings none: what somebody else found.
        crls: AMD's, for SEV-SNP.
        collateral: what Intel signs about the platform, without which no TDX quote can
            pass. It comes from the caller and never from the enclave's document, so
            that verified collateral serves many quotes.
        lacks: why the collateral does not count, by whoever looked for it; then a TDX quote
            fails for that.
    """
    try:
        document = documents.parse(raw)
    except EvidenceError as error:
        broken = finding("document.parse", "document", "an evidence document", error_text(error))
        return _appraisal(raw, None, policy, (broken,), _Judged())
    expected = Binding(manifest_digest=manifest_digest, nonce=nonce)
    match document.tee, policy:
        case Tee.SNP, SnpPolicy():
            found = replace(document, certs=document.certs or tuple(certs))
            judged = _snp(found, policy, expected, trust, now=now, crls=crls)
        case Tee.TDX, TdxPolicy():
            usable = lacks or collateral
            judged = _tdx(document, policy, expected, trust.intel, now=now, collateral=usable)
        case Tee.KEYSTONE, KeystonePolicy():
            judged = _keystone(document, policy, expected, trust)
        case Tee.VTPM, VtpmPolicy():
            judged = _vtpm(document, policy, expected, trust.vtpm, now=now)
        case _:
            judged = _Judged()
    kind = _TEES[type(policy)].value
    before = (
        finding(
            "document.parse", "document", "an evidence document", documents.COLLECTION, passed=True
        ),
        finding("document.tee", "tee", kind, document.tee.value, passed=document.tee.value == kind),
    )
    return _appraisal(raw, document, policy, (*before, *judged.findings), judged)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """What came out of the part that depends on the kind."""

    findings: tuple[Finding, ...] = ()
    claims: Mapping[str, str] = field(default_factory=dict)
    simulated: bool = False
    product: str = ""
    tcb_status: str = ""


def _snp(
    document: EvidenceDocument,
    policy: SnpPolicy,
    expected: Binding,
    trust: TrustStore,
    *,
    now: datetime,
    crls: Sequence[bytes],
) -> _Judged:
    steps = verify_steps(document.report, document.certs, trust, now=now, crls=crls)
    report, verified = steps.report, steps.verified
    data = report.body.report_data if report else b""
    findings = (*steps.findings, *_binding(document, "snp.report_data", data, expected))
    if report is None:
        return _Judged(findings=findings)
    subject = Subject.verified(verified) if verified else Subject.claimed(report.body)
    return _Judged(
        findings=(*findings, *snp_findings(subject, policy)),
        claims=snp_claims(verified) if verified else {},
        simulated=verified.simulated if verified else _says_simulated(report),
        product=verified.product.value if verified else "",
    )


def _tdx(
    document: EvidenceDocument,
    policy: TdxPolicy,
    expected: Binding,
    roots: IntelRoots,
    *,
    now: datetime,
    collateral: Collateral | VerifiedCollateral | str | None,
) -> _Judged:
    steps = verify_tdx_steps(document.report, document.certs, roots, now=now, collateral=collateral)
    quote, verified = steps.quote, steps.verified
    data = quote.body.report_data if quote else b""
    findings = (*steps.findings, *_binding(document, "document.report_data", data, expected))
    if verified is not None:
        return _Judged(
            findings=(*findings, *tdx_findings(verified, policy)),
            claims=tdx_claims(verified),
            simulated=verified.simulated,
            tcb_status=verified.tcb.status.value,
        )
    if quote is not None:
        findings += claimed_tdx_findings(quote, policy)
    return _Judged(findings=findings)


def _keystone(
    document: EvidenceDocument, policy: KeystonePolicy, expected: Binding, trust: TrustStore
) -> _Judged:
    steps = verify_keystone_steps(document.report, trust.keystone)
    report = steps.report
    data = report.data if report else b""
    findings = (*steps.findings, *_binding(document, "document.report_data", data, expected))
    if report is None:
        return _Judged(findings=findings)
    return _Judged(
        findings=(*findings, *claimed_keystone_findings(report, policy)),
        claims=keystone_claims(report) if steps.verified else {},
        simulated=report.device_public_key == DEVELOPMENT_DEVICE_KEY,
    )


def _vtpm(
    document: EvidenceDocument,
    policy: VtpmPolicy,
    expected: Binding,
    roots: VtpmRoots,
    *,
    now: datetime,
) -> _Judged:
    steps = verify_vtpm_steps(document.report, document.certs, roots, now=now)
    report, verified = steps.report, steps.verified
    findings = (
        *steps.findings,
        *_binding(document, "document.report_data", steps.extra_data, expected),
    )
    if report is None:
        return _Judged(findings=findings, simulated=True)
    subject = VtpmSubject(
        registers=report.pcrs if verified is None else verified.registers,
        log=steps.log,
        host=None if verified is None else verified.ak.host,
    )
    return _Judged(
        findings=(*findings, *vtpm_findings(subject, policy)),
        claims={} if verified is None else vtpm_claims(verified),
        simulated=True,
    )


def _binding(
    document: EvidenceDocument, name: str, report_data: bytes, expected: Binding
) -> tuple[Finding, ...]:
    committed = documents.expected_report_data(document)
    if document.tee is Tee.VTPM:
        committed = qualifying_data(committed)
    nonce = Finding(
        id="document.nonce",
        outcome=Outcome.UNCHECKED,
        field="nonce",
        expected="no challenge of ours",
        actual=document.nonce.hex(),
    )
    if expected.nonce is not None:
        nonce = equal("document.nonce", "nonce", expected.nonce, document.nonce)
    return (
        equal(
            "document.manifest",
            "manifest_digest",
            expected.manifest_digest,
            document.manifest_digest,
        ),
        nonce,
        equal(name, "REPORT_DATA", committed, report_data),
    )


def _appraisal(
    raw: bytes,
    document: EvidenceDocument | None,
    policy: EvidencePolicy,
    findings: tuple[Finding, ...],
    judged: _Judged,
) -> Appraisal:
    reason = first_failed(findings)
    return Appraisal(
        tee=document.tee if document else None,
        verdict=Verdict.FAIL if reason else Verdict.PASS,
        reason=reason,
        simulated=judged.simulated,
        policy_digest=policy.digest.hex(),
        evidence_digest=documents.digest(raw).hex(),
        findings=findings,
        claims=dict(judged.claims),
        product=judged.product,
        tcb_status=judged.tcb_status,
    )


def _says_simulated(report: AttestationReport) -> bool:
    body = report.body
    return product_of_cpuid(body.cpuid_fam_id, body.cpuid_mod_id) is Product.SIMULATED
