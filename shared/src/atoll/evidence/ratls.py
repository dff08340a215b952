"""Interoperable RA-TLS certificates: a TLS key that an attested enclave vouches for.

A self-signed certificate with the extension 2.23.133.5.4.9 (TCG DICE attestation framework,
tagged evidence), whose value is CBOR:

    60000([ quote: bstr, claims: bstr ])
    claims = { "pubkey-hash": bstr, ? "nonce": bstr, * tstr => any }
    pubkey-hash = [ hash: 1 / 7 / 8, bstr ]      SHA-256, SHA-384, SHA-512 of the SPKI's DER

REPORTDATA of the quote is SHA-256(claims), then 32 zero bytes (CCC attestation group,
interoperable RA-TLS). Evidence copied into a certificate for another key does not fit it.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import load_der_public_key

from atoll.errors import MalformedEvidenceError, RejectedEvidenceError, UnsupportedEvidenceError
from atoll.evidence import _cbor, _der
from atoll.evidence.dcap.quote import Quote
from atoll.evidence.policy_forms import UNCHECKED, Unchecked
from atoll.evidence.x509 import Certificate, SignatureScheme, ders

MAX_CERTIFICATE: Final = 64 << 10
TAGGED_EVIDENCE: Final = _der.oid("2.23.133.5.4.9")

_TAG: Final = 60000
_NAMED_HASHES: Final = {1: "sha256", 7: "sha384", 8: "sha512"}
"""Named Information Hash Algorithm Registry (RFC 6920, section 9.4)."""
_REPORT_DATA_SIZE: Final = 64
_UNDERSTOOD: Final = (_der.oid("2.5.29.19"), _der.oid("2.5.29.15"), TAGGED_EVIDENCE)


def _ecdsa(name: str, last: str) -> SignatureScheme:
    encoded = frozenset({bytes.fromhex("300a06082a8648ce3d0403" + last)})
    return SignatureScheme(name=f"ECDSA with {name}", encodings=encoded)


_SCHEMES: Final = (
    (_ecdsa("SHA-256", "02"), SHA256()),
    (_ecdsa("SHA-384", "03"), SHA384()),
    (_ecdsa("SHA-512", "04"), SHA512()),
)

ProveQuote = Callable[[bytes], Quote]
"""Verifies a quote as the relying party wants it, and gives it back parsed.

Raises `EvidenceError` otherwise.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedRaTls:
    """A TLS key, and the proven quote that speaks for it; what it says is policy's affair."""

    spki: bytes = field(repr=False)
    quote: Quote
    claims: dict[str, Any]


def verify_ratls(
    certificate: bytes, prove: ProveQuote, *, now: datetime, nonce: bytes | Unchecked
) -> VerifiedRaTls:
    """Verify one certificate, DER or PEM.

    1. Parse it; no critical extension is unknown.
    2. It is valid at `now`, and signed by its own key.
    3. It has the evidence extension in the form above.
    4. pubkey-hash is the hash of this certificate's key.
    5. The claims have this nonce, unless it is UNCHECKED.
    6. `prove` accepts the quote.
    7. All 64 bytes of REPORTDATA are SHA-256(claims) and zeros.

    Does not check: that the peer has the private key (TLS does), names, and whatever
    `prove` leaves out.

    Raises:
        MalformedEvidenceError, UnsupportedEvidenceError: steps 1 and 3.
        RejectedEvidenceError: `evidence.critical_extension`, `.not_yet_valid`, `.expired`,
            `.certificate_signature`, `.pubkey_binding_mismatch`, `.nonce_mismatch`,
            `.claims_binding_mismatch`, or what `prove` raises.
    """
    # 1
    parsed, hash_ = _parse(certificate)
    for extension in parsed.extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise _rejected("critical_extension", "has a critical extension that is not known")
    # 2
    if now < parsed.not_before:
        raise _rejected("not_yet_valid", f"is valid from {parsed.not_before}")
    if now > parsed.not_after:
        raise _rejected("expired", f"expired at {parsed.not_after}")
    _check_signature(parsed, hash_)
    # 3
    raw_quote, raw_claims, claims = _evidence(parsed)
    # 4
    name, digest = _pubkey_hash(claims)
    if hashlib.new(name, parsed.spki).digest() != digest:
        raise _rejected("pubkey_binding_mismatch", "has evidence for another key")
    # 5
    if nonce is not UNCHECKED and claims.get("nonce") != nonce:
        raise _rejected("nonce_mismatch", "has claims with another nonce, or none")
    # 6
    quote = prove(raw_quote)
    # 7
    wanted = hashlib.sha256(raw_claims).digest().ljust(_REPORT_DATA_SIZE, b"\x00")
    if quote.body.report_data != wanted:
        raise _rejected("claims_binding_mismatch", "has a quote for other claims")
    return VerifiedRaTls(spki=parsed.spki, quote=quote, claims=claims)


