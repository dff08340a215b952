"""Judge evidence of any kind, under a policy of any form, as an appraisal. Pure.

The kinds are those of `atoll.evidence.judge`, or their aliases; evidence documents are not
among them (see `records`). A policy is nothing (the safe defaults), requirements, or the section
of a policy document that is about the kind's TEE.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from atoll import canonical
from atoll.errors import EvidenceError
from atoll.evidence.comparisons import finding
from atoll.evidence.dcap import intel_chain
from atoll.evidence.document import Tee
from atoll.evidence.findings import Appraisal, Finding, Outcome, Verdict, first_failed
from atoll.evidence.judge import ALIASES, judge
from atoll.evidence.judgement import Roots
from atoll.evidence.keystone.report import KeystoneReport
from atoll.evidence.trust import TrustStore
from atoll.evidence.x509 import ders
from atoll.policy.document import PolicyDocument
from atoll.policy.sections import KEYSTONE, SECTIONS, SNP, TDX
from atoll.wire import names

SECTION_OF: Final[Mapping[str, str]] = {
    "snp_report": SNP,
    "snp_extended_report": SNP,
    "tdx_quote": TDX,
    "keystone_report": KEYSTONE,
}
"""Which section of a policy document is about which kind; none is about the others."""
NOT_VERIFIABLE: Final = "judge.not_verifiable"
COLLATERAL: Final = "judge.collateral"

_AMD: Final = frozenset(
    {"snp_report", "snp_extended_report", "snp_cert_chain", "snp_crl", "azure_hcl_snp"}
)
_INTEL: Final = frozenset(
    {
        "tdx_quote",
        "sgx_quote",
        "quote_crypto_only",
        "intel_pck_chain",
        "azure_hcl_tdx",
        "ratls_cert",
    }
)
_BOUND: Final = {"keystone_report": "data"}
_NAME: Final = re.compile(names.NAME)
_NO_ROOT: Final = bytes(32)
_MAX_CHECKS: Final = 128
_MAX_CLAIMS: Final = 64
_MAX_TEXT: Final = 1024
_MAX_REASON: Final = 64


def requirements(
    kind: str, document: PolicyDocument, report_data: bytes = b""
) -> dict[str, Any] | None:
    """What a document asks of evidence of this kind; None: it has no section about it."""
    tee = SECTION_OF.get(_named(kind), "")
    policy = document.sections.get(tee)
    if policy is None:
        return None
    plain: dict[str, Any] = canonical.loads(SECTIONS[tee].to_json(policy))
    return bound(kind, plain, report_data)


def bound(kind: str, policy: Mapping[str, Any], report_data: bytes) -> dict[str, Any]:
    """The same, and that evidence says this; empty `report_data` asks for nothing more."""
    name = _BOUND.get(_named(kind), "report_data")
    return {**policy, name: report_data.hex()} if report_data else dict(policy)


def roots_for(kind: str, evidence: bytes, trust: TrustStore) -> Roots:
    """What a trust store believes, as the verification API wants it for this evidence."""
    kind = _named(kind)
    if kind in _AMD:
        return Roots(amd_spki_sha256={one.product.value: one.spki_sha256 for one in trust.roots})
    if kind in _INTEL:
        believed = {one.spki_sha256 for one in trust.intel.roots}
        pinned = {one.spki_sha256 for one in intel_chain.PRODUCTION.roots}
        instead = None if pinned <= believed else frozenset({_NO_ROOT})
        return Roots(intel_spki_sha256=instead, intel_more_spki_sha256=frozenset(believed - pinned))
    if kind == "keystone_report":
        try:
            claimed = KeystoneReport.from_bytes(evidence).device_public_key
        except EvidenceError:
            return Roots()
        return Roots(certificates=(claimed,) if claimed in trust.keystone.keys else ())
    return Roots()


def appraise_kind(
    kind: str,
    evidence: bytes,
    *,
    files: Mapping[str, Sequence[bytes]],
    policy: Mapping[str, Any],
    policy_digest: str,
    product: str,
    trust: TrustStore,
    now: datetime,
    evidence_digest: str,
    lacks: str = "",
    before: tuple[Finding, ...] = (),
) -> Appraisal:
    """Judge evidence of a kind.

    Evidence that can only be parsed fails `judge.not_verifiable`. Claims that a message cannot
    hold, for their length or their name, are left out. Nothing but `trust` says what is believed:
    neither a root among the files, nor a device key in the policy.

    Args:
        lacks: why the collateral does not count, by whoever looked for it; then the evidence
            fails `judge.collateral`, if its kind has not failed for that itself.
        before: checks that come before those of the kind.

    Raises:
        InputError: as `judge.judge` does: the request cannot be meant.
    """
    kind = _named(kind)
    roots = roots_for(kind, evidence, trust)
    if kind == "keystone_report" and not roots.certificates:
        # Else the one that the policy names would be believed.
        policy = {name: value for name, value in policy.items() if name != "device_public_key"}
    if kind == "intel_pck_chain":
        believed = tuple(raw for raw in files.get("root", ()) if _is_believed(raw, trust))
        files = {**files, "root": believed}
    found = judge(
        kind,
        evidence,
        files=files,
        policy=policy,
        product=product or None,
        now=now,
        roots=roots,
    )
    checks = (*before, *found.checks)
    if lacks:
        checks += (finding(COLLATERAL, kind, "collateral that counts now", lacks),)
    if found.verdict == "parse-only":
        checks += (finding(NOT_VERIFIABLE, kind, "can be proven", "can only be parsed"),)
    checks = _fitting(checks)
    reason = first_failed(checks)
    short = [
        (name, text)
        for name, text in found.claims.items()
        if len(text) <= _MAX_TEXT and _NAME.fullmatch(name)
    ]
    return Appraisal(
        tee=Tee(SECTION_OF[kind]) if kind in SECTION_OF else None,
        verdict=Verdict.FAIL if reason else Verdict.PASS,
        reason=reason[:_MAX_REASON],
        simulated=found.simulated,
        policy_digest=policy_digest,
        evidence_digest=evidence_digest,
        findings=checks,
        claims={} if reason else dict(short[:_MAX_CLAIMS]),
        product=found.product[:_MAX_REASON],
        tcb_status=found.tcb_status[:_MAX_REASON],
    )


def _named(kind: str) -> str:
    return ALIASES.get(kind, kind)


def _is_believed(raw: bytes, trust: TrustStore) -> bool:
    """Whether these are one certificate or several, all of roots that are trusted for Intel."""
    try:
        keys = [sha256(intel_chain.read_certificate(der).spki).digest() for der in ders(raw)]
    except EvidenceError:
        return False
    return all(trust.intel.find(key) for key in keys)


def _fitting(checks: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """As many as a message holds, the first that failed among them."""
    if len(checks) <= _MAX_CHECKS:
        return checks
    kept = checks[: _MAX_CHECKS - 1]
    failed = next((item for item in checks if item.outcome is Outcome.FAIL), None)
    return kept if failed is None or first_failed(kept) else (*kept, failed)
