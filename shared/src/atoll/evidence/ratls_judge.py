"""Judge one published RA-TLS certificate (kind `ratls_cert`).

There is one clock, `verify_time`, for the certificate and for what is in it. One date is read
more carefully than that. A PCK certificate is issued anew whenever the platform's TCB is
reassessed: same key, later dates. The one genuine sample carries a PCK certificate that began
half a year after the moment at which it is to be judged, inside the years of the certificate
around it. What a `notBefore` in the future says is that Intel had not yet issued this copy, not
that the key was not the platform's, and nobody can hold a certificate that Intel has yet to
sign; an end in the past is another matter. So, without collateral,

1. both authorities and the RA-TLS certificate are valid at `verify_time`, and nothing has expired;
2. the PCK certificate may begin later, but not after the RA-TLS certificate ends: evidence that
   is in a certificate was there when that was issued; the whole chain is then judged at that
   later moment, so that no date is skipped;
3. a policy with `require_begun_pck` refuses that, and so does any collateral: TCB info, CRLs and
   PCK chain are compared at one moment, as in every other kind.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from atoll.errors import InputError, RejectedEvidenceError
from atoll.evidence.dcap.intel_chain import PRODUCTION, IntelRoots, read_certificate
from atoll.evidence.dcap.judge import COLLATERAL, Case, Proven, prove_within
from atoll.evidence.dcap.quote import Quote
from atoll.evidence.dcap.requirements import quote_findings
from atoll.evidence.judged import Files, Judged, appraised, flag, judged, moment, octets, one_file
from atoll.evidence.policy_forms import UNCHECKED
from atoll.evidence.ratls import ratls_certificate, verify_ratls

_OWN_KEYS: Final = ("nonce", "require_begun_pck")


def judge_ratls_cert(
    evidence: bytes,
    *,
    files: Files,
    params: Mapping[str, Any],  # noqa: ARG001 - one shape for every kind
    policy: Mapping[str, Any],
    verify_time: datetime | None,
    roots: IntelRoots = PRODUCTION,
) -> Judged:
    """Verify a certificate and its quote, and compare `nonce`.

    The published cases bring no collateral: revocation, TCB and what the enclave is (debug
    included) are then not looked at, and a policy that asks about them is refused. With
    Intel's collateral among the files they are, by the keys of `dcap.requirements`.

    Args:
        roots: Intel's root, or those in its place.

    Raises:
        InputError: policy, files or time are not of this form.
    """
    now, nonce = moment(verify_time), octets(policy, "nonce")
    begun = flag(policy, "require_begun_pck")
    rest = {name: value for name, value in policy.items() if name not in _OWN_KEYS}
    complete = any(role in files for role in COLLATERAL)
    if rest and not complete:
        raise InputError(
            f"policy's {sorted(rest)} want Intel's collateral"[:400], code="policy.invalid"
        )
    parts = {role: one_file(files, role) for role in COLLATERAL if role in files}
    case = Case(evidence=evidence, files=parts, policy={}, now=now)
    found: list[Proven] = []

    def prove(raw: bytes) -> Quote:
        at = None if begun or complete else _begun(evidence, raw, now)
        found.append(prove_within(raw, case, roots, begun=at))
        return found[0].quote

    def check() -> Judged:
        verify_ratls(evidence, prove, now=now, nonce=UNCHECKED if nonce is None else nonce)
        verified = found[0].verified
        findings = quote_findings(verified, rest) if verified is not None else ()
        return appraised(findings, simulated=found[0].simulated)

    return judged(check)


def _begun(certificate: bytes, quote: bytes, now: datetime) -> datetime:
    """When to judge the quote's chain, by rules 1 and 2 above."""
    chain = [read_certificate(der) for der in Quote.from_bytes(quote).certification.chain]
    latest = [one for one in chain[1:] if now < one.not_before]
    if chain and chain[0].not_before > ratls_certificate(certificate).not_after:
        latest.append(chain[0])
    if latest:
        raise RejectedEvidenceError(
            f"{latest[0].subject_cn} is valid from {latest[0].not_before}",
            code="evidence.not_yet_valid",
        )
    return max([now, *(one.not_before for one in chain)])
