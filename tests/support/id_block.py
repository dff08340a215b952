"""ID blocks and their authentication, signed by keys made here."""

from functools import cache

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

LAUNCH_DIGEST = b"\x5d" * 48


@cache
def key(name: str) -> ec.EllipticCurvePrivateKey:
    """One key for each name, made once."""
    if name not in ("id", "author"):
        raise ValueError(name)
    return ec.generate_private_key(ec.SECP384R1())


def public(name: str) -> bytes:
    """The 1028 bytes of a key."""
    numbers = key(name).public_key().public_numbers()
    raw = (2).to_bytes(4, "little")
    raw += numbers.x.to_bytes(72, "little") + numbers.y.to_bytes(72, "little")
    return raw.ljust(1028, b"\0")


def sign(name: str, signed: bytes) -> bytes:
    """The 512 bytes of a signature."""
    r, s = decode_dss_signature(key(name).sign(signed, ec.ECDSA(SHA384())))
    return (r.to_bytes(72, "little") + s.to_bytes(72, "little")).ljust(512, b"\0")


def block(*, policy: int = 0x30000, version: int = 1) -> bytes:
    """An ID block."""
    raw = LAUNCH_DIGEST + b"f" * 16 + b"i" * 16
    raw += version.to_bytes(4, "little") + (7).to_bytes(4, "little")
    return raw + policy.to_bytes(8, "little")


def auth(signed: bytes, *, author: bool = True) -> bytes:
    """Its authentication by the keys "id" and "author"."""
    raw = (1).to_bytes(4, "little") + int(author).to_bytes(4, "little") + bytes(56)
    raw += sign("id", signed) + public("id") + bytes(60)
    if author:
        raw += sign("author", public("id")) + public("author")
    return raw.ljust(4096, b"\0")
