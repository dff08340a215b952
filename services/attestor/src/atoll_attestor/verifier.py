"""What the attestor does: hand out challenges, appraise evidence, sign what it is worth."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from atoll.evidence import document as documents
from atoll.evidence.appraise import appraise_document
from atoll.evidence.ear import issue_ear
from atoll.evidence.policy import SnpPolicy
from atoll.evidence.trust import TrustStore
from atoll.wire.messages import (
    AppraiseReply,
    AppraiseRequest,
    KeysReply,
    KeysRequest,
    NonceReply,
    NonceRequest,
    VerificationKey,
)
from atoll_attestor.nonces import NonceIssuer

ISSUER = "urn:atoll:attestor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """Answers requests; keeps nothing between them, so any replica answers any request."""

    signing_key: Ed25519PrivateKey = field(repr=False)
    kid: str
    nonces: NonceIssuer = field(repr=False)
    trust: TrustStore
    policy: SnpPolicy
    result_ttl_s: int

    async def nonce(self, _request: NonceRequest, random: bytes) -> NonceReply:
        """A challenge that evidence must contain to be fresh."""
        nonce, expires_ms = self.nonces.issue(now_ms=_now_ms(), random=random)
        return NonceReply(nonce=nonce, expires_ms=expires_ms)

    async def appraise(self, request: AppraiseRequest) -> AppraiseReply:
        """A signed result, whatever the verdict is; bad evidence is a verdict, not an error.

        Whether the manifest is the right one is for those who know it: the result
        repeats what the evidence is bound to by the evidence's digest.

        Raises:
            MalformedEvidenceError: not an evidence document at all.
            RejectedEvidenceError: `evidence.nonce`, `evidence.stale`.
        """
        document = documents.parse(request.evidence)
        self.nonces.require_fresh(document.nonce, now_ms=_now_ms())
        now = datetime.now(UTC)
        appraisal = appraise_document(
            request.evidence,
            trust=self.trust,
            policy=self.policy,
            manifest_digest=document.manifest_digest,
            nonce=document.nonce,
            now=now,
        )
        ear = issue_ear(
            appraisal,
            evidence_digest=documents.digest(request.evidence),
            nonce=document.nonce,
            issuer=ISSUER,
            key=self.signing_key,
            kid=self.kid,
            now=now,
            ttl_s=self.result_ttl_s,
        )
        return AppraiseReply(ear=ear, verdict=appraisal.verdict.value, reason=appraisal.reason)

    async def keys(self, _request: KeysRequest) -> KeysReply:
        """The keys that results are signed with."""
        public = self.signing_key.public_key().public_bytes_raw()
        return KeysReply(keys=(VerificationKey(kid=self.kid, public_key=public),))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
