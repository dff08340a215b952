"""Judge evidence: is it genuine, is it about this job, does the policy accept it?

`appraise_document` is the one entry point, for the attestor and for every client. It
never raises for bad evidence: what is wrong becomes a failed finding, and all the
findings that can be made are made, so that a person sees everything at once. Once
authenticity has failed, the remaining fields are still compared, as what the report
merely says; the verdict is a failure regardless, and there are no claims.

The findings, in order (`*` stands for a field):

| id                       | what                                                        |
| document.parse           | the bytes are an evidence document                          |
| snp.report               | the report parses                                           |
| snp.root                 | the chain ends in a trusted root                            |
| snp.chain                | the certificates are a valid chain at this time             |
| snp.crl                  | the revocation list, if there is one                        |
| snp.signer snp.product   | the report is of the chain's kind of key and of processor   |
| snp.tcb_match            | the chain's key was made for the reported TCB               |
| snp.hwid                 | the chain's key was made for this chip                      |
| snp.signature            | the processor signed the report                             |
| document.manifest        | the evidence is for this manifest                           |
| document.nonce           | the evidence answers this challenge                         |
| snp.report_data          | the report commits to the keys, the manifest and the nonce  |
| snp.*                    | the policy's fields, see `snp_findings`                     |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from atoll.errors import EvidenceError
from atoll.evidence import document as documents
from atoll.evidence.document import EvidenceDocument
from atoll.evidence.findings import Appraisal, Finding, Outcome, Verdict, first_failed
from atoll.evidence.policy import SnpPolicy
from atoll.evidence.products import Product, product_of_cpuid
from atoll.evidence.snp import AttestationReport
from atoll.evidence.snp_findings import Subject, equal, finding, snp_findings
from atoll.evidence.snp_steps import error_text, verify_steps
from atoll.evidence.trust import TrustStore
from atoll.evidence.verify import VerifiedReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What evidence must be about. `nonce=None`: the appraiser sent no challenge itself."""

    manifest_digest: bytes
    nonce: bytes | None


def appraise_document(
    raw: bytes,
    *,
    trust: TrustStore,
    policy: SnpPolicy,
    manifest_digest: bytes,
    nonce: bytes | None,
    now: datetime,
    crls: Sequence[bytes] = (),
) -> Appraisal:
    """Judge an encoded evidence document.

    Args:
        raw: as published; any bytes.
        manifest_digest: of the manifest that the evidence must be for; empty for an
            enclave that has no job yet.
        nonce: the challenge that it must answer, or None if it was somebody else's.
            Without one, only `now` and the bound manifest speak for freshness.
    """
    try:
        document = documents.parse(raw)
    except EvidenceError as error:
        broken = finding("document.parse", "document", "an evidence document", error_text(error))
        return _appraisal(raw, None, policy, (broken,), verified=None, simulated=False)
    parsed = finding("document.parse", "document", "an evidence document", "version 1", passed=True)
    expected = Binding(manifest_digest=manifest_digest, nonce=nonce)
    steps = verify_steps(document.report, document.certs, trust, now=now, crls=crls)
    report, verified = steps.report, steps.verified
    findings = (parsed, *steps.findings, *_binding(document, report, expected))
    if report is None:
        simulated = False
    else:
        subject = Subject.verified(verified) if verified else Subject.claimed(report.body)
        findings += snp_findings(subject, policy)
        simulated = verified.simulated if verified else _says_simulated(report)
    return _appraisal(raw, document, policy, findings, verified=verified, simulated=simulated)


def _binding(
    document: EvidenceDocument, report: AttestationReport | None, expected: Binding
) -> tuple[Finding, ...]:
    committed = documents.expected_report_data(document)
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
        equal(
            "snp.report_data",
            "REPORT_DATA",
            committed,
            report.body.report_data if report else b"",
        ),
    )


def _appraisal(
    raw: bytes,
    document: EvidenceDocument | None,
    policy: SnpPolicy,
    findings: tuple[Finding, ...],
    *,
    verified: VerifiedReport | None,
    simulated: bool,
) -> Appraisal:
    reason = first_failed(findings)
    return Appraisal(
        tee=document.tee if document else None,
        verdict=Verdict.FAIL if reason else Verdict.PASS,
        reason=reason,
        simulated=simulated,
        policy_digest=policy.digest.hex(),
        evidence_digest=documents.digest(raw).hex(),
        findings=findings,
        claims=_claims(verified) if verified else {},
    )


def _claims(verified: VerifiedReport) -> dict[str, str]:
    body = verified.body
    tcb = " ".join(f"{name}={value}" for name, value in verified.reported_tcb.components())
    return {
        "product": verified.product.value,
        "signer": verified.signer.value,
        "measurement": body.measurement.hex(),
        "host_data": body.host_data.hex(),
        "report_data": body.report_data.hex(),
        "report_id": body.report_id.hex(),
        "chip_id": body.chip_id.hex(),
        "policy": f"0x{body.policy:x}",
        "platform_info": f"0x{body.platform_info:x}",
        "vmpl": str(body.vmpl),
        "guest_svn": str(body.guest_svn),
        "reported_tcb": tcb,
    }


def _says_simulated(report: AttestationReport) -> bool:
    body = report.body
    return product_of_cpuid(body.cpuid_fam_id, body.cpuid_mod_id) is Product.SIMULATED
