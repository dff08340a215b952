"""Certificates, revocation lists and signatures for the independent checker.

Bytes that are not of their form raise whatever the libraries raise: all of it is `REFUSED`.
"""

import base64
import hashlib
import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtensionOID, NameOID

Json = Mapping[str, Any]
Order = Literal["little", "big"]
Certificates = Sequence[x509.Certificate]


class RefusedError(Exception):
    """The one answer that is not "valid"; the text says why."""


REFUSED = (
    *(RefusedError, InvalidSignature, UnsupportedAlgorithm, x509.ExtensionNotFound),
    *(x509.DuplicateExtension, ValueError, LookupError, TypeError, AttributeError, RecursionError),
)
UNDERSTOOD = {ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE}
ORDERS = {
    "secp256r1": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "secp384r1": int("F" * 48 + "C7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973", 16),
}
_PEM = re.compile(rb"-----BEGIN (?:CERTIFICATE|X509 CRL)-----([^-]*)-----END [A-Z0-9 ]+-----")


def require(condition: object, why: str) -> None:
    """Go on only if this holds."""
    if not condition:
        raise RefusedError(why)


def uint(raw: bytes, at: int, width: int) -> int:
    """A little-endian integer that is wholly there."""
    require(at + width <= len(raw), "too short")
    return int.from_bytes(raw[at : at + width], "little")


def der(raw: bytes) -> list[tuple[int, bytes]]:
    """Tag and content of each DER value."""
    found = []
    while raw:
        size, head = raw[1], 2
        if size > 127:
            head, size = size - 126, int.from_bytes(raw[2 : size - 126], "big")
        require(head <= 4 and head + size <= len(raw), "DER length")
        found.append((raw[0], raw[head : head + size]))
        raw = raw[head + size :]
    return found


def blobs(raw: bytes) -> list[bytes]:
    """The values in a file that is DER, or PEM blocks with nothing around them."""
    if raw[:1] == b"\x30":
        return [raw]
    parts = _PEM.split(raw)
    require(len(parts) > 1 and not b"".join(parts[::2]).strip(b" \t\r\n\0"), "neither DER nor PEM")
    return [base64.b64decode(b"".join(part.split()), validate=True) for part in parts[1::2]]


def certificates(raw: bytes) -> list[x509.Certificate]:
    """Every certificate in a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # AMD gives every VEK the serial number 0.
        return [x509.load_der_x509_certificate(one) for one in blobs(raw)]


def name(read: x509.Certificate) -> str:
    """The subject's one common name."""
    (found,) = read.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found.value)


def spki_sha256(read: x509.Certificate) -> str:
    """How roots are pinned."""
    spki = read.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).hexdigest()


def ecdsa(key: object, raw: bytes, message: bytes, hash_: HashAlgorithm, order: Order) -> None:
    """Check r || s in this byte order, which must be in range and not only modulo n."""
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise RefusedError("not an elliptic curve key")
    half, limit = len(raw) // 2, ORDERS[key.curve.name]
    r, s = int.from_bytes(raw[:half], order), int.from_bytes(raw[half:], order)
    require(0 < r < limit and 0 < s < limit, "signature out of range")
    key.verify(encode_dss_signature(r, s), message, ec.ECDSA(hash_))


def chain(certs: Certificates, roots: Collection[str], now: datetime, hash_name: str) -> None:
    """From the leaf to a pinned root: every certificate good now, and signed by the next."""
    require(spki_sha256(certs[-1]) in roots, "root is not trusted")
    for depth, (child, issuer) in enumerate(zip(certs, [*certs[1:], certs[-1]], strict=True)):
        require(child.not_valid_before_utc <= now <= child.not_valid_after_utc, "validity")
        require({one.oid for one in child.extensions if one.critical} <= UNDERSTOOD, "critical")
        basic = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        # The root signs itself and has no one below it but the rest.
        length, below = basic.path_length, min(depth, len(certs) - 2)
        require(basic.ca and (length is None or below <= length), "issuer is no such CA")
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
        require(usage.key_cert_sign, "issuer may not sign certificates")
        algorithm = child.signature_hash_algorithm
        scheme = padding.PSS if hash_name == "sha384" else ec.ECDSA
        require(algorithm and algorithm.name == hash_name, "certificate's hash")
        require(isinstance(child.signature_algorithm_parameters, scheme), "certificate's scheme")
        child.verify_directly_issued_by(issuer)
    leaf = [one.value for one in certs[0].extensions]
    require(not any(isinstance(one, x509.BasicConstraints) and one.ca for one in leaf), "leaf's CA")


def revoked(raw: bytes, issuer: x509.Certificate, serial: int, now: datetime) -> None:
    """The lists are the issuer's and current, and do not have this serial number."""
    for one in blobs(raw):
        crl = x509.load_der_x509_crl(one)
        require(crl.issuer == issuer.subject, "revocation list's issuer")
        require(crl.is_signature_valid(issuer.public_key()), "revocation list's signature")  # type: ignore[arg-type]
        end = crl.next_update_utc
        require(end is not None and crl.last_update_utc <= now <= end, "revocation list's time")
        require(crl.get_revoked_certificate_by_serial_number(serial) is None, "revoked")
