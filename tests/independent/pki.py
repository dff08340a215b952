"""Certificates for the independent checker: reading, chains, revocation lists.

`cryptography` and the standard library only, as everything in this folder. Nothing here
imports `atoll`, and nothing here was written by looking at its verifiers: the sources
are the specifications, as the project's notes sum them up.
"""

import base64
import hashlib
import re
import warnings
from collections.abc import Collection, Sequence
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtensionOID, NameOID

UNDERSTOOD = {ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE}

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)
_MUST_STAND_AROUND = b" \t\r\n\0"


class RefusedError(Exception):
    """The one answer that is not "valid"; the text says why."""


def require(condition: object, why: str) -> None:
    """Go on only if this holds."""
    if not condition:
        raise RefusedError(why)


def blobs(raw: bytes) -> list[bytes]:
    """The DER values in a file that is DER, or PEM with any number of blocks."""
    if raw[:1] == b"\x30":
        return [raw]
    require(not _BLOCK.sub(b"", raw).strip(_MUST_STAND_AROUND), "text around PEM")
    try:
        found = [
            base64.b64decode(b"".join(m[2].split()), validate=True) for m in _BLOCK.finditer(raw)
        ]
    except ValueError as error:
        raise RefusedError("base64") from error
    require(found, "no certificate")
    return found


def certificate(der: bytes) -> x509.Certificate:
    """Read one certificate, with every extension that this checker looks at."""
    try:
        with warnings.catch_warnings():
            # AMD gives every VEK the serial number 0.
            warnings.simplefilter("ignore")
            read = x509.load_der_x509_certificate(der)
            read.serial_number, read.extensions, read.subject, read.issuer  # noqa: B018
    except (ValueError, x509.DuplicateExtension) as error:
        raise RefusedError("certificate") from error
    return read


def revocation_list(der: bytes) -> x509.CertificateRevocationList:
    """Read one revocation list."""
    try:
        return x509.load_der_x509_crl(der)
    except ValueError as error:
        raise RefusedError("revocation list") from error


def common_name(name: x509.Name) -> str:
    """The one common name."""
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    require(len(found) == 1, "common name")
    return str(found[0].value)


def spki_sha256(read: x509.Certificate) -> str:
    """How roots are pinned."""
    spki = read.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).hexdigest()


def ecdsa(key: object, raw: bytes, message: bytes, hash_: HashAlgorithm, order: str) -> None:
    """Check r || s in this byte order, which must be in range and not only modulo n."""
    curve_order = {
        "secp256r1": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
        "secp384r1": int("F" * 48 + "C7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973", 16),
    }
    require(isinstance(key, ec.EllipticCurvePublicKey), "not an elliptic curve key")
    assert isinstance(key, ec.EllipticCurvePublicKey)
    half = len(raw) // 2
    r, s = (int.from_bytes(part, order) for part in (raw[:half], raw[half:]))  # type: ignore[arg-type]
    limit = curve_order.get(key.curve.name, 0)
    require(0 < r < limit and 0 < s < limit, "signature out of range")
    try:
        key.verify(encode_dss_signature(r, s), message, ec.ECDSA(hash_))
    except InvalidSignature as error:
        raise RefusedError("signature") from error


def issued(child: x509.Certificate, issuer: x509.Certificate, hash_name: str) -> None:
    """Names fit, the issuer may issue, and it signed with the one algorithm of its vendor."""
    require(child.issuer == issuer.subject, "issuer's name")
    require(_basic(issuer).ca, "issuer is not a CA")
    require(_key_usage(issuer).key_cert_sign, "issuer may not sign certificates")
    _algorithm(child, hash_name)
    try:
        child.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError) as error:
        raise RefusedError("certificate's signature") from error


def chain(
    certs: Sequence[x509.Certificate], *, roots: Collection[str], now: datetime, hash_name: str
) -> None:
    """A chain from the leaf to a pinned root, every certificate good now."""
    require(spki_sha256(certs[-1]) in roots, "root is not trusted")
    for depth, (child, issuer) in enumerate(zip(certs, [*certs[1:], certs[-1]], strict=True)):
        require(child.not_valid_before_utc <= now <= child.not_valid_after_utc, "validity")
        issued(child, issuer, hash_name)
        length = _basic(issuer).path_length
        # The root is paired with itself and has no one below it but the rest.
        below = min(depth, len(certs) - 2)
        require(length is None or below <= length, "path length")
        known = [one for one in child.extensions if one.critical]
        require({one.oid for one in known} <= UNDERSTOOD, "unknown critical extension")
    require(not _is_ca(certs[0]), "leaf is a CA")


def revoked(
    crl: x509.CertificateRevocationList, issuer: x509.Certificate, serial: int, now: datetime
) -> None:
    """The list is the issuer's, and is current, and does not have this serial number."""
    require(crl.issuer == issuer.subject, "revocation list's issuer")
    try:
        good = crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise RefusedError("revocation list's key") from error
    require(good, "revocation list's signature")
    end = crl.next_update_utc
    require(end is not None and crl.last_update_utc <= now <= end, "revocation list's time")
    require(crl.get_revoked_certificate_by_serial_number(serial) is None, "revoked")


def _algorithm(child: x509.Certificate, hash_name: str) -> None:
    hash_ = child.signature_hash_algorithm
    require(hash_ is not None and hash_.name == hash_name, "certificate's hash")
    parameters = child.signature_algorithm_parameters
    if hash_name == "sha384":
        require(isinstance(parameters, padding.PSS), "not RSASSA-PSS")
    else:
        require(isinstance(parameters, ec.ECDSA), "not ECDSA")


def rsa_4096(read: x509.Certificate) -> bool:
    """AMD's authorities have keys of this size."""
    key = read.public_key()
    return isinstance(key, rsa.RSAPublicKey) and key.key_size == 4096


def _basic(read: x509.Certificate) -> x509.BasicConstraints:
    try:
        return read.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound as error:
        raise RefusedError("no basic constraints") from error


def _is_ca(read: x509.Certificate) -> bool:
    found = [one.value for one in read.extensions if isinstance(one.value, x509.BasicConstraints)]
    return any(one.ca for one in found)


def _key_usage(read: x509.Certificate) -> x509.KeyUsage:
    try:
        return read.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound as error:
        raise RefusedError("no key usage") from error
