"""Signatures over transcripts: who says so, and for which purpose.

Enclaves sign with Ed25519 (RFC 8032), parties with that, ECDSA (FIPS 186-5) or RSASSA-PSS
(RFC 8017); `atoll.sealing.public_key` says which keys. The key alone decides on the scheme.

Verification is strict in two ways more than OpenSSL: public keys of small order are refused,
because a signature under such a key fits many messages, and so is an ECDSA signature with
s > n/2, which anybody could make of the one with n - s. S >= L and non-canonical R are
refused by OpenSSL itself (RFC 8032, section 5.1.7).
"""

from collections.abc import Callable
from typing import Final, Protocol, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256, SHA384

from atoll.errors import InputError, SealError
from atoll.framing import transcript
from atoll.sealing.public_key import ED25519_SIZE, parse_public_key

SEED_SIZE: Final = 32
PUBLIC_SIZE: Final = ED25519_SIZE
SIGNATURE_SIZE: Final = 64

HASHES: Final = {"secp256r1": SHA256(), "secp384r1": SHA384()}
"""What ECDSA hashes with on each curve."""
ORDERS: Final = {
    "secp256r1": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "secp384r1": int(
        "ffffffffffffffffffffffffffffffffffffffffffffffff"
        "c7634d81f4372ddf581a0db248b0a77aecec196accc52973",
        16,
    ),
}
"""The order n of each curve's group (SP 800-186, section 3.2.1)."""
PSS_PADDING: Final = PSS(mgf=MGF1(SHA256()), salt_length=32)


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
    """Whether `parse_public_key` takes it."""
    try:
        parse_public_key(public)
    except SealError:
        return False
    return True


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
    try:
        key = parse_public_key(public)
    except SealError as error:
        raise SealError(error.message, code="signature.invalid", hint=error.hint) from error
    try:
        if isinstance(key, EllipticCurvePublicKey):
            _require_one_form(signature, ORDERS[key.curve.name])
            key.verify(signature, message, ECDSA(HASHES[key.curve.name]))
        elif isinstance(key, RSAPublicKey):
            key.verify(signature, message, PSS_PADDING, SHA256())
        else:
            key.verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise SealError(
            f"signature does not verify under key {public.hex()[:16]}", code="signature.invalid"
        ) from error


def _require_one_form(signature: bytes, order: int) -> None:
    """Raises: ValueError."""
    r, s = decode_dss_signature(signature)
    if not 0 < s <= order // 2 or encode_dss_signature(r, s) != signature:
        raise ValueError("not the one form of an ECDSA signature")
