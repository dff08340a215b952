"""NATS keys: Ed25519 keys whose text says what they are for (NATS ADR-14, nkeys).

    public   base32( prefix || key (32) || CRC-16/XMODEM, little endian )
    seed     base32( two bytes: `S` and the prefix, || seed (32) || CRC )

Base32 is RFC 4648's without padding. The first letter of the text is the prefix: `O` an
operator, `A` an account, `U` a user, `N` a server; seeds begin with `S` and that letter.
"""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from atoll.errors import InputError

KEY_SIZE: Final = 32
SEED_TEXT: Final = 58
PUBLIC_TEXT: Final = 56
_SEED: Final = 18 << 3
_CRC_SIZE: Final = 2


class Kind(Enum):
    """What a key is for, with its prefix byte."""

    OPERATOR = 14 << 3
    ACCOUNT = 0
    USER = 20 << 3
    SERVER = 13 << 3


def encode_public(kind: Kind, key: bytes) -> str:
    """The text of an Ed25519 public key of 32 bytes."""
    if len(key) != KEY_SIZE:
        raise ValueError(f"a public key of {len(key)} bytes")
    return _text(bytes([kind.value]) + key)


def decode_public(text: str, kind: Kind) -> bytes:
    """The inverse of `encode_public`.

    Raises:
        InputError: `nkey.invalid`: not a public key of this kind.
    """
    raw = _bytes(text, PUBLIC_TEXT, f"a public key of kind {kind.name.lower()}")
    if raw[0] != kind.value:
        raise _invalid(f"a public key of kind {kind.name.lower()}")
    return raw[1:]


def verify(public: str, kind: Kind, signature: bytes, message: bytes) -> bool:
    """Whether `signature` over `message` is by `public`; False for what is no key."""
    try:
        Ed25519PublicKey.from_public_bytes(decode_public(public, kind)).verify(signature, message)
    except (InputError, InvalidSignature, ValueError):
        return False
    return True


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A private key and what it is for."""

    kind: Kind
    private: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def generate(cls, kind: Kind, random: Callable[[int], bytes]) -> Self:
        """A new key; `random` gives as many random bytes as it is asked for."""
        return cls(kind, Ed25519PrivateKey.from_private_bytes(random(KEY_SIZE)))

    @classmethod
    def from_seed(cls, text: str, kind: Kind) -> Self:
        """Read what `seed` wrote.

        Raises:
            InputError: `nkey.invalid`; the text is not repeated.
        """
        what = f"a seed of kind {kind.name.lower()}"
        raw = _bytes(text, SEED_TEXT, what)
        if raw[0] & 0xF8 != _SEED or (raw[0] & 7) << 5 | raw[1] >> 3 != kind.value:
            raise _invalid(what)
        return cls(kind, Ed25519PrivateKey.from_private_bytes(raw[2:]))

    @property
    def public(self) -> str:
        """The text of the public key."""
        return encode_public(self.kind, self.private.public_key().public_bytes_raw())

    @property
    def seed(self) -> str:
        """The text of the private key: secret."""
        prefix = bytes([_SEED | self.kind.value >> 5, (self.kind.value & 31) << 3])
        return _text(prefix + self.private.private_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """An Ed25519 signature of 64 bytes."""
        return self.private.sign(message)


def _text(raw: bytes) -> str:
    crc = binascii.crc_hqx(raw, 0).to_bytes(_CRC_SIZE, "little")
    return base64.b32encode(raw + crc).decode().rstrip("=")


def _bytes(text: str, size: int, what: str) -> bytes:
    """The bytes before the checksum; only the canonical text of them is accepted."""
    if len(text) != size:
        raise _invalid(what)
    try:
        raw = base64.b32decode(text + "=" * (-size % 8))
    except ValueError as error:
        raise _invalid(what) from error
    if _text(raw[:-_CRC_SIZE]) != text:
        raise _invalid(what)
    return raw[:-_CRC_SIZE]


def _invalid(what: str) -> InputError:
    return InputError(f"not {what}", code="nkey.invalid")
