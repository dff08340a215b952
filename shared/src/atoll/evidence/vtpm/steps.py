"""Verify evidence of a virtual TPM and say of each step what became of it.

| id             | what                                                              |
| vtpm.report    | the report parses                                                 |
| vtpm.log       | the boot log parses                                               |
| vtpm.chain     | a trusted authority certified the attestation key, and still does |
| vtpm.signature | that key signed the quote, and it is one                          |
| vtpm.registers | it is of the registers that it must be of, with these values      |
| vtpm.replay    | the boot log replays to them                                      |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from atoll.errors import EvidenceError
from atoll.evidence.eventlog.pcr_log import PcrLog
from atoll.evidence.findings import Finding
from atoll.evidence.steps import error_text, failed_steps, passed_steps
from atoll.evidence.tpm.quote import Attest
from atoll.evidence.vtpm.chain import VtpmRoots, verify_ak_chain
from atoll.evidence.vtpm.report import VtpmReport
from atoll.evidence.vtpm.verify import VerifiedVtpm, verify_vtpm

_RANKS: Final = {
    "vtpm.report": 0,
    "vtpm.log": 1,
    "vtpm.chain": 2,
    "vtpm.signature": 3,
    "vtpm.registers": 4,
    "vtpm.replay": 5,
}
_STEP_OF: Final = {
    "evidence.tpm_bad_signature": "vtpm.signature",
    "evidence.tpm_not_quote": "vtpm.signature",
    "evidence.pcr_selection": "vtpm.registers",
    "evidence.pcr_digest_mismatch": "vtpm.registers",
    "evidence.pcr_replay": "vtpm.replay",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class VtpmSteps:
    """How far verification came: what parsed, and `verified` if every step passed."""

    report: VtpmReport | None = None
    log: PcrLog | None = None
    extra_data: bytes = b""
    """What the quote says that it answers, proven only with `verified`."""
    verified: VerifiedVtpm | None = None
    findings: tuple[Finding, ...] = ()


def verify_vtpm_steps(
    raw: bytes, certs: Sequence[bytes], roots: VtpmRoots, *, now: datetime
) -> VtpmSteps:
    """Do what `verify.verify_vtpm` does, and never raise for bad evidence."""
    report, log, extra = None, None, b""
    step = "vtpm.report"
    try:
        report = VtpmReport.from_bytes(raw)
        step = "vtpm.log"
        log = PcrLog.from_bytes(report.event_log)
        extra = _claimed(report.attest)
        step = "vtpm.chain"
        verify_ak_chain(certs, roots, now=now)
        step = "vtpm.signature"
        verified = verify_vtpm(report, certs, roots, now=now)
    except EvidenceError as error:
        failed = _STEP_OF.get(error.code, step)
        findings = failed_steps(_RANKS, failed, error_text(error))
        return VtpmSteps(report=report, log=log, extra_data=extra, findings=findings)
    return VtpmSteps(
        report=report,
        log=log,
        extra_data=extra,
        verified=verified,
        findings=passed_steps(_RANKS),
    )


def _claimed(raw: bytes) -> bytes:
    """What a quote answers, if it can be read; that it cannot is said where it is verified."""
    try:
        return Attest.from_bytes(raw).extra_data
    except EvidenceError:
        return b""
