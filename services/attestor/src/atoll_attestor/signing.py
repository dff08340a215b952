"""The keys in use: which signs now, and which are published."""

from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from atoll.evidence.ear_keys import KeyRing, jwks
from atoll.wire.messages import KeysReply, VerificationKey

ISSUER: Final = "urn:atoll:attestor"


class SigningKeys:
    """The ring as it was read last. Results that are being signed keep the key they have."""

    def __init__(self, ring: KeyRing, *, ttl_s: int) -> None:
        """`ttl_s` is how long results hold."""
        self._ttl_s = ttl_s
        self.use(ring)

    def use(self, ring: KeyRing) -> None:
        """Sign with the active key of `ring` from now on."""
        self._ring = ring
        self._active: tuple[str, Ed25519PrivateKey] = (ring.active.kid, ring.active.private)

    def use_bytes(self, raw: bytes) -> None:
        """`use` of a key ring file. Raises: InputError `keyring.invalid`."""
        self.use(KeyRing.from_bytes(raw))

    @property
    def active(self) -> tuple[str, Ed25519PrivateKey]:
        """Id and key."""
        return self._active

    def published(self, *, now: int) -> KeysReply:
        """What a result may be signed with that still holds; `now` in seconds since 1970."""
        keys = self._ring.published(now=now, ttl_s=self._ttl_s)
        return KeysReply(
            keys=tuple(VerificationKey(kid=key.kid, public_key=key.public) for key in keys),
            jwks=jwks(keys).decode(),
        )
