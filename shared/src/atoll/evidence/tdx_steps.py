"""Verify a TDX quote and say of each step what became of it.

The findings, always all of them, in this order:

| id             | what                                                               |
| tdx.quote      | the quote parses and is a TD's                                     |
| tdx.collateral | there is collateral, it is signed by Intel and current             |
| tdx.root       | quote and collateral end in one trusted root                       |
| tdx.chain      | the PCK certificates are a valid chain at this time                |
| tdx.crl        | both revocation lists are current and leave the chain alone        |
| tdx.platform   | the collateral is for this kind of platform                        |
| tdx.qe         | the quoting enclave is Intel's and vouches for the attestation key |
| tdx.signature  | the attestation key signed the quote                               |
| tdx.module     | the TDX module is Intel's, and it and the platform have a TCB level |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from atoll.errors import EvidenceError
from atoll.evidence.dcap.collateral import Collateral, VerifiedCollateral, verify_collateral
from atoll.evidence.dcap.intel_chain import IntelRoots
from atoll.evidence.dcap.quote import Quote
from atoll.evidence.dcap.verify import VerifiedQuote, verify_parsed
from atoll.evidence.findings import Finding
from atoll.evidence.steps import error_text, failed_steps, passed_steps
from atoll.evidence.x509 import ders

_COLLATERAL: Final = 1
_RANKS: Final = {
    "tdx.quote": 0,
    "tdx.collateral": _COLLATERAL,
    "tdx.root": 2,
    "tdx.chain": 2,
    "tdx.crl": 3,
    "tdx.platform": 4,
    "tdx.qe": 5,
    "tdx.signature": 6,
    "tdx.module": 7,
}
STEP_OF: Final = {
    "evidence.untrusted_root": "tdx.root",
    "evidence.collateral_not_yet_valid": "tdx.collateral",
    "evidence.collateral_expired": "tdx.collateral",
    "evidence.crl_issuer": "tdx.crl",
    "evidence.crl_signature": "tdx.crl",
    "evidence.crl_not_yet_valid": "tdx.crl",
    "evidence.crl_expired": "tdx.crl",
    "evidence.revoked": "tdx.crl",
    "evidence.tcb_info_type": "tdx.platform",
    "evidence.tcb_info_fmspc": "tdx.platform",
    "evidence.tcb_info_pceid": "tdx.platform",
    "evidence.quote_pceid": "tdx.platform",
    "evidence.qe_identity_type": "tdx.platform",
    "evidence.qe_report_signature": "tdx.qe",
    "evidence.qe_report_data": "tdx.qe",
    "evidence.qe_identity": "tdx.qe",
    "evidence.qe_tcb": "tdx.qe",
    "evidence.attestation_key": "tdx.signature",
    "evidence.signature": "tdx.signature",
    "evidence.tdx_module": "tdx.module",
    "evidence.tdx_module_tcb": "tdx.module",
    "evidence.tcb_not_supported": "tdx.module",
}
"""Which step an error code of `dcap.verify` belongs to; the others belong to the chain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TdxSteps:
    """How far verification came: `quote` if it is a TD's, `verified` if every step passed."""

    quote: Quote | None
    verified: VerifiedQuote | None
    findings: tuple[Finding, ...]


def verify_tdx_steps(
    raw: bytes,
    certs: Sequence[bytes],
    roots: IntelRoots,
    *,
    now: datetime,
    collateral: Collateral | VerifiedCollateral | str | None,
) -> TdxSteps:
    """Do what `dcap.verify.verify_quote` does, and never raise for bad evidence.

    Text instead of `collateral` says why there is none that counts.
    """
    try:
        quote = Quote.from_bytes(raw)
    except EvidenceError as error:
        return _failed(None, "tdx.quote", error_text(error))
    if quote.td_report is None:
        return _failed(None, "tdx.quote", "the quote of an SGX enclave")
    if collateral is None or isinstance(collateral, str):
        return _failed(quote, "tdx.collateral", collateral or "no collateral was given")
    if isinstance(collateral, Collateral):
        try:
            collateral = verify_collateral(collateral, roots, now=now)
        except EvidenceError as error:
            # Without a believed root nothing about the collateral is worth telling.
            untrusted = error.code == "evidence.untrusted_root"
            step = "tdx.root" if untrusted else "tdx.collateral"
            return _failed(quote, step, error_text(error), rank=_COLLATERAL)
    try:
        chain = [der for one in certs for der in ders(one)]
        verified = verify_parsed(quote, collateral, roots, now=now, pck_chain=chain)
    except EvidenceError as error:
        return _failed(quote, STEP_OF.get(error.code, "tdx.chain"), error_text(error))
    return TdxSteps(quote=quote, verified=verified, findings=passed_steps(_RANKS))


def _failed(quote: Quote | None, step: str, why: str, rank: int | None = None) -> TdxSteps:
    findings = failed_steps(_RANKS, step, why, rank=rank)
    return TdxSteps(quote=quote, verified=None, findings=findings)
