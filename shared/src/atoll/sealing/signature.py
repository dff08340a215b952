"""Ed25519 (RFC 8032) over transcripts: who says so, and for which purpose.

Verification is strict in one way more than OpenSSL: public keys of small order are
refused, because a signature under such a key fits many messages. S >= L and
non-canonical R are refused by OpenSSL itself (RFC 8032, section 5.1.7).
"""

from collections.abc import Callable
from typing import Final, Protocol, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from atoll.errors import InputError, SealError
from atoll.framing import transcript

SEED_SIZE: Final = 32
PUBLIC_SIZE: Final = 32
SIGNATURE_SIZE: Final = 64

_P: Final = 2**255 - 19
_ORDER_8: Final = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER_Y: Final = frozenset({0, 1, _P - 1, _ORDER_8, _P - _ORDER_8, _P, _P + 1})
"""The y coordinates of the eight points of small order, in every encoding of them."""


class SigningKey:
    """An Ed25519 private key that never shows its seed in a `repr`."""

    __slots__ = ("_key", "public_bytes", "seed")

    def __init__(self, seed: bytes) -> None:
        """Take a 32-byte seed.

        Raises:
            InputError: `identity.malformed`, the seed has another length.
        """
        if len(seed) != SEED_SIZE:
            raise InputError(
                f"signing seed is {len(seed)} bytes, want {SEED_SIZE}", code="identity.malformed"
            )
        self.seed: Final = bytes(seed)
        self._key: Final = Ed25519PrivateKey.from_private_bytes(self.seed)
        self.public_bytes: Final = self._key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls, random: Callable[[int], bytes]) -> Self:
        """A fresh key; `random(n)` gives n unpredictable bytes."""
        return cls(random(SEED_SIZE))

    def sign(self, label: str, *values: bytes) -> bytes:
        """64 bytes: the signature over `transcript(label, *values)`."""
        return self.sign_bytes(transcript(label, *values))

    def sign_bytes(self, message: bytes) -> bytes:
        """Sign foreign framing (DSSE). What is ours goes through `sign`, with its purpose."""
        return self._key.sign(message)

    def __repr__(self) -> str:
        return f"SigningKey(public_bytes={self.public_bytes.hex()!r})"


class Signer(Protocol):
    """What makes a signed message in the name of a party, for instance `PartyKeys`."""

    @property
    def name(self) -> str: ...
    @property
    def signing_key(self) -> bytes: ...
    def sign(self, label: str, *values: bytes) -> bytes: ...


def is_usable_public_key(public: bytes) -> bool:
    """True if `public` is 32 bytes and not a point of small order.

    It does not say whether the bytes are a point at all: under those that are not,
    no signature verifies.
    """
    if len(public) != PUBLIC_SIZE:
        return False
    y = int.from_bytes(public, "little") & ((1 << 255) - 1)
    return y not in _SMALL_ORDER_Y


def verify_signature(public: bytes, signature: bytes, label: str, *values: bytes) -> None:
    """Return if `signature` by `public` is over `transcript(label, *values)`.

    Raises:
        SealError: `signature.invalid`.
    """
    verify_bytes(public, signature, transcript(label, *values))


def verify_bytes(public: bytes, signature: bytes, message: bytes) -> None:
    """As `verify_signature`, over bytes that somebody else framed.

    Raises:
        SealError: `signature.invalid`.
    """
    if not is_usable_public_key(public):
        raise SealError("not a usable Ed25519 public key", code="signature.invalid")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise SealError(
            f"signature does not verify under key {public.hex()[:16]}", code="signature.invalid"
        ) from error
