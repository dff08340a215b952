"""What vendors sign about their processors, one document at a time. Pure.

| key                            | body                         | chain             |
| intel.tcb.{sgx,tdx}.FMSPC      | {"tcbInfo", "signature"}     | TCB signing, root |
| intel.qe.{sgx,tdx}             | {"enclaveIdentity", ...}     | TCB signing, root |
| intel.crl.{platform,processor} | CRL of a PCK CA              | PCK CA, root      |
| intel.crl.root                 | CRL of the root              | root              |
| amd.chain.{vcek,vlek}.PRODUCT  | ASK or ASVK, and ARK         |                   |
| amd.vcek.PRODUCT.HWID.TCB      | VCEK                         | ASK, ARK          |

Sources: Intel PCS API version 4; AMD 57230, section 4.

A document is believed for its signature under a pinned root, not for where it came from;
its key follows from what it says. It may have expired: it is used all the same, and then the
judgement fails with that reason. AMD's revocation lists are in `crls`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from atoll.errors import EvidenceError, InputError, RejectedEvidenceError
from atoll.evidence.certs import Signer
from atoll.evidence.chain import verify_authorities, verify_chain
from atoll.evidence.dcap.cert_data import chain_of
from atoll.evidence.dcap.collateral import raw_signature
from atoll.evidence.dcap.intel_chain import (
    PCK_ISSUER_CNS,
    ROOT_CN,
    IntelRoots,
    check_crl,
    is_signed_by,
    read_certificate,
    verify_tcb_signing_chain,
)
from atoll.evidence.dcap.qe_identity import EnclaveId, QeIdentity
from atoll.evidence.dcap.signed_json import open_envelope
from atoll.evidence.dcap.tcb_info import TcbInfo
from atoll.evidence.needed import (
    INTEL_ROOT_CRL,
    QE_IDENTITY,
    TCB_INFO,
    crl_key,
    qe_key,
    tcb_key,
)
from atoll.evidence.products import Product, TcbVersion
from atoll.evidence.trust import TrustStore
from atoll.evidence.x509 import INTEL, Certificate, RevocationList, crl_der, ders

_SCHEME: Final = ec.ECDSA(SHA256())
_QE_TEE: Final = {EnclaveId.QE: "sgx", EnclaveId.TD_QE: "tdx"}
_HEAD: Final = 64
_TWO: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A body whose signature holds under a trusted root."""

    key: str
    body: bytes = field(repr=False)
    chain: bytes = field(repr=False)
    issued: datetime
    next_update: datetime
    """From when on it is too old."""

    @property
    def order(self) -> tuple[datetime, bytes]:
        """Later ones take the place of earlier ones; equal times are told apart somehow."""
        return self.issued, hashlib.sha256(self.body).digest()


def read(body: bytes, chain: bytes, trust: TrustStore) -> Document:
    """Verify one document, of any kind of the table.

    Does not check that it is current, nor that its signer is not revoked: the judgement does.

    Raises:
        EvidenceError: malformed, not signed by who it should be, or `evidence.untrusted_root`.
    """
    head = body[:_HEAD].lstrip()
    if head.startswith(b"{"):
        name = TCB_INFO if TCB_INFO.encode() in head else QE_IDENTITY
        return _signed_json(name, body, chain, trust.intel)
    if _is_certificates(body):
        return _vcek(body, chain, trust) if _is_vek(body) else _authorities(body, trust)
    return _intel_crl(body, chain, trust.intel)


def vcek_key(product: Product, hwid: bytes, tcb: TcbVersion) -> str:
    """Where the VCEK of this chip for this TCB is kept."""
    return f"amd.vcek.{product.value}.{hwid.hex()}.{tcb.to_bytes(product).hex()}"


def chain_key(product: Product, signer: Signer) -> str:
    """Where the authorities of this product are kept."""
    return f"amd.chain.{signer.value}.{product.value}"


def require_current(known: Mapping[str, Document], key: str, now: datetime) -> Document:
    """The document with this key, if it counts at this moment.

    Raises:
        InputError: `collateral.missing`, `collateral.not_yet_valid`, `collateral.expired`.
    """
    found = known.get(key)
    if found is None:
        raise InputError(f"there is no {key} here", code="collateral.missing")
    if now < found.issued:
        raise InputError(
            f"{key} counts from {found.issued}, now {now}", code="collateral.not_yet_valid"
        )
    if now > found.next_update:
        raise InputError(
            f"{key} was to be replaced at {found.next_update}, now {now}", code="collateral.expired"
        )
    return found


