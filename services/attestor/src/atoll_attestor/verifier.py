"""What the attestor does: hand out challenges, appraise evidence, sign what it is worth."""

import logging
import time
from dataclasses import dataclass, field

from atoll.evidence import document as documents
from atoll.evidence.document import Tee
from atoll.evidence.ear import issue_ear
from atoll.evidence.findings import Appraisal
from atoll.policy.records import judge_with, moment
from atoll.telemetry.metrics import table
from atoll.telemetry.metrics.metric import OK, UNMETERED, Meter
from atoll.wire.messages import (
    ActivateRequest,
    AppraiseReply,
    AppraiseRequest,
    KeysReply,
    KeysRequest,
    NonceReply,
    NonceRequest,
    PolicyView,
)
from atoll_attestor import ports
from atoll_attestor.appraising import appraise, draft
from atoll_attestor.gathering import Gathering
from atoll_attestor.nonces import NonceIssuer
from atoll_attestor.signing import ISSUER, SigningKeys

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """Answers requests; keeps nothing between them, so any replica answers any request."""

    keys: SigningKeys = field(repr=False)
    nonces: NonceIssuer = field(repr=False)
    policy_name: str
    policies: ports.Policies
    archive: ports.Archive
    gathering: Gathering
    result_ttl_s: int
    meter: Meter = UNMETERED

    @staticmethod
    def clock() -> int:
        """Milliseconds since 1970."""
        return _now_ms()

    async def nonce(self, _request: NonceRequest, random: bytes) -> NonceReply:
        """A challenge that evidence must contain to be fresh."""
        nonce, expires_ms = self.nonces.issue(now_ms=_now_ms(), random=random)
        return NonceReply(nonce=nonce, expires_ms=expires_ms)

    async def appraise(self, request: AppraiseRequest) -> AppraiseReply:
        """A signed result, whatever the verdict is; bad evidence is a verdict, not an error.

        The appraisal is kept before it is answered. Whether the manifest is the right one is
        for those who know it: the result repeats what the evidence is bound to by the
        evidence's digest.

        Raises:
            MalformedEvidenceError: not an evidence document at all.
            RejectedEvidenceError: `evidence.nonce`, `evidence.stale`.
            UnreachableError: it could not be kept.
        """
        _, reply = await self.judge(request.evidence)
        return reply

    async def judge(self, evidence: bytes) -> tuple[Appraisal, AppraiseReply]:
        """`appraise`, and the appraisal that the result follows from."""
        begun = time.perf_counter()
        document = documents.parse(evidence)
        at = _now_ms()
        self.nonces.require_fresh(document.nonce, now_ms=at)
        trust = self.gathering.trust
        gathered = await self.gathering.for_document(document, moment(at))
        of = draft(
            evidence,
            at=at,
            name=self.policy_name,
            files=gathered.files,
            lacks=gathered.lacks,
            manifest_digest=document.manifest_digest,
            nonce=document.nonce,
        )
        found = appraise(
            of,
            tee=document.tee,
            in_force=self.policies.in_force,
            judge=judge_with(trust),
            simulated=trust.has_simulated,
        )
        for role, record in found.records:
            await self.archive.keep(role, record)
        if found.warning:
            _log.warning(
                "evidence of %s fails %s of version %d, which is on trial",
                document.enclave_id,
                found.warning,
                found.records[-1][1].policy_version,
            )
        elif found.disagreement:
            _log.info("the policy on trial disagrees: %s", found.disagreement)
        kid, key = self.keys.active
        ear = issue_ear(
            found.appraisal,
            evidence_digest=documents.digest(evidence),
            nonce=document.nonce,
            issuer=ISSUER,
            key=key,
            kid=kid,
            now=of.moment(),
            ttl_s=self.result_ttl_s,
        )
        self._count(document.tee, found.appraisal, time.perf_counter() - begun)
        return found.appraisal, AppraiseReply(
            ear=ear,
            verdict=found.appraisal.verdict.value,
            reason=found.appraisal.reason,
            warning=found.warning,
        )

    def _count(self, tee: Tee, appraisal: Appraisal, seconds: float) -> None:
        verdict, code = appraisal.verdict.value, appraisal.reason or OK
        self.meter.count(table.APPRAISALS, tee=tee.value, verdict=verdict, code=code)
        self.meter.observe(table.APPRAISAL_TIME, seconds, tee=tee.value)

    async def published_keys(self, _request: KeysRequest) -> KeysReply:
        """The keys that results are signed with which may still hold."""
        return self.keys.published(now=_now_ms() // 1000)

    async def activate(self, request: ActivateRequest) -> PolicyView:
        """Put a policy in force.

        Raises:
            InputError: `policy.*`, `name.invalid`, `json.*`: it is not what the owners signed.
            RefusedError: `policy.rollback`, `policy.fork`, `policy.not_yet`.
            ConflictError: somebody else activated one at the same moment.
        """
        return await self.policies.activate(request.signed, now=_now_ms() // 1000)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