def read_ratls(raw: bytes) -> tuple[Certificate, Quote, dict[str, Any]]:
    """Parse the certificate, its quote and its claims; proves nothing.

    Raises:
        EvidenceError: one of them does not parse.
    """
    certificate, _ = _parse(raw)
    quote, _, claims = _evidence(certificate)
    return certificate, Quote.from_bytes(quote), claims


def ratls_quote(raw: bytes) -> bytes:
    """The quote in a certificate, as it came; proves nothing.

    Raises:
        EvidenceError: the certificate does not parse, or has none.
    """
    return _evidence(_parse(raw)[0])[0]


def ratls_certificate(raw: bytes) -> Certificate:
    """Parse the certificate alone; proves nothing.

    Raises:
        EvidenceError: it does not parse.
    """
    return _parse(raw)[0]


def _parse(raw: bytes) -> tuple[Certificate, SHA256 | SHA384 | SHA512]:
    found = ders(bytes(raw))
    if len(found) != 1:
        raise MalformedEvidenceError("RA-TLS certificate", 0, f"are {len(found)}, want 1")
    for scheme, hash_ in _SCHEMES:
        try:
            return Certificate.from_bytes(found[0], scheme=scheme, limit=MAX_CERTIFICATE), hash_
        except UnsupportedEvidenceError:
            continue
    raise UnsupportedEvidenceError("RA-TLS certificate is not signed with ECDSA and SHA-2")


def _check_signature(certificate: Certificate, hash_: SHA256 | SHA384 | SHA512) -> None:
    try:
        key = load_der_public_key(certificate.spki)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise MalformedEvidenceError("RA-TLS certificate", 0, "has an unreadable key") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise UnsupportedEvidenceError("RA-TLS certificate has no elliptic curve key")
    try:
        key.verify(certificate.signature, certificate.tbs, ec.ECDSA(hash_))
    except InvalidSignature as error:
        raise _rejected("certificate_signature", "is not signed by its own key") from error


def _evidence(certificate: Certificate) -> tuple[bytes, bytes, dict[str, Any]]:
    """(quote, claims as they came, claims)."""
    extension = certificate.extension(TAGGED_EVIDENCE)
    if extension is None:
        raise _malformed("is missing")
    tagged = _cbor.loads(extension.value, structure="RA-TLS evidence")
    if not isinstance(tagged, _cbor.Tagged) or tagged.tag != _TAG:
        raise _malformed(f"is not under tag {_TAG}")
    match tagged.value:
        case [bytes() as quote, bytes() as raw]:
            claims = _cbor.loads(raw, structure="RA-TLS claims")
        case _:
            raise _malformed("is not an array of quote and claims")
    if not isinstance(claims, dict):
        raise _malformed("has claims that are not a map")
    return quote, raw, claims


def _pubkey_hash(claims: dict[str, Any]) -> tuple[str, bytes]:
    raw = claims.get("pubkey-hash")
    if not isinstance(raw, bytes):
        raise _malformed("has no pubkey-hash")
    match _cbor.loads(raw, structure="RA-TLS pubkey-hash"):
        case [int() as kind, bytes() as digest] if kind in _NAMED_HASHES:
            return _NAMED_HASHES[kind], digest
        case _:
            raise _malformed("has a pubkey-hash that is not [1, 7 or 8, bytes]")


def _malformed(reason: str) -> MalformedEvidenceError:
    return MalformedEvidenceError("RA-TLS evidence", 0, reason)


def _rejected(check: str, what: str) -> RejectedEvidenceError:
    return RejectedEvidenceError(f"RA-TLS certificate {what}", code=f"evidence.{check}")
