"""Prove that a SEV-SNP report is a genuine processor's (AMD 56860, AMD 57230).

`verify_snp` does everything for one report; `chain.verify_chain` and `verify_report`
are its two halves, so that a chain can be kept warm between reports of one chip.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from atoll.errors import RejectedEvidenceError
from atoll.evidence.certs import Signer
from atoll.evidence.chain import VerifiedChain, verify_chain
from atoll.evidence.products import Product, TcbVersion, product_of_cpuid
from atoll.evidence.snp import (
    SIGNING_KEY_NONE,
    SIGNING_KEY_VCEK,
    AttestationReport,
    ReportBody,
)
from atoll.evidence.trust import TrustStore

_P384_ORDER: Final = int(
    "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf"
    "581a0db248b0a77aecec196accc52973",
    16,
)
"""The order n of P-384's base point (NIST SP 800-186, section 3.2.1.4)."""

_CPUID_SINCE: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedReport:
    """A report that a genuine processor made; whether it is welcome is the policy's affair.

    `simulated` tells that the "processor" was Atoll's development TEE.
    """

    body: ReportBody
    product: Product
    signer: Signer
    simulated: bool
    reported_tcb: TcbVersion
    committed_tcb: TcbVersion
    current_tcb: TcbVersion
    launch_tcb: TcbVersion
    csp_id: str | None
    crl_checked: bool


def verify_snp(
    report: bytes,
    certs: Sequence[bytes],
    trust: TrustStore,
    *,
    now: datetime,
    crls: Sequence[bytes] = (),
) -> VerifiedReport:
    """Verify one report under the certificates that came with it.

    1. Parse the report.
    2. Verify the chain at `now` (nine steps of their own, see `chain.verify_chain`).
    3. Verify the report under the chain (see `verify_report`).

    Raises:
        MalformedEvidenceError, UnsupportedEvidenceError: something does not parse.
        RejectedEvidenceError: it parses and is not authentic; `code` names the check.
    """
    parsed = AttestationReport.from_bytes(report)
    return verify_report(parsed, verify_chain(certs, trust, now=now, crls=crls), now=now)


def verify_report(
    report: AttestationReport, chain: VerifiedChain, *, now: datetime
) -> VerifiedReport:
    """Verify a report under a chain that was verified now or before.

    1. The chain still holds at `now`.
    2. The report says that it is signed, by the kind of key that the VEK is.
    3. The processor that the report names (version 3 and later) is the chain's product.
    4. REPORTED_TCB equals the VEK's versions, each component: the VEK is derived for
       exactly this TCB, so "at least" would be wrong in both directions.
    5. CHIP_ID is the VCEK's HWID, unless the platform masks it. A VLEK names no chip.
    6. R and S are within [1, n-1], and sign the signed bytes.

    Does not check: anything a policy decides, as debug, VMPL or measurement.

    Raises:
        MalformedEvidenceError: a TCB field is not of the product's layout.
        RejectedEvidenceError: `evidence.expired`, `.not_yet_valid`, `.unsigned`,
            `.signer`, `.product`, `.tcb_mismatch`, `.hwid`, `.signature`.
    """
    body, product = report.body, chain.product
    # 1
    if now < chain.not_before:
        _reject("not_yet_valid", f"chain holds from {chain.not_before}")
    if now > chain.not_after:
        _reject("expired", f"chain held until {chain.not_after}")
    # 2
    _check_signer(body, chain.signer)
    # 3
    if body.version >= _CPUID_SINCE:
        _check_product(body, product)
    # 4
    reported = TcbVersion.from_bytes(body.reported_tcb, product)
    for (name, want), (_, got) in zip(
        chain.vek.tcb.components(), reported.components(), strict=True
    ):
        if got != want:
            _reject("tcb_mismatch", f"REPORTED_TCB {name} is {got}, the VEK's is {want}")
    # 5
    _check_chip(body, chain)
    # 6
    _check_signature(report, chain.key)
    return VerifiedReport(
        body=body,
        product=product,
        signer=chain.signer,
        simulated=chain.root.simulated,
        reported_tcb=reported,
        committed_tcb=TcbVersion.from_bytes(body.committed_tcb, product),
        current_tcb=TcbVersion.from_bytes(body.current_tcb, product),
        launch_tcb=TcbVersion.from_bytes(body.launch_tcb, product),
        csp_id=chain.vek.csp_id,
        crl_checked=chain.crl_checked,
    )


def _check_signer(body: ReportBody, signer: Signer) -> None:
    if body.signing_key == SIGNING_KEY_NONE:
        _reject("unsigned", "SIGNING_KEY says that the report is not signed")
    claimed = Signer.VCEK if body.signing_key == SIGNING_KEY_VCEK else Signer.VLEK
    if claimed is not signer:
        _reject("signer", f"report is signed by a {claimed.value}, the chain is a {signer.value}'s")


def _check_product(body: ReportBody, product: Product) -> None:
    named = product_of_cpuid(body.cpuid_fam_id, body.cpuid_mod_id)
    if named is not product:
        cpu = f"family {body.cpuid_fam_id:02x}h model {body.cpuid_mod_id:02x}h"
        _reject("product", f"report is of {cpu}, the chain is for {product.value}")


def _check_chip(body: ReportBody, chain: VerifiedChain) -> None:
    hwid = chain.vek.hwid
    if hwid is None or (body.mask_chip_key and not any(body.chip_id)):
        return
    if body.chip_id != hwid.ljust(len(body.chip_id), b"\x00"):
        _reject("hwid", f"CHIP_ID {body.chip_id[:8].hex()}.. is not the VCEK's {hwid[:8].hex()}..")


def _check_signature(report: AttestationReport, key: ec.EllipticCurvePublicKey) -> None:
    if not all(0 < value < _P384_ORDER for value in (report.signature_r, report.signature_s)):
        _reject("signature", "R or S is outside [1, n-1]")
    signature = encode_dss_signature(report.signature_r, report.signature_s)
    try:
        key.verify(signature, report.signed_bytes, ec.ECDSA(SHA384()))
    except InvalidSignature:
        _reject("signature", "the VEK did not sign this report")


def _reject(check: str, message: str) -> NoReturn:
    raise RejectedEvidenceError(message, code=f"evidence.{check}")
