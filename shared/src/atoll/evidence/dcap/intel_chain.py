"""Certificate chains to a pinned Intel root, and the CRLs of their authorities.

Intel SGX PCK certificate and CRL profile. Two chains, all P-256 with SHA-256:

    PCK <- Platform CA or Processor CA <- root
    TCB signing <- root

A root is pinned by the SHA-256 of its SubjectPublicKeyInfo: genuine pre-production
quotes come with another "Intel SGX Root CA" under another key.

What depends on bytes alone (parsing, whether a key signed something) is remembered in
small bounded caches, since all quotes of one platform bring the same three
certificates. What depends on the time, on CRLs or on the roots never is.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from atoll.errors import MalformedEvidenceError
from atoll.evidence import _der
from atoll.evidence.certificate_checks import (
    BASIC_CONSTRAINTS,
    CRL_SIGN,
    DIGITAL_SIGNATURE,
    KEY_USAGE,
    check_critical,
    check_dates,
    check_issuer,
    is_ca,
    key_usage,
    reject,
)
from atoll.evidence.dcap.pck import SGX_EXTENSION, PckExtension
from atoll.evidence.x509 import INTEL, Certificate, RevocationList

ROOT_CN: Final = "Intel SGX Root CA"
PCK_CN: Final = "Intel SGX PCK Certificate"
TCB_SIGNING_CN: Final = "Intel SGX TCB Signing"
PCK_ISSUER_CNS: Final = ("Intel SGX PCK Platform CA", "Intel SGX PCK Processor CA")

_REQUIRED: Final = {
    _der.oid("2.5.29.35"): "authority key identifier",
    _der.oid("2.5.29.31"): "CRL distribution points",
    _der.oid("2.5.29.14"): "subject key identifier",
    KEY_USAGE: "key usage",
}
_UNDERSTOOD: Final = frozenset({BASIC_CONSTRAINTS, KEY_USAGE, _der.oid(SGX_EXTENSION)})
_P256_SIGNATURE: Final = ec.ECDSA(SHA256())


@dataclass(frozen=True, slots=True, kw_only=True)
class IntelRoot:
    """A root key that is believed, and whether it vouches for simulations only."""

    spki_sha256: bytes
    simulated: bool

    def __post_init__(self) -> None:
        if len(self.spki_sha256) != hashlib.sha256().digest_size:
            raise ValueError("spki_sha256 is not 32 bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class IntelRoots:
    """The roots that one relying party believes. An empty set believes nothing."""

    roots: frozenset[IntelRoot]

    def find(self, spki_sha256: bytes) -> IntelRoot | None:
        """The root with this key, or None."""
        return next((root for root in self.roots if root.spki_sha256 == spki_sha256), None)


PRODUCTION: Final = IntelRoots(
    roots=frozenset(
        {
            IntelRoot(
                spki_sha256=bytes.fromhex(
                    "a0af031289f5d5d4132f9186068a7fc13628633ba235777472e29b6b6c67a49e"
                ),
                simulated=False,
            )
        }
    )
)
"""SHA-256 of the SubjectPublicKeyInfo of Intel's production "Intel SGX Root CA"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedLeaf:
    """An end-entity certificate that a trusted root vouches for; CRLs are another step."""

    root: IntelRoot
    chain: tuple[Certificate, ...] = field(repr=False)
    key: ec.EllipticCurvePublicKey = field(repr=False)

    @property
    def certificate(self) -> Certificate:
        """The leaf itself."""
        return self.chain[0]

    @property
    def issuer(self) -> Certificate:
        """The authority that signed the leaf."""
        return self.chain[1]

    @property
    def root_certificate(self) -> Certificate:
        """The root as the chain brought it; its key is the pinned one."""
        return self.chain[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedPck:
    """A PCK certificate that a trusted root vouches for, and what it says."""

    leaf: VerifiedLeaf
    extension: PckExtension


def verify_pck_chain(chain: Sequence[bytes], roots: IntelRoots, *, now: datetime) -> VerifiedPck:
    """Verify PCK <- Platform or Processor CA <- pinned root.

    1. Three certificates, leaf first, as Intel emits them; all parse.
    2. Names: the three that Intel uses, each naming the next as its issuer.
    3. The root's key is pinned.
    4. Each is signed by the next, the root by itself.
    5. CA flags, path lengths, key usages; the leaf is no CA. The extensions that
       Intel's profile demands are there, and no critical one is unknown.
    6. All are valid at `now`.
    7. The leaf's SGX extension is complete.

    Does not check: revocation (`check_revocation`).

    Args:
        chain: DER certificates, the leaf first.

    Raises:
        MalformedEvidenceError, UnsupportedEvidenceError: something does not parse.
        RejectedEvidenceError: any other step, with the code of the check.
    """
    leaf = _verify(chain, (PCK_CN, *PCK_ISSUER_CNS), roots, now=now, length=3)
    return VerifiedPck(leaf=leaf, extension=_pck_extension(leaf.certificate.der))


def verify_tcb_signing_chain(
    chain: Sequence[bytes], roots: IntelRoots, *, now: datetime
) -> VerifiedLeaf:
    """Verify TCB signing <- pinned root; steps and errors as `verify_pck_chain`, 1 to 6."""
    return _verify(chain, (TCB_SIGNING_CN, ROOT_CN), roots, now=now, length=2)


def check_crl(crl: RevocationList, issuer: Certificate, *, now: datetime) -> None:
    """Check that an authority issued this list and that it is current.

    Raises:
        RejectedEvidenceError: `evidence.crl_issuer`, `.key_usage`, `.crl_signature`,
            `.crl_not_yet_valid`, `.crl_expired`.
        MalformedEvidenceError: the authority's key cannot be read.
    """
    if crl.issuer != issuer.subject:
        reject("crl_issuer", f"CRL is of {crl.issuer_cn}, want {issuer.subject_cn}")
    if not key_usage(issuer) & CRL_SIGN:
        reject("key_usage", f"{issuer.subject_cn} may not sign CRLs (keyUsage)")
    if not is_signed_by(issuer.spki, crl.signature, crl.tbs):
        reject("crl_signature", f"CRL is not signed by {issuer.subject_cn}")
    if now < crl.this_update:
        reject("crl_not_yet_valid", f"CRL is valid from {crl.this_update}")
    if now > crl.next_update:
        reject("crl_expired", f"CRL should have been replaced at {crl.next_update}")


def check_revocation(
    leaf: VerifiedLeaf, *, root_crl: RevocationList, crl: RevocationList, now: datetime
) -> None:
    """Check both lists and that none names a certificate of its own issuer in the chain.

    Serial numbers are compared within one issuer only: the root's list is asked about
    what the root issued, the other list about the leaf.

    Raises:
        RejectedEvidenceError: as `check_crl`, or `evidence.revoked`.
    """
    check_crl(root_crl, leaf.root_certificate, now=now)
    check_crl(crl, leaf.issuer, now=now)
    refuse_revoked(leaf.issuer, root_crl)
    refuse_revoked(leaf.certificate, crl)


def refuse_revoked(certificate: Certificate, crl: RevocationList) -> None:
    """Check that a list of the certificate's issuer does not name it.

    Raises:
        RejectedEvidenceError: `evidence.revoked`.
    """
    if certificate.serial in crl.serials:
        reject("revoked", f"{certificate.subject_cn} {certificate.serial:x} is revoked")


@lru_cache(maxsize=256)
def read_certificate(der: bytes) -> Certificate:
    """Parse one of Intel's certificates; raises as `Certificate.from_bytes`."""
    return Certificate.from_bytes(der, scheme=INTEL)


@lru_cache(maxsize=256)
def is_signed_by(spki: bytes, signature: bytes, signed: bytes) -> bool:
    """Whether the P-256 key signed these bytes (DER signature, SHA-256).

    Raises:
        MalformedEvidenceError, RejectedEvidenceError: the key is not a P-256 key.
    """
    try:
        load_key(spki).verify(signature, signed, _P256_SIGNATURE)
    except InvalidSignature:
        return False
    return True


@lru_cache(maxsize=256)
def load_key(spki: bytes) -> ec.EllipticCurvePublicKey:
    """The P-256 key in a SubjectPublicKeyInfo.

    Raises:
        MalformedEvidenceError: it cannot be read.
        RejectedEvidenceError: `evidence.chain_key`: a key of another kind.
    """
    try:
        key = load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise MalformedEvidenceError("public key", 0, "cannot be read") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        reject("chain_key", "certificate has no P-256 key")
    return key


@lru_cache(maxsize=256)
def _pck_extension(der: bytes) -> PckExtension:
    return PckExtension.of(read_certificate(der))


def _verify(
    chain: Sequence[bytes], names: tuple[str, ...], roots: IntelRoots, *, now: datetime, length: int
) -> VerifiedLeaf:
    # 1
    if len(chain) != length:
        reject("chain_incomplete", f"chain has {len(chain)} certificates, want {length}")
    parsed = tuple(read_certificate(der) for der in chain)
    leaf, root_certificate = parsed[0], parsed[-1]
    # 2
    _check_names(parsed, names)
    # 3
    root = roots.find(hashlib.sha256(root_certificate.spki).digest())
    if root is None or root_certificate.issuer != root_certificate.subject:
        reject("untrusted_root", f"{ROOT_CN} with this key is not a trusted root")
    # 4
    for one, issuer in zip(parsed, (*parsed[1:], root_certificate), strict=True):
        if not is_signed_by(issuer.spki, one.signature, one.tbs):
            reject("chain_signature", f"{one.subject_cn} is not signed by {one.issuer_cn}")
    # 5
    _check_leaf(leaf)
    for depth, one in enumerate(parsed[1:]):
        _check_authority(one, path_length=depth)
    # 6
    for one in parsed:
        check_dates(one, now)
    return VerifiedLeaf(root=root, chain=parsed, key=load_key(leaf.spki))


def _check_names(parsed: Sequence[Certificate], names: tuple[str, ...]) -> None:
    leaf, issuer, root = parsed[0], parsed[1], parsed[-1]
    if leaf.subject_cn != names[0] or issuer.subject_cn not in names[1:]:
        reject(
            "chain_names", f"chain of {leaf.subject_cn} and {issuer.subject_cn}, want {names[0]}"
        )
    if root.subject_cn != ROOT_CN:
        reject("chain_names", f"chain ends in {root.subject_cn}, want {ROOT_CN}")
    for one, above in pairwise(parsed):
        if one.issuer != above.subject:
            reject("chain_names", f"{one.subject_cn} is not issued by {above.subject_cn}")


def _check_leaf(leaf: Certificate) -> None:
    _check_extensions(leaf)
    constraints = leaf.extension(BASIC_CONSTRAINTS)
    if constraints is None:
        reject("chain_extension", f"{leaf.subject_cn} has no basic constraints")
    if is_ca(constraints.value, 0):
        reject("chain_ca", f"{leaf.subject_cn} says that it is a CA")
    if not key_usage(leaf) & DIGITAL_SIGNATURE:
        reject("key_usage", f"{leaf.subject_cn} may not sign (keyUsage)")


def _check_authority(certificate: Certificate, *, path_length: int) -> None:
    check_issuer(certificate, path_length=path_length)
    _check_extensions(certificate)


def _check_extensions(certificate: Certificate) -> None:
    check_critical(certificate, _UNDERSTOOD)
    present = {extension.oid for extension in certificate.extensions}
    for oid, what in _REQUIRED.items():
        if oid not in present:
            reject("chain_extension", f"{certificate.subject_cn} has no {what}")
