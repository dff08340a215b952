"""Verify a SEV-SNP report and say of each step what became of it.

The findings, always all of them, in this order:

| id                       | what                                                        |
| snp.report               | the report parses                                           |
| snp.root                 | the chain ends in a trusted root                            |
| snp.chain                | the certificates are a valid chain at this time             |
| snp.crl                  | the revocation list, if there is one                        |
| snp.signer snp.product   | the report is of the chain's kind of key and of processor   |
| snp.tcb_match            | the chain's key was made for the reported TCB               |
| snp.hwid                 | the chain's key was made for this chip                      |
| snp.signature            | the processor signed the report                             |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from atoll.errors import EvidenceError
from atoll.evidence.chain import verify_chain
from atoll.evidence.findings import Finding, Outcome
from atoll.evidence.snp import AttestationReport
from atoll.evidence.steps import error_text, failed_steps, passed_step
from atoll.evidence.trust import TrustStore
from atoll.evidence.verify import VerifiedReport, verify_report

_RANKS: Final = {
    "snp.report": 0,
    "snp.root": 1,
    "snp.chain": 1,
    "snp.crl": 2,
    "snp.signer": 3,
    "snp.product": 3,
    "snp.tcb_match": 4,
    "snp.hwid": 5,
    "snp.signature": 6,
}
"""Steps of verification. When one fails, those of lower rank are known to have passed."""

STEP_OF: Final = {
    "evidence.untrusted_root": "snp.root",
    "evidence.revoked": "snp.crl",
    "evidence.crl_issuer": "snp.crl",
    "evidence.crl_signature": "snp.crl",
    "evidence.crl_expired": "snp.crl",
    "evidence.crl_not_yet_valid": "snp.crl",
    "evidence.unsigned": "snp.signer",
    "evidence.signer": "snp.signer",
    "evidence.product": "snp.product",
    "evidence.tcb_mismatch": "snp.tcb_match",
    "evidence.hwid": "snp.hwid",
    "evidence.signature": "snp.signature",
}
"""Which step an error code belongs to; the others belong to the phase they came from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """How far verification came: `report` if it parsed, `verified` if every step passed."""

    report: AttestationReport | None
    verified: VerifiedReport | None
    findings: tuple[Finding, ...]


def verify_steps(
    report: bytes,
    certs: Sequence[bytes],
    trust: TrustStore,
    *,
    now: datetime,
    crls: Sequence[bytes] = (),
) -> Steps:
    """Do what `verify.verify_snp` does, and never raise for bad evidence."""
    parsed = None
    phase = "snp.report"
    try:
        parsed = AttestationReport.from_bytes(report)
        phase = "snp.chain"
        chain = verify_chain(certs, trust, now=now, crls=crls)
        phase = "snp.tcb_match"
        verified = verify_report(parsed, chain, now=now)
    except EvidenceError as error:
        failed = STEP_OF.get(error.code, phase)
        findings = failed_steps(_RANKS, failed, error_text(error), optional="snp.crl")
        return Steps(report=parsed, verified=None, findings=findings)
    return Steps(report=parsed, verified=verified, findings=_passed_steps(verified))


def _passed_steps(verified: VerifiedReport) -> tuple[Finding, ...]:
    steps = []
    for step in _RANKS:
        if step == "snp.crl" and not verified.crl_checked:
            steps.append(
                Finding(
                    id=step,
                    outcome=Outcome.UNCHECKED,
                    field=step,
                    expected="not revoked",
                    actual="no revocation list was given",
                )
            )
        else:
            steps.append(passed_step(step))
    return tuple(steps)
