"""Judge one published RA-TLS certificate (kind `ratls_cert`)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from atoll.evidence.dcap.intel_chain import PRODUCTION, read_certificate
from atoll.evidence.dcap.quote import Quote
from atoll.evidence.dcap.verify import verify_quote_crypto
from atoll.evidence.judged import Files, Judged, judged, known, moment, octets
from atoll.evidence.policy_forms import UNCHECKED
from atoll.evidence.ratls import verify_ratls


def judge_ratls_cert(
    evidence: bytes,
    *,
    files: Files,  # noqa: ARG001 - one shape for every kind
    params: Mapping[str, Any],  # noqa: ARG001
    policy: Mapping[str, Any],
    verify_time: datetime | None,
) -> Judged:
    """Verify a certificate and its quote's signatures under Intel's root; compare `nonce`.

    These cases bring no collateral: revocation, TCB and what the enclave is (debug included) are
    not looked at. The certificate is judged at `verify_time`. The quote's chain is judged then,
    or when its youngest certificate begins, if that is later: PCK certificates are issued anew
    for the same key with later dates, and the one genuine sample is dated before its own.

    Raises:
        InputError: policy or time are not of this form.
    """
    known(policy, "nonce")
    now, nonce = moment(verify_time), octets(policy, "nonce")

    def prove(raw: bytes) -> Quote:
        chain = Quote.from_bytes(raw).certification.chain
        begun = max([now, *(read_certificate(der).not_before for der in chain)])
        return verify_quote_crypto(raw, PRODUCTION, now=begun).quote

    def check() -> None:
        verify_ratls(evidence, prove, now=now, nonce=UNCHECKED if nonce is None else nonce)

    return judged(check)
