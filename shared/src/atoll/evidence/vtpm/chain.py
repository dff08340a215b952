"""The certificate of a virtual TPM's attestation key: AK <- the deployment's vTPM authority.

Both are P-256 and signed by ECDSA with SHA-256. The authority is pinned by the SHA-256 of its
SubjectPublicKeyInfo, in the trust store. The certificate is what says that the key is a TPM's
and restricted, which no signature by it can show.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from atoll.errors import MalformedEvidenceError
from atoll.evidence import _der
from atoll.evidence._der import DerReader
from atoll.evidence.certificate_checks import (
    BASIC_CONSTRAINTS,
    DIGITAL_SIGNATURE,
    KEY_USAGE,
    check_critical,
    check_dates,
    check_issuer,
    is_ca,
    key_usage,
    reject,
)
from atoll.evidence.dcap.intel_chain import is_signed_by, load_key, read_certificate
from atoll.evidence.x509 import Certificate, ders

AUTHORITY_CN: Final = "Atoll vTPM Authority"
AIK_CERTIFICATE: Final = "2.23.133.8.3"
"""tcg-kp-AIKCertificate (TCG EK Credential Profile 2.5, section 3.4)."""
LENGTH: Final = 2

_EXTENDED_KEY_USAGE: Final = _der.oid("2.5.29.37")
_UNDERSTOOD: Final = frozenset({BASIC_CONSTRAINTS, KEY_USAGE, _EXTENDED_KEY_USAGE})
_PURPOSE: Final = _der.oid(AIK_CERTIFICATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class VtpmRoots:
    """SHA-256 of the keys of the authorities that one relying party believes; none by default."""

    keys: frozenset[bytes]

    def __post_init__(self) -> None:
        if any(len(one) != hashlib.sha256().digest_size for one in self.keys):
            raise ValueError("a key's SHA-256 is not 32 bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedAk:
    """An attestation key that a trusted authority vouches for."""

    host: str
    """Whose TPM it is, by the authority's word."""
    key: ec.EllipticCurvePublicKey = field(repr=False)
    spki: bytes = field(repr=False)


def verify_ak_chain(certs: Sequence[bytes], roots: VtpmRoots, *, now: datetime) -> VerifiedAk:
    """Verify AK <- authority.

    1. Two certificates, the AK's first, DER or PEM; both parse.
    2. Names: the authority's is the one that authorities have, and the AK's issuer.
    3. The authority's key is pinned.
    4. It signed itself and the AK's certificate.
    5. CA flags and key usages allow that; the AK is no CA, may sign, and its only purpose is
       that of an attestation key. No critical extension is unknown.
    6. Both are valid at `now`.

    Does not check: revocation, of which there is none; certificates end soon.

    Raises:
        MalformedEvidenceError, UnsupportedEvidenceError: something does not parse.
        RejectedEvidenceError: any other step, with the code of the check.
    """
    # 1
    found = [der for one in certs for der in ders(one)]
    if len(found) != LENGTH:
        reject("chain_incomplete", f"chain has {len(found)} certificates, want {LENGTH}")
    leaf, authority = map(read_certificate, found)
    # 2
    name = authority.subject_cn
    if name != AUTHORITY_CN or authority.issuer != authority.subject:
        reject("chain_names", f"chain ends in {name}, want {AUTHORITY_CN}")
    if leaf.issuer != authority.subject:
        reject("chain_names", f"{leaf.subject_cn} is not issued by {name}")
    # 3
    if hashlib.sha256(authority.spki).digest() not in roots.keys:
        reject("untrusted_root", f"{name} with this key is not a trusted root")
    # 4
    for one in (authority, leaf):
        if not is_signed_by(authority.spki, one.signature, one.tbs):
            reject("chain_signature", f"{one.subject_cn} is not signed by {name}")
    # 5
    check_issuer(authority, path_length=0)
    check_critical(authority, _UNDERSTOOD)
    _check_leaf(leaf)
    # 6
    for one in (authority, leaf):
        check_dates(one, now)
    return VerifiedAk(host=leaf.subject_cn, key=load_key(leaf.spki), spki=leaf.spki)


def _check_leaf(leaf: Certificate) -> None:
    name = leaf.subject_cn
    constraints = leaf.extension(BASIC_CONSTRAINTS)
    if constraints is not None and is_ca(constraints.value, 0):
        reject("chain_ca", f"{name} says that it is a CA")
    if not key_usage(leaf) & DIGITAL_SIGNATURE:
        reject("key_usage", f"{name} may not sign (keyUsage)")
    purposes = leaf.extension(_EXTENDED_KEY_USAGE)
    if purposes is None or _purposes(purposes.value) != [_PURPOSE]:
        reject("key_usage", f"{name} is not for an attestation key (extKeyUsage)")
    check_critical(leaf, _UNDERSTOOD)


def _purposes(value: bytes) -> list[bytes]:
    reader = DerReader(value, structure="extKeyUsage")
    items = reader.nested(_der.SEQUENCE)
    reader.finish()
    found = []
    while not items.empty:
        found.append(items.content(_der.OID))
    return found


def authority_spki_sha256(der: bytes) -> bytes:
    """What pins the authority of this certificate.

    Raises:
        EvidenceError: not a certificate, or not of an authority for virtual TPMs.
    """
    certificate = read_certificate(der)
    if certificate.subject_cn != AUTHORITY_CN:
        raise MalformedEvidenceError("certificate", 0, f"is of {certificate.subject_cn[:80]!r}")
    return hashlib.sha256(certificate.spki).digest()
