"""RA-TLS certificates for tests, encoded by hand where a library would be too polite."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

FROM = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
UNTIL = datetime(2027, 1, 1, tzinfo=UTC)
EVIDENCE_OID = x509.ObjectIdentifier("2.23.133.5.4.9")
QUOTE = b"a quote"


@cache
def key() -> ec.EllipticCurvePrivateKey:
    """The TLS key."""
    return ec.generate_private_key(ec.SECP256R1())


@cache
def other_key() -> ec.EllipticCurvePrivateKey:
    """The key of whoever relays."""
    return ec.generate_private_key(ec.SECP256R1())


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    """A key of a kind that is not supported."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def spki(of: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None) -> bytes:
    """The public key's DER."""
    public = (of or key()).public_key()
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def head(kind: int, number: int) -> bytes:
    """A CBOR head, as short as it can be."""
    if number < 24:
        return bytes((kind << 5 | number,))
    width = next(one for one in (1, 2, 4, 8) if number < 1 << 8 * one)
    return bytes((kind << 5 | 23 + width.bit_length(),)) + number.to_bytes(width, "big")


def cbor(value: Any) -> bytes:
    """The deterministic encoding of integers, bytes, texts, lists and dicts."""
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(cbor, value))
    pairs = b"".join(cbor(name) + cbor(one) for name, one in value.items())
    return head(5, len(value)) + pairs


def claims(of: ec.EllipticCurvePrivateKey | None = None, **more: Any) -> bytes:
    """Encoded claims for a key; `more` has further claims with `_` for `-`."""
    bound = cbor([1, hashlib.sha256(spki(of)).digest()])
    named = {name.replace("_", "-"): value for name, value in more.items()}
    return cbor({"pubkey-hash": bound, **named})


def evidence(said: bytes, quote: bytes = QUOTE, tag: int = 60000) -> bytes:
    """The value of the extension."""
    return head(6, tag) + cbor([quote, said])


def report_data(said: bytes) -> bytes:
    """What the quote must commit to."""
    return hashlib.sha256(said).digest().ljust(64, b"\x00")


@dataclass(frozen=True, kw_only=True)
class Tls:
    """The parts of a certificate; tests replace what shall be wrong."""

    value: bytes | None
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None
    signer: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None
    hash: SHA256 | SHA384 | SHA512 | None = None
    critical: str = ""

    def der(self) -> bytes:
        """The encoded certificate."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "enclave")])
        own = self.key or key()
        builder = x509.CertificateBuilder(subject, subject, own.public_key(), 1, FROM, UNTIL)
        if self.value is not None:
            item = x509.UnrecognizedExtension(EVIDENCE_OID, self.value)
            builder = builder.add_extension(item, critical=False)
        if self.critical:
            unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier(self.critical), b"\x05\x00")
            builder = builder.add_extension(unknown, critical=True)
        signed = builder.sign(self.signer or own, self.hash or SHA256())
        return signed.public_bytes(Encoding.DER)
