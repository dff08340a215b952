"""HPKE (RFC 9180, base mode, one message) with X-Wing, HKDF-SHA256 and AES-256-GCM.

X-Wing is draft-connolly-cfrg-xwing-kem (KEM id 0x647a): a 32-byte seed, expanded with
SHAKE256 to 96 bytes: ML-KEM-768 d || z (64), then the X25519 private key (32).

| offset | size | public key            | | offset | size | ciphertext              |
| ------ | ---- | --------------------- |-| ------ | ---- | ----------------------- |
| 0      | 1184 | ML-KEM-768 public key | | 0      | 1088 | ML-KEM-768 ciphertext   |
| 1184   | 32   | X25519 public key     | | 1088   | 32   | X25519 ephemeral key    |
|        |      |                       | | 1120   | n+16 | AES-256-GCM of n bytes  |

Base mode says nothing about who sealed: every user of this module signs beside it.
Encapsulation takes its randomness from the operating system; the library offers no other way.
"""

import hashlib
from collections.abc import Callable
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from atoll.errors import SealError

SEED_SIZE: Final = 32
PUBLIC_SIZE: Final = 1216
ENC_SIZE: Final = 1120
TAG_SIZE: Final = 16
OVERHEAD: Final = ENC_SIZE + TAG_SIZE
"""How much longer a ciphertext is than its plaintext."""

_ML_KEM_SEED: Final = 64
_ML_KEM_PUBLIC: Final = 1184
_SUITE: Final = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class HpkePrivateKey:
    """An X-Wing private key that never shows its seed in a `repr`."""

    __slots__ = ("_key", "public_bytes", "seed")

    def __init__(self, seed: bytes) -> None:
        """Take a 32-byte X-Wing seed.

        Raises:
            SealError: `seal.key`, the seed has another length.
        """
        if len(seed) != SEED_SIZE:
            raise SealError(f"X-Wing seed is {len(seed)} bytes, want {SEED_SIZE}", code="seal.key")
        self.seed: Final = bytes(seed)
        expanded = hashlib.shake_256(self.seed).digest(_ML_KEM_SEED + 32)
        ml_kem = MLKEM768PrivateKey.from_seed_bytes(expanded[:_ML_KEM_SEED])
        x25519 = X25519PrivateKey.from_private_bytes(expanded[_ML_KEM_SEED:])
        self._key: Final = MLKEM768X25519PrivateKey(ml_kem, x25519)
        self.public_bytes: Final = (
            ml_kem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
        )

    @classmethod
    def generate(cls, random: Callable[[int], bytes]) -> Self:
        """A fresh key; `random(n)` gives n unpredictable bytes."""
        return cls(random(SEED_SIZE))

    def open(self, ciphertext: bytes, info: bytes) -> bytes:
        """The plaintext; see `open_`."""
        try:
            return _SUITE.decrypt(ciphertext, self._key, info)
        except (InvalidTag, ValueError) as error:
            raise SealError(
                "HPKE ciphertext was not sealed to this key with this context", code="seal.hpke"
            ) from error

    def __repr__(self) -> str:
        return f"HpkePrivateKey(public_sha256={hashlib.sha256(self.public_bytes).hexdigest()!r})"


def require_public_key(public: bytes) -> bytes:
    """`public`, if it is an X-Wing public key (FIPS 203, section 7.2, modulus check included).

    Raises:
        SealError: `seal.key`.
    """
    _public_key(public)
    return public


def seal(public: bytes, plaintext: bytes, info: bytes) -> bytes:
    """Seal `plaintext` so that only the holder of `public`'s seed opens it, under the same `info`.

    Raises:
        SealError: `seal.key`, not an X-Wing public key, or an X25519 part of small order.
    """
    key = _public_key(public)
    try:
        return _SUITE.encrypt(plaintext, key, info)
    except ValueError as error:
        raise SealError("X-Wing public key has an unusable X25519 part", code="seal.key") from error


def open_(private: HpkePrivateKey, ciphertext: bytes, info: bytes) -> bytes:
    """The plaintext that was sealed to `private` with the same `info`.

    Raises:
        SealError: `seal.hpke`. Which part did not fit cannot be known.
    """
    return private.open(ciphertext, info)


def _public_key(public: bytes) -> MLKEM768X25519PublicKey:
    if len(public) != PUBLIC_SIZE:
        raise SealError(
            f"X-Wing public key is {len(public)} bytes, want {PUBLIC_SIZE}", code="seal.key"
        )
    try:
        return MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(public[:_ML_KEM_PUBLIC]),
            X25519PublicKey.from_public_bytes(public[_ML_KEM_PUBLIC:]),
        )
    except ValueError as error:
        raise SealError("not an X-Wing public key", code="seal.key") from error
