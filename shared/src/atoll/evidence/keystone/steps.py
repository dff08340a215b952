"""Verify a Keystone report and say of each step what became of it.

| id                    | what                                            |
| keystone.report       | the report parses                               |
| keystone.root         | the device's key is a trusted one               |
| keystone.sm_signature | the device signed the security monitor          |
| keystone.signature    | the security monitor signed the enclave         |
"""

from dataclasses import dataclass
from typing import Final

from atoll.errors import EvidenceError
from atoll.evidence.findings import Finding
from atoll.evidence.keystone.report import KeystoneReport
from atoll.evidence.keystone.verify import DeviceKeys, VerifiedKeystone, verify_keystone
from atoll.evidence.steps import error_text, failed_steps, passed_steps

_RANKS: Final = {
    "keystone.report": 0,
    "keystone.root": 1,
    "keystone.sm_signature": 2,
    "keystone.signature": 3,
}
_STEP_OF: Final = {
    "evidence.untrusted_device_key": "keystone.root",
    "evidence.sm_bad_signature": "keystone.sm_signature",
    "evidence.bad_signature": "keystone.signature",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeystoneSteps:
    """How far verification came: `report` if it parsed, `verified` if every step passed."""

    report: KeystoneReport | None
    verified: VerifiedKeystone | None
    findings: tuple[Finding, ...]


def verify_keystone_steps(raw: bytes, trust: DeviceKeys) -> KeystoneSteps:
    """Do what `verify.verify_keystone` does, and never raise for bad evidence."""
    report = None
    try:
        report = KeystoneReport.from_bytes(raw)
        verified = verify_keystone(raw, trust)
    except EvidenceError as error:
        step = _STEP_OF.get(error.code, "keystone.report")
        findings = failed_steps(_RANKS, step, error_text(error))
        return KeystoneSteps(report=report, verified=None, findings=findings)
    return KeystoneSteps(report=report, verified=verified, findings=passed_steps(_RANKS))
