"""The keys that sign attestation results: one is active, the others are on their way out.

Canonical JSON: {"format": "atoll-keyring", "format_version": 1, "nonce_secret": hex,
"keys": [{"seed": hex, "made": seconds, "retired": seconds or null}, ...]}, oldest first. The
last key is the active one and the only one that is not retired. All replicas of an attestor
share one ring; `nonce_secret` outlives rotations, so that a challenge does as well.

A retired key signs nothing and stays published for as long as something it signed may hold.
Pure: the clock and randomness come in, files are the caller's.
"""

import base64
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from atoll import canonical
from atoll.errors import InputError, RefusedError
from atoll.evidence.ear import CLOCK_SKEW_S, MAX_LIFETIME_S

FORMAT: Final = "atoll-keyring"
FORMAT_VERSION: Final = 1
MAX_KEYS: Final = 16
"""As many as `atoll.wire.messages.KeysReply` takes."""
MAX_RING: Final = 16 << 10
SECRET_SIZE: Final = 32
_MAX_TIME: Final = 1 << 40
_MEMBERS: Final = frozenset({"format", "format_version", "nonce_secret", "keys"})
_KEY_MEMBERS: Final = frozenset({"seed", "made", "retired"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RingKey:
    """One Ed25519 key. Times are in seconds since 1970."""

    seed: bytes = field(repr=False)
    made: int
    retired: int | None = None

    @property
    def private(self) -> Ed25519PrivateKey:
        """What signs."""
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    @property
    def public(self) -> bytes:
        """32 bytes."""
        return self.private.public_key().public_bytes_raw()

    @property
    def kid(self) -> str:
        """The first half of SHA-256 of the public key, in hex: 16 digits."""
        return hashlib.sha256(self.public).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRing:
    """A legal ring. Raises `InputError` `keyring.invalid` if it is none."""

    nonce_secret: bytes = field(repr=False)
    keys: tuple[RingKey, ...]

    def __post_init__(self) -> None:
        retired = [key.retired for key in self.keys]
        if not 1 <= len(retired) <= MAX_KEYS or retired[-1] is not None or None in retired[:-1]:
            raise _invalid(f"has not 1 to {MAX_KEYS} keys of which the last alone is active")
        if any(key.retired is not None and key.retired < key.made for key in self.keys):
            raise _invalid("has a key that was retired before it was made")
        if len({key.seed for key in self.keys}) != len(self.keys):
            raise _invalid("has a key twice")

    @classmethod
    def generate(cls, random: Callable[[int], bytes], *, now: int) -> Self:
        """A ring with one key; `random(n)` gives n unpredictable bytes."""
        return cls(
            nonce_secret=random(SECRET_SIZE), keys=(RingKey(seed=random(SECRET_SIZE), made=now),)
        )

    @property
    def active(self) -> RingKey:
        """The key that signs."""
        return self.keys[-1]

    def published(self, *, now: int, ttl_s: int = MAX_LIFETIME_S) -> tuple[RingKey, ...]:
        """The active key first, then those under which a result may still hold.

        Args:
            now: seconds since 1970.
            ttl_s: how long results hold that are issued here.
        """
        kept = (
            key
            for key in reversed(self.keys)
            if key.retired is None or now < key.retired + ttl_s + CLOCK_SKEW_S
        )
        return tuple(kept)

    def rotated(self, random: Callable[[int], bytes], *, now: int) -> Self:
        """The ring with a fresh active key, and without those that no result can need.

        Raises:
            RefusedError: `keyring.full`: so many rotations in a day that a result which
                still holds could no longer be verified.
        """
        active = self.active
        retired = RingKey(seed=active.seed, made=active.made, retired=max(now, active.made))
        needed = set(self.published(now=now))
        kept = [key for key in self.keys[:-1] if key in needed]
        if len(kept) + 2 > MAX_KEYS:
            raise RefusedError(
                f"the ring has {len(self.keys)} keys of the last day, which is all it takes",
                code="keyring.full",
                hint="rotate again when the oldest of them is a day old",
            )
        fresh = RingKey(seed=random(SECRET_SIZE), made=max(now, active.made))
        return type(self)(nonce_secret=self.nonce_secret, keys=(*kept, retired, fresh))

    def to_bytes(self) -> bytes:
        """The file, secrets in the clear."""
        keys = [
            {"seed": key.seed.hex(), "made": key.made, "retired": key.retired} for key in self.keys
        ]
        value = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "nonce_secret": self.nonce_secret.hex(),
            "keys": keys,
        }
        return canonical.dumps(value)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Read the file. No error message repeats a byte of it.

        Raises:
            InputError: `keyring.invalid`.
        """
        if len(raw) > MAX_RING:
            raise _invalid(f"is {len(raw)} bytes, at most {MAX_RING}")
        try:
            value = canonical.loads(raw)
        except InputError:
            # The cause could quote a secret.
            raise _invalid("is not canonical JSON") from None
        if not isinstance(value, dict) or value.keys() != _MEMBERS or value["format"] != FORMAT:
            raise _invalid(f"is not of the format {FORMAT!r}")
        if value["format_version"] is True or value["format_version"] != FORMAT_VERSION:
            raise _invalid(f"is not of format version {FORMAT_VERSION}, the only one known here")
        if not isinstance(value["keys"], list) or len(value["keys"]) > MAX_KEYS:
            raise _invalid(f"has keys that are no list of at most {MAX_KEYS}")
        return cls(
            nonce_secret=_secret(value["nonce_secret"]),
            keys=tuple(_key(item) for item in value["keys"]),
        )


def jwks(keys: Iterable[RingKey]) -> bytes:
    """Their public halves as a JWK set (RFC 7517, section 5; RFC 8037, section 2)."""
    return canonical.dumps(
        {
            "keys": [
                {
                    "kty": "OKP",
                    "crv": "Ed25519",
                    "alg": "EdDSA",
                    "use": "sig",
                    "kid": key.kid,
                    "x": base64.urlsafe_b64encode(key.public).rstrip(b"=").decode(),
                }
                for key in keys
            ]
        }
    )


def _key(value: Any) -> RingKey:
    if not isinstance(value, dict) or value.keys() != _KEY_MEMBERS:
        raise _invalid(f"has a key without exactly {', '.join(sorted(_KEY_MEMBERS))}")
    retired = value["retired"]
    return RingKey(
        seed=_secret(value["seed"]),
        made=_time(value["made"]),
        retired=None if retired is None else _time(retired),
    )


def _time(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _MAX_TIME:
        raise _invalid("has a time that is not in seconds since 1970")
    return value


def _secret(value: Any) -> bytes:
    legal = isinstance(value, str) and len(value) == 2 * SECRET_SIZE
    if not legal or not set(value) <= set("0123456789abcdef"):
        raise _invalid(f"has a secret that is not {2 * SECRET_SIZE} lower-case hex digits")
    return bytes.fromhex(value)


def _invalid(why: str) -> InputError:
    return InputError(f"key ring {why}", code="keyring.invalid")