def _signed_json(name: str, body: bytes, chain: bytes, roots: IntelRoots) -> Document:
    signed = open_envelope(body, name)
    if name == TCB_INFO:
        info = TcbInfo.from_bytes(signed.raw)
        issued, next_update = info.issue_date, info.next_update
        key = tcb_key(info.tee.name.lower(), info.fmspc)
    else:
        identity = QeIdentity.from_bytes(signed.raw)
        issued, next_update = identity.issue_date, identity.next_update
        if identity.id not in _QE_TEE:
            _reject("qe_identity", f"identity of {identity.id.value}, want QE or TD_QE")
        key = qe_key(_QE_TEE[identity.id])
    # At its own time, because whether it is current is for the judgement to say.
    signer = verify_tcb_signing_chain(chain_of(chain), roots, now=issued)
    try:
        signer.key.verify(raw_signature(signed.signature), signed.raw, _SCHEME)
    except InvalidSignature as error:
        raise RejectedEvidenceError(
            f"{signer.certificate.subject_cn} did not sign this {name}",
            code="evidence.collateral_signature",
        ) from error
    return Document(key=key, body=body, chain=chain, issued=issued, next_update=next_update)


def _intel_crl(body: bytes, chain: bytes, roots: IntelRoots) -> Document:
    crl = RevocationList.from_bytes(crl_der(body), scheme=INTEL)
    certificates = [read_certificate(der) for der in ders(chain)]
    issuer, root = certificates[0], certificates[-1]
    if roots.find(hashlib.sha256(root.spki).digest()) is None or root.subject_cn != ROOT_CN:
        _reject("untrusted_root", f"{root.subject_cn!r} with this key is not a trusted root")
    if len(certificates) == 1:
        key = INTEL_ROOT_CRL
    elif len(certificates) == _TWO and issuer.subject_cn in PCK_ISSUER_CNS:
        if issuer.issuer != root.subject or not is_signed_by(
            root.spki, issuer.signature, issuer.tbs
        ):
            _reject("chain_signature", f"{issuer.subject_cn} is not signed by {ROOT_CN}")
        key = crl_key(issuer.subject_cn.split()[-2].lower())
    else:
        _reject("chain_names", f"a CRL of {issuer.subject_cn!r} is of no use")
    check_crl(crl, issuer, now=crl.this_update)
    return Document(
        key=key, body=body, chain=chain, issued=crl.this_update, next_update=crl.next_update
    )


def _is_certificates(body: bytes) -> bool:
    try:
        return bool([Certificate.from_bytes(der) for der in ders(body)])
    except EvidenceError:
        return False


def _is_vek(body: bytes) -> bool:
    found = ders(body)
    return len(found) == 1 and not Certificate.from_bytes(found[0]).subject_cn.startswith("ARK-")


def _authorities(body: bytes, trust: TrustStore) -> Document:
    parsed = [Certificate.from_bytes(der) for der in ders(body)]
    issued = max(one.not_before for one in parsed)
    root = verify_authorities([body], trust, now=issued)
    names = {one.subject_cn for one in parsed}
    signer = Signer.VLEK if f"SEV-VLEK-{root.product.value}" in names else Signer.VCEK
    if len(parsed) != _TWO:
        _reject("chain_names", f"{len(parsed)} certificates, want the ARK and one intermediate")
    return Document(
        key=chain_key(root.product, signer),
        body=body,
        chain=b"",
        issued=issued,
        next_update=min(one.not_after for one in parsed),
    )


def _vcek(body: bytes, chain: bytes, trust: TrustStore) -> Document:
    issued = Certificate.from_bytes(ders(body)[0]).not_before
    found = verify_chain([body, chain], trust, now=issued)
    if found.vek.hwid is None:
        _reject("signer", "a VLEK is the cloud provider's to hand out, want a VCEK")
    return Document(
        key=vcek_key(found.product, found.vek.hwid, found.vek.tcb),
        body=body,
        chain=chain,
        issued=found.not_before,
        next_update=found.not_after,
    )


def _reject(check: str, message: str) -> NoReturn:
    raise RejectedEvidenceError(f"collateral: {message}", code=f"evidence.{check}")
