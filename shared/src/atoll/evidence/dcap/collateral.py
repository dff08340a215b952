"""The signed statements that a quote is judged by, verified once for many quotes.

`verify_collateral` proves what does not depend on a quote; the result is kept until
`not_after` and handed to `verify.verify_quote` for each quote. Whether it fits the
quote (TEE, FMSPC, PCE, PCK issuer) is checked there.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from atoll.errors import RejectedEvidenceError
from atoll.evidence.dcap.cert_data import chain_of
from atoll.evidence.dcap.intel_chain import (
    IntelRoot,
    IntelRoots,
    VerifiedLeaf,
    check_crl,
    refuse_revoked,
    verify_tcb_signing_chain,
)
from atoll.evidence.dcap.qe_identity import QeIdentity
from atoll.evidence.dcap.signed_json import SignedJson
from atoll.evidence.dcap.tcb_info import TcbInfo
from atoll.evidence.x509 import INTEL, RevocationList, crl_der

_HALF: Final = 32
_SCHEME: Final = ec.ECDSA(SHA256())


@dataclass(frozen=True, slots=True, kw_only=True)
class Collateral:
    """Everything beside a quote, unproven. Chains are PEM, CRLs DER or PEM."""

    tcb_info: SignedJson = field(repr=False)
    tcb_info_chain: bytes = field(repr=False)
    qe_identity: SignedJson = field(repr=False)
    qe_identity_chain: bytes = field(repr=False)
    root_crl: bytes = field(repr=False)
    pck_crl: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedCollateral:
    """Collateral under a trusted root; holds from `not_before` to `not_after`.

    `pck_crl` is parsed only: who must have signed it depends on the quote.
    """

    root: IntelRoot
    tcb_info: TcbInfo
    qe_identity: QeIdentity
    root_crl: RevocationList = field(repr=False)
    pck_crl: RevocationList = field(repr=False)
    signers: tuple[VerifiedLeaf, ...] = field(repr=False)
    not_before: datetime
    not_after: datetime


def verify_collateral(
    collateral: Collateral, roots: IntelRoots, *, now: datetime
) -> VerifiedCollateral:
    """Verify collateral at `now`.

    1. Both signing chains end in one pinned root.
    2. The root CRL is the root's, is current, and revokes neither signer.
    3. The TCB info is signed by its signer over its exact bytes, parses, is current.
    4. So is the QE identity.
    5. The PCK CRL parses.

    Does not check: that any of it fits a quote, nor the PCK CRL's signature and dates.

    Raises:
        MalformedEvidenceError, UnsupportedEvidenceError: something does not parse.
        RejectedEvidenceError: with the code of the check, as `evidence.tcb_info_expired`.
    """
    # 1
    tcb_signer = verify_tcb_signing_chain(chain_of(collateral.tcb_info_chain), roots, now=now)
    qe_signer = verify_tcb_signing_chain(chain_of(collateral.qe_identity_chain), roots, now=now)
    if tcb_signer.root != qe_signer.root:
        _reject("untrusted_root", "TCB info and QE identity are signed under different roots")
    # 2
    root_crl = RevocationList.from_bytes(crl_der(collateral.root_crl), scheme=INTEL)
    check_crl(root_crl, tcb_signer.root_certificate, now=now)
    for signer in (tcb_signer, qe_signer):
        refuse_revoked(signer.certificate, root_crl)
    # 3
    _check_signature("tcb_info", collateral.tcb_info, tcb_signer)
    info = TcbInfo.from_bytes(collateral.tcb_info.raw)
    _check_dates("tcb_info", info.issue_date, info.next_update, now)
    # 4
    _check_signature("qe_identity", collateral.qe_identity, qe_signer)
    identity = QeIdentity.from_bytes(collateral.qe_identity.raw)
    _check_dates("qe_identity", identity.issue_date, identity.next_update, now)
    # 5
    pck_crl = RevocationList.from_bytes(crl_der(collateral.pck_crl), scheme=INTEL)
    certificates = (*tcb_signer.chain, *qe_signer.chain)
    starts = [one.not_before for one in certificates]
    ends = [one.not_after for one in certificates]
    return VerifiedCollateral(
        root=tcb_signer.root,
        tcb_info=info,
        qe_identity=identity,
        root_crl=root_crl,
        pck_crl=pck_crl,
        signers=(tcb_signer, qe_signer),
        not_before=max([*starts, info.issue_date, identity.issue_date, root_crl.this_update]),
        not_after=min([*ends, info.next_update, identity.next_update, root_crl.next_update]),
    )


def raw_signature(signature: bytes) -> bytes:
    """A 64-byte big-endian r || s as the DER that the library wants."""
    return encode_dss_signature(
        int.from_bytes(signature[:_HALF], "big"), int.from_bytes(signature[_HALF:], "big")
    )


def _check_signature(what: str, signed: SignedJson, signer: VerifiedLeaf) -> None:
    try:
        signer.key.verify(raw_signature(signed.signature), signed.raw, _SCHEME)
    except InvalidSignature:
        _reject(f"{what}_signature", f"{signer.certificate.subject_cn} did not sign this")


def _check_dates(what: str, start: datetime, end: datetime, now: datetime) -> None:
    if now < start:
        _reject(f"{what}_not_yet_valid", f"was issued at {start}")
    if now > end:
        _reject(f"{what}_expired", f"should have been replaced at {end}")


def _reject(check: str, message: str) -> NoReturn:
    raise RejectedEvidenceError(f"collateral: {message}", code=f"evidence.{check}")
