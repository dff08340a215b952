"""Keys by name, signatures as quotes have them, and a little DER to put into certificates."""

from functools import cache

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from atoll.evidence import _der

Key = ec.EllipticCurvePrivateKey


@cache
def key(name: str) -> Key:
    """A key for this name, the same in the whole test run."""
    del name
    return ec.generate_private_key(ec.SECP256R1())


def sign(signer: Key, message: bytes) -> bytes:
    """r || s, big-endian, as quotes and collateral have it."""
    r, s = decode_dss_signature(signer.sign(message, ec.ECDSA(SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def point(signer: Key) -> bytes:
    """x || y of the public key."""
    raw = signer.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return raw[1:]


def tlv(tag: int, content: bytes) -> bytes:
    """One DER value."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def integer(value: int) -> bytes:
    """A DER INTEGER, with a leading 00 where the sign bit would be set."""
    return tlv(_der.INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def pair(oid: str, value: bytes) -> bytes:
    """SEQUENCE { OID, value }."""
    return tlv(_der.SEQUENCE, tlv(_der.OID, _der.oid(oid)) + value)


def le(value: int, size: int) -> bytes:
    """A little-endian integer."""
    return value.to_bytes(size, "little")
