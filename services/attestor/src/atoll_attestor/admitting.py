"""An enclave's request for admission: appraise, publish the evidence, hand out a ticket."""

from dataclasses import dataclass
from typing import Final

from atoll.credentials.nkey import Kind, decode_public
from atoll.errors import AtollError, ConflictError, RejectedEvidenceError, SealError
from atoll.evidence import document as documents
from atoll.evidence.document import EvidenceDocument
from atoll.evidence.findings import Appraisal, Verdict
from atoll.sealing.signature import verify_signature
from atoll.telemetry.metrics import table
from atoll.telemetry.metrics.metric import OK, UNMETERED, Meter
from atoll.wire import admission
from atoll.wire.admission import Admission, Ticket
from atoll.wire.admission_messages import AdmitReply, AdmitRequest
from atoll.wire.messages import EvidenceRecord
from atoll_attestor import ports
from atoll_attestor.door import Keyring
from atoll_attestor.turned_away import require_wanted
from atoll_attestor.verifier import Verifier

_MEASUREMENTS: Final = ("measurement", "mr_td", "enclave_hash")
"""What each kind of TEE calls it (`atoll.evidence.claims`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitter:
    verifier: Verifier
    ring: Keyring
    evidence: ports.EvidenceStore
    revocations: ports.Revocations
    ttl_s: int
    meter: Meter = UNMETERED

    async def admit(self, request: AdmitRequest) -> AdmitReply:
        """Admit an enclave, for the first time or again.

        The first evidence of an enclave is published whatever the verdict is, for its manager
        and the parties to read. Later evidence, by which an admission is renewed, is appraised
        and kept but not published: releases are bound to the first.

        Raises:
            MalformedEvidenceError, UnreachableError: as `Verifier.appraise`.
            RejectedEvidenceError: `evidence.*`; `admission.other_key`: the request is not signed
                by the key that the evidence vouches for, or another enclave has this id.
            RefusedError: `admission.revoked`.
        """
        try:
            reply = await self._admit(request)
        except AtollError as error:
            self.meter.count(table.ADMISSIONS, outcome="refused", code=error.code)
            raise
        outcome = "admitted" if reply.ticket else "refused"
        self.meter.count(table.ADMISSIONS, outcome=outcome, code=reply.reason or OK)
        return reply

    async def _admit(self, request: AdmitRequest) -> AdmitReply:
        document = documents.parse(request.evidence)
        _require_own(request, document)
        appraisal, reply = await self.verifier.judge(request.evidence)
        await self._publish(request, document, reply.ear)
        if appraisal.verdict is not Verdict.PASS:
            return AdmitReply(ear=reply.ear, verdict=reply.verdict, reason=reply.reason)
        admitted = Admission(
            enclave_id=document.enclave_id,
            job_id=request.job_id,
            attempt=request.attempt,
            host_id=request.host_id,
            chip_id=appraisal.claims.get("chip_id", ""),
            measurement=_measurement(appraisal),
            policy_digest=appraisal.policy_digest,
            nonce_ms=int.from_bytes(document.nonce[:8], "big"),
        )
        require_wanted(self.revocations.now, document.enclave_id, admitted)
        now = self.verifier.clock() // 1000
        ticket = Ticket(admission=admitted, bus_key=request.bus_key, expires=now + self.ttl_s)
        return AdmitReply(
            ear=reply.ear,
            verdict=reply.verdict,
            ticket=admission.issue_ticket(ticket, by=self.ring.keys.enclave, now=now),
            expires_ms=ticket.expires * 1000,
        )

    async def _publish(self, request: AdmitRequest, document: EvidenceDocument, ear: str) -> None:
        record = EvidenceRecord(
            enclave_id=document.enclave_id,
            job_id=request.job_id,
            attempt=request.attempt,
            evidence=request.evidence,
            ear=ear,
        )
        try:
            await self.evidence.create(record)
        except ConflictError:
            first = await self.evidence.get(document.enclave_id)
            if first is None:
                raise
            same = (first.job_id, first.attempt) == (request.job_id, request.attempt)
            known = documents.parse(first.evidence).signing_key
            if known != document.signing_key or not same:
                raise RejectedEvidenceError(
                    f"another enclave is known as {document.enclave_id}",
                    code="admission.other_key",
                ) from None


def _require_own(request: AdmitRequest, document: EvidenceDocument) -> None:
    decode_public(request.bus_key, Kind.USER)
    try:
        verify_signature(
            document.signing_key,
            request.signature,
            admission.PURPOSE,
            *admission.bound(
                document.nonce,
                documents.digest(request.evidence),
                request.bus_key,
                (request.job_id, request.attempt, request.host_id),
            ),
        )
    except SealError as error:
        raise RejectedEvidenceError(
            "the request is not signed by the key that the evidence vouches for",
            code="admission.other_key",
        ) from error


def _measurement(appraisal: Appraisal) -> str:
    claims = appraisal.claims
    return next((claims[name] for name in _MEASUREMENTS if name in claims), "")
