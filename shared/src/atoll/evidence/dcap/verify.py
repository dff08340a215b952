"""Prove that a quote is a genuine platform's, and find its TCB status (Intel PCS, QVL).

`verify_quote` does everything for one quote; `collateral.verify_collateral` and
`verify_parsed` are its two halves, so that collateral is verified once for many quotes.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from atoll.errors import RejectedEvidenceError, UnsupportedEvidenceError
from atoll.evidence.dcap.collateral import (
    Collateral,
    VerifiedCollateral,
    raw_signature,
    verify_collateral,
)
from atoll.evidence.dcap.intel_chain import (
    IntelRoots,
    VerifiedPck,
    check_revocation,
    verify_pck_chain,
)
from atoll.evidence.dcap.pck import PckExtension
from atoll.evidence.dcap.qe_identity import EnclaveId, QeIdentity
from atoll.evidence.dcap.quote import Quote, QuoteTee
from atoll.evidence.dcap.tcb import (
    TcbVerdict,
    check_module,
    enclave_mismatch,
    find_module,
    judge_tcb,
    select_svn_level,
)
from atoll.evidence.dcap.tcb_info import SvnLevel, TcbInfo

_SCHEME: Final = ec.ECDSA(SHA256())
_UNCOMPRESSED: Final = b"\x04"
_REPORT_DATA_REST: Final = bytes(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedQuote:
    """A quote under a pinned root, whose TCB status and revocation nobody looked at."""

    quote: Quote
    pck: VerifiedPck = field(repr=False)

    @property
    def simulated(self) -> bool:
        """Whether the root is a development one."""
        return self.pck.leaf.root.simulated


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedQuote:
    """A quote that a genuine platform made; whether it is welcome is the policy's affair.

    That includes the TCB status: `tcb.status` may be any, even revoked.
    `simulated` tells that the "platform" was made up for development.
    """

    quote: Quote
    tcb: TcbVerdict
    pck: PckExtension = field(repr=False)
    simulated: bool


def verify_quote(
    quote: bytes,
    collateral: Collateral | VerifiedCollateral,
    roots: IntelRoots,
    *,
    now: datetime,
    pck_chain: Sequence[bytes] = (),
) -> VerifiedQuote:
    """Verify one quote at `now`.

    1. Parse the quote.
    2. Verify the collateral, unless that was done (`collateral.verify_collateral`).
    3. Verify the quote under it (`verify_parsed`).

    Args:
        pck_chain: DER certificates, for quotes that bring none (certification data of
            types 2 and 3); ignored otherwise.

    Raises:
        MalformedEvidenceError, UnsupportedEvidenceError: something does not parse.
        RejectedEvidenceError: it parses and is not authentic; `code` names the check.
    """
    parsed = Quote.from_bytes(quote)
    if isinstance(collateral, Collateral):
        collateral = verify_collateral(collateral, roots, now=now)
    return verify_parsed(parsed, collateral, roots, now=now, pck_chain=pck_chain)


def verify_parsed(
    quote: Quote,
    collateral: VerifiedCollateral,
    roots: IntelRoots,
    *,
    now: datetime,
    pck_chain: Sequence[bytes] = (),
) -> VerifiedQuote:
    """Verify a parsed quote under collateral that was verified now or before.

    1. The collateral holds at `now` too.
    2. The PCK chain ends in a pinned root (`intel_chain.verify_pck_chain`), the same as
       the collateral's.
    3. Neither CRL names a certificate of the chain, and both are current.
    4. TCB info and QE identity are for this TEE.
    5. The TCB info is for this platform: FMSPC and PCEID are the PCK certificate's.
    6. The PCK key signed the QE report, which vouches for the attestation key.
    7. The QE is the one that the QE identity describes, and has a level there.
    8. The attestation key signed the quote.
    9. For TDX, the module is Intel's and has no attributes.
    10. The TCB status follows (`tcb.judge_tcb`).

    Does not check: anything a policy decides, as debug, MRTD or which TCB status will do.

    Raises:
        As `verify_quote`.
    """
    # 1
    _check_window(collateral, now)
    # 2
    pck = verify_pck_chain(_chain(quote, pck_chain), roots, now=now)
    if pck.leaf.root != collateral.root:
        _reject("untrusted_root", "quote and collateral are under different roots")
    # 3
    check_revocation(pck.leaf, root_crl=collateral.root_crl, crl=collateral.pck_crl, now=now)
    # 4 and 5
    _check_fit(quote, pck.extension, collateral)
    # 6
    _check_qe_report(quote, pck)
    # 7
    qe_level = _check_qe(quote, collateral.qe_identity)
    # 8
    _check_signature(quote)
    # 9
    report = quote.td_report
    if report is not None:
        check_module(find_module(collateral.tcb_info, report.tee_tcb_svn), report)
    # 10
    return VerifiedQuote(
        quote=quote,
        tcb=judge_tcb(collateral.tcb_info, pck.extension, report, qe_level),
        pck=pck.extension,
        simulated=pck.leaf.root.simulated,
    )


def verify_quote_crypto(
    quote: bytes, roots: IntelRoots, *, now: datetime, pck_chain: Sequence[bytes] = ()
) -> SignedQuote:
    """Verify only what a quote proves without collateral: steps 2, 6 and 8 of `verify_parsed`.

    Does not check: revocation, the QE's identity, TDX module or TCB. A quote like this
    may come from a platform whose keys are known to everybody; the result is a type of
    its own, which no appraisal takes.

    Raises:
        As `verify_quote`.
    """
    parsed = Quote.from_bytes(quote)
    pck = verify_pck_chain(_chain(parsed, pck_chain), roots, now=now)
    _check_qe_report(parsed, pck)
    _check_signature(parsed)
    return SignedQuote(quote=parsed, pck=pck)


def _check_window(collateral: VerifiedCollateral, now: datetime) -> None:
    if now < collateral.not_before:
        _reject("collateral_not_yet_valid", f"collateral holds from {collateral.not_before}")
    if now > collateral.not_after:
        _reject("collateral_expired", f"collateral held until {collateral.not_after}")


def _chain(quote: Quote, beside: Sequence[bytes]) -> Sequence[bytes]:
    if quote.certification.chain:
        return quote.certification.chain
    if not beside:
        raise UnsupportedEvidenceError(
            "quote brings no PCK certificate, and none came beside it",
            code="evidence.quote_certification",
        )
    return beside


def _check_fit(quote: Quote, pck: PckExtension, collateral: VerifiedCollateral) -> None:
    info, identity = collateral.tcb_info, collateral.qe_identity
    tee = quote.header.tee
    if info.tee is not tee:
        _reject("tcb_info_type", f"TCB info is for {info.tee.value}, quote is of {tee.value}")
    wanted = EnclaveId.QE if tee is QuoteTee.SGX else EnclaveId.TD_QE
    if identity.id is not wanted:
        _reject("qe_identity_type", f"QE identity is of {identity.id.value}, want {wanted.value}")
    _check_platform(quote, pck, info)


def _check_platform(quote: Quote, pck: PckExtension, info: TcbInfo) -> None:
    if info.fmspc != pck.fmspc:
        _reject("tcb_info_fmspc", f"TCB info is of {info.fmspc.hex()}, PCK of {pck.fmspc.hex()}")
    if info.pce_id != pck.pce_id:
        _reject("tcb_info_pceid", f"TCB info is of {info.pce_id.hex()}, PCK of {pck.pce_id.hex()}")
    claimed = quote.certification.pce_id
    if claimed is not None and claimed != pck.pce_id:
        _reject("quote_pceid", f"quote is of PCE {claimed.hex()}, PCK of {pck.pce_id.hex()}")


def _check_qe_report(quote: Quote, pck: VerifiedPck) -> None:
    if not _signed(pck.leaf.key, quote.qe_report_signature, quote.qe_report_bytes):
        _reject("qe_report_signature", "the PCK key did not sign the QE report")
    bound = hashlib.sha256(quote.attestation_key + quote.qe_auth_data).digest()
    if not hmac.compare_digest(bound + _REPORT_DATA_REST, quote.qe_report.report_data):
        _reject("qe_report_data", "the QE report vouches for another attestation key")


def _check_qe(quote: Quote, identity: QeIdentity) -> SvnLevel:
    wrong = enclave_mismatch(
        quote.qe_report,
        misc_select=(identity.misc_select, identity.misc_select_mask),
        attributes=(identity.attributes, identity.attributes_mask),
        mr_signer=identity.mr_signer,
        isv_prod_id=identity.isv_prod_id,
    )
    if wrong is not None:
        _reject("qe_identity", f"QE has {wrong}, which is not {identity.id.value}'s")
    level = select_svn_level(identity.levels, quote.qe_report.isv_svn)
    if level is None:
        _reject("qe_tcb", f"no level of {identity.id.value} for SVN {quote.qe_report.isv_svn}")
    return level


def _check_signature(quote: Quote) -> None:
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(
            ec.SECP256R1(), _UNCOMPRESSED + quote.attestation_key
        )
    except ValueError as error:
        raise RejectedEvidenceError(
            "the attestation key is no point of P-256", code="evidence.attestation_key"
        ) from error
    if not _signed(key, quote.signature, quote.signed_bytes):
        _reject("signature", "the attestation key did not sign this quote")


def _signed(key: ec.EllipticCurvePublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        key.verify(raw_signature(signature), signed, _SCHEME)
    except InvalidSignature:
        return False
    return True


def _reject(check: str, message: str) -> NoReturn:
    raise RejectedEvidenceError(message, code=f"evidence.{check}")
