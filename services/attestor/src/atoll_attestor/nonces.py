"""Challenges without memory: any replica recognises what any other handed out. Pure.

    nonce = time (8 bytes, milliseconds, big-endian) || random (8) || tag (16)
    tag   = first 16 bytes of HMAC-SHA256(key, "atoll nonce v1" || time || random)

The key is derived from the attestor's signing key, which all replicas share. Evidence
that repeats a nonce within its lifetime is the same enclave asking again, since its keys
are under the same quote; nothing is gained by refusing it.
"""

import hashlib
import hmac
from typing import Final

from atoll.errors import RejectedEvidenceError
from atoll.framing import transcript

NONCE_SIZE: Final = 32
MAX_SKEW_MS: Final = 5_000
"""How far ahead another replica's clock may be."""


class NonceIssuer:
    def __init__(self, secret: bytes, ttl_ms: int) -> None:
        self._key = hashlib.sha256(transcript("atoll nonce key v1", secret)).digest()
        self._ttl_ms = ttl_ms

    def issue(self, *, now_ms: int, random: bytes) -> tuple[bytes, int]:
        """A nonce and the moment until which it may be answered."""
        if len(random) != 8:  # noqa: PLR2004
            raise ValueError("a nonce takes 8 random bytes")
        body = now_ms.to_bytes(8, "big") + random
        return body + self._tag(body), now_ms + self._ttl_ms

    def require_fresh(self, nonce: bytes, *, now_ms: int) -> None:
        """Return if `nonce` is ours and still holds.

        Raises:
            RejectedEvidenceError: `evidence.nonce` or `evidence.stale`.
        """
        body, tag = nonce[:16], nonce[16:]
        if len(nonce) != NONCE_SIZE or not hmac.compare_digest(tag, self._tag(body)):
            raise RejectedEvidenceError(
                "evidence answers no challenge of this attestor", code="evidence.nonce"
            )
        age = now_ms - int.from_bytes(body[:8], "big")
        if not -MAX_SKEW_MS <= age <= self._ttl_ms:
            raise RejectedEvidenceError(
                f"evidence answers a challenge from {age} ms ago, at most {self._ttl_ms} hold",
                code="evidence.stale",
            )

    def _tag(self, body: bytes) -> bytes:
        return hmac.digest(self._key, b"atoll nonce v1" + body, "sha256")[:16]
