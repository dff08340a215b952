"""Verify AMD's certificate chain: VEK <- intermediate <- pinned root (AMD 57230).

The result can be kept and used for many reports of one chip: it knows until when it
holds, and `verify.verify_report` asks it for each report.

What follows from bytes alone (a certificate's fields, whether a key signed something) is
remembered for the last few hundred inputs. Dates, trust, and what a CRL says are judged
each time.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import load_der_public_key

from atoll.errors import MalformedEvidenceError
from atoll.evidence.certificate_checks import (
    BASIC_CONSTRAINTS,
    CRL_SIGN,
    KEY_USAGE,
    check_critical,
    check_dates,
    check_issuer,
    key_usage,
    reject,
)
from atoll.evidence.certs import Signer, VekExtensions
from atoll.evidence.products import Product
from atoll.evidence.trust import TrustedRoot, TrustStore
from atoll.evidence.x509 import MAX_CERTIFICATES, Certificate, RevocationList, crl_der, ders

MAX_CRLS: Final = 4
MEMO: Final = 256
"""Entries of each memory: a deployment meets a few chains again and again."""
MEMO_CRLS: Final = 8
"""Likewise of lists: there is one for each product line."""

_RSA_BITS: Final = 4096
_SALT: Final = 48
_UNDERSTOOD: Final = frozenset({BASIC_CONSTRAINTS, KEY_USAGE})


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedChain:
    """A VEK that a trusted root vouches for; holds from `not_before` to `not_after`."""

    root: TrustedRoot
    product: Product
    vek: VekExtensions
    vek_der: bytes = field(repr=False)
    key: ec.EllipticCurvePublicKey = field(repr=False)
    crl_checked: bool
    not_before: datetime
    not_after: datetime

    @property
    def signer(self) -> Signer:
        """VCEK or VLEK."""
        return self.vek.signer


def verify_chain(
    certs: Sequence[bytes], trust: TrustStore, *, now: datetime, crls: Sequence[bytes] = ()
) -> VerifiedChain:
    """Verify the chain in `certs`: DER or PEM, any order, exactly one VEK.

    1. Parse every certificate and CRL, all of them strictly.
    2. One VEK, the intermediate that its kind wants, the root; names fit each other.
    3. The root's key is pinned for the product that its name says.
    4. The root signed itself and the intermediate, the intermediate signed the VEK.
    5. CA flags, path lengths and key usages allow that; the VEK is no CA.
    6. No critical extension is unknown.
    7. All three are valid at `now`.
    8. Each CRL is the root's, is current, and revokes neither the intermediate nor the root.
    9. The VEK's AMD extensions are complete, its product is the root's, its key is P-384.

    Does not check: whether a CRL was given at all (`crl_checked` tells), nor VEKs
    against the CRL: all have serial number 0, so AMD's CRLs cannot name one.

    Raises:
        MalformedEvidenceError, UnsupportedEvidenceError: step 1 or the encodings in 9.
        RejectedEvidenceError: any other step, with the code of the check.
    """
    # 1
    parsed = _parse_all(certs)
    if len(crls) > MAX_CRLS:
        raise MalformedEvidenceError("CRLs", 0, f"are {len(crls)}, at most {MAX_CRLS}")
    lists = [_read_crl(raw) for raw in crls]
    # 2
    vek, intermediate, ark, product = _pick(parsed)
    # 3
    root = trust.find(product, hashlib.sha256(ark.spki).digest())
    if root is None:
        reject("untrusted_root", f"{ark.subject_cn} with this key is not a trusted root")
    # 4 to 7
    _verify_authority(ark, intermediate, now=now)
    _check_signature(vek, intermediate)
    _check_leaf(vek)
    check_dates(vek, now)
    # 8
    for crl in lists:
        _check_crl(crl, ark, now=now)
        for one in (intermediate, ark):
            if one.serial in crl.serials:
                reject("revoked", f"{one.subject_cn} {one.serial:x} is revoked")
    # 9
    extensions = _vek_extensions(vek)
    if extensions.product is not product:
        reject("product", f"VEK is for {extensions.product.value}, chain for {product.value}")
    if extensions.signer.value.upper() != vek.subject_cn.removeprefix("SEV-"):
        reject("signer", f"{vek.subject_cn} has the extensions of a {extensions.signer.value}")
    until = [crl.next_update for crl in lists]
    return VerifiedChain(
        root=root,
        product=product,
        vek=extensions,
        vek_der=vek.der,
        key=_p384(vek),
        crl_checked=bool(lists),
        not_before=max(one.not_before for one in (vek, intermediate, ark)),
        not_after=min([one.not_after for one in (vek, intermediate, ark)] + until),
    )


def verify_authorities(certs: Sequence[bytes], trust: TrustStore, *, now: datetime) -> TrustedRoot:
    """Verify a root and its intermediates without a VEK, as AMD's KDS hands them out.

    Raises:
        EvidenceError: as `verify_chain`, steps 1 to 7.
    """
    parsed = _parse_all(certs)
    ark, product = _root(parsed)
    root = trust.find(product, hashlib.sha256(ark.spki).digest())
    if root is None:
        reject("untrusted_root", f"{ark.subject_cn} with this key is not a trusted root")
    intermediates = [one for one in parsed if one is not ark]
    if not intermediates:
        reject("chain_incomplete", "there is no intermediate certificate")
    for one in intermediates:
        if one.subject_cn not in (f"SEV-{product.value}", f"SEV-VLEK-{product.value}"):
            reject("chain_names", f"{one.subject_cn} is no intermediate of {ark.subject_cn}")
        _verify_authority(ark, one, now=now)
    return root


def verify_crl(raw: bytes, ark: bytes, *, now: datetime) -> RevocationList:
    """Verify a CRL against its root, which the caller trusts already.

    Raises:
        EvidenceError: malformed, of another issuer, not current, or not signed by it.
    """
    certificate = Certificate.from_bytes(ders(ark)[0])
    crl = RevocationList.from_bytes(crl_der(raw))
    _check_crl(crl, certificate, now=now)
    return crl


def _parse_all(certs: Iterable[bytes]) -> list[Certificate]:
    unpacked: dict[bytes, Certificate] = {}
    for raw in certs:
        for der in ders(raw):
            if len(unpacked) == MAX_CERTIFICATES:
                raise MalformedEvidenceError(
                    "chain", 0, f"has over {MAX_CERTIFICATES} certificates"
                )
            unpacked[der] = read_certificate(der)
    return list(unpacked.values())


@lru_cache(maxsize=MEMO)
def read_certificate(der: bytes) -> Certificate:
    """`Certificate.from_bytes`, remembered.

    Raises:
        MalformedEvidenceError, UnsupportedEvidenceError: not a strict X.509 v3 certificate
            with a signature as AMD makes them.
    """
    return Certificate.from_bytes(der)


@lru_cache(maxsize=MEMO_CRLS)
def _read_crl(raw: bytes) -> RevocationList:
    return RevocationList.from_bytes(crl_der(raw))


@lru_cache(maxsize=MEMO)
def _vek_extensions(certificate: Certificate) -> VekExtensions:
    return VekExtensions.of(certificate)


def _pick(
    parsed: Sequence[Certificate],
) -> tuple[Certificate, Certificate, Certificate, Product]:
    """(VEK, intermediate, root, product), chosen by name; nothing is proven yet."""
    ark, product = _root(parsed)
    veks = [one for one in parsed if one.subject_cn in ("SEV-VCEK", "SEV-VLEK")]
    if len(veks) != 1:
        reject("chain_incomplete", f"there are {len(veks)} VEK certificates, want 1")
    vek = veks[0]
    kind = "SEV-" if vek.subject_cn == "SEV-VCEK" else "SEV-VLEK-"
    wanted = kind + product.value
    found = [one for one in parsed if one.subject_cn == wanted]
    if not found:
        names = ", ".join(one.subject_cn for one in parsed)
        reject("chain_incomplete", f"{wanted} is missing among {names[:200]}")
    if len(found) > 1:
        reject("chain_incomplete", f"there are {len(found)} different {wanted}")
    if vek.issuer != found[0].subject or found[0].issuer != ark.subject:
        reject("chain_names", f"{vek.subject_cn} names {vek.issuer_cn}, not {wanted}, as issuer")
    return vek, found[0], ark, product


def _root(parsed: Sequence[Certificate]) -> tuple[Certificate, Product]:
    arks = [one for one in parsed if one.subject_cn.startswith("ARK-")]
    if len(arks) != 1:
        reject("chain_incomplete", f"there are {len(arks)} root certificates, want 1")
    name = arks[0].subject_cn.removeprefix("ARK-")
    if not any(name == product.value for product in Product):
        reject("untrusted_root", f"{arks[0].subject_cn} is not the root of a known product")
    return arks[0], Product(name)


def _verify_authority(ark: Certificate, intermediate: Certificate, *, now: datetime) -> None:
    """Steps 4 to 7 for the two CA certificates."""
    if ark.issuer != ark.subject or intermediate.issuer != ark.subject:
        reject("chain_names", f"{intermediate.subject_cn} does not name {ark.subject_cn} as issuer")
    _check_signature(ark, ark)
    _check_signature(intermediate, ark)
    check_critical(ark, _UNDERSTOOD)
    check_issuer(ark, path_length=1)
    check_critical(intermediate, _UNDERSTOOD)
    check_issuer(intermediate, path_length=0)
    check_dates(ark, now)
    check_dates(intermediate, now)


def _ca_key(certificate: Certificate) -> rsa.RSAPublicKey:
    key = _load(certificate.spki, certificate.subject_cn)
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size != _RSA_BITS:
        reject("chain_key", f"{certificate.subject_cn} has no RSA-4096 key")
    return key


def _p384(certificate: Certificate) -> ec.EllipticCurvePublicKey:
    key = _load(certificate.spki, certificate.subject_cn)
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        reject("chain_key", f"{certificate.subject_cn} has no P-384 key")
    return key


@lru_cache(maxsize=MEMO)
def _load(spki: bytes, name: str) -> object:
    try:
        return load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise MalformedEvidenceError(
            f"certificate {name}", 0, "has an unreadable public key"
        ) from error


def _check_signature(certificate: Certificate, issuer: Certificate) -> None:
    if not _signed(certificate.signature, certificate.tbs, issuer):
        reject(
            "chain_signature", f"{certificate.subject_cn} is not signed by {certificate.issuer_cn}"
        )


@lru_cache(maxsize=MEMO)
def _signed(signature: bytes, signed: bytes, issuer: Certificate) -> bool:
    key = _ca_key(issuer)
    scheme = padding.PSS(mgf=padding.MGF1(SHA384()), salt_length=_SALT)
    try:
        key.verify(signature, signed, scheme, SHA384())
    except InvalidSignature:
        return False
    return True


def _check_leaf(vek: Certificate) -> None:
    if any(extension.critical for extension in vek.extensions):
        reject("critical_extension", f"{vek.subject_cn} has a critical extension")
    if vek.extension(BASIC_CONSTRAINTS) is not None:
        reject("chain_ca", f"{vek.subject_cn} has basicConstraints, which no VEK has")


def _check_crl(crl: RevocationList, ark: Certificate, *, now: datetime) -> None:
    if crl.issuer != ark.subject:
        reject("crl_issuer", f"CRL is of {crl.issuer_cn}, want {ark.subject_cn}")
    if not key_usage(ark) & CRL_SIGN:
        reject("key_usage", f"{ark.subject_cn} may not sign CRLs (keyUsage)")
    if not _signed(crl.signature, crl.tbs, ark):
        reject("crl_signature", f"CRL is not signed by {ark.subject_cn}")
    if now < crl.this_update:
        reject("crl_not_yet_valid", f"CRL is valid from {crl.this_update}")
    if now > crl.next_update:
        reject("crl_expired", f"CRL should have been replaced at {crl.next_update}")
