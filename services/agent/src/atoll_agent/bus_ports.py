"""Everything the agent says and hears on the bus, in one place."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

from atoll.bus import Bus, KeyValue, ObjectInfo, ObjectStore, publish, read_stream
from atoll.errors import ConflictError, NotFoundError, UnreachableError
from atoll.telemetry import wiring
from atoll.telemetry.tracing import Tracer
from atoll.wire import endpoints, schema, subjects, topology
from atoll.wire.messages import (
    AppraiseReply,
    AppraiseRequest,
    Assignment,
    EvidenceRecord,
    NonceReply,
    NonceRequest,
    OutcomeRecord,
    Reason,
    Report,
    ReportKind,
)

ATTESTOR_TIMEOUT_S = 10.0


class EnclaveBus:
    """The bus as one enclave, in one attempt at one job, sees it."""

    def __init__(
        self, bus: Bus, tracer: Tracer, *, enclave_id: str, job_id: str, attempt: int
    ) -> None:
        self._bus = bus
        self._tracer = tracer
        self._enclave_id = enclave_id
        self._job_id = job_id
        self._attempt = attempt

    async def nonce(self) -> bytes:
        """A challenge from the attestor."""
        reply = await self._bus.request(
            endpoints.NONCE.subject.of(),
            schema.encode(NonceRequest()),
            timeout_s=ATTESTOR_TIMEOUT_S,
            headers=wiring.headers(self._tracer),
            retry=True,
        )
        return schema.decode(NonceReply, reply.payload).nonce

    async def appraise(self, evidence: bytes) -> AppraiseReply:
        """The attestor's signed word on our evidence."""
        reply = await self._bus.request(
            endpoints.APPRAISE.subject.of(),
            schema.encode(AppraiseRequest(evidence=evidence)),
            timeout_s=ATTESTOR_TIMEOUT_S,
            headers=wiring.headers(self._tracer),
            retry=True,
        )
        return schema.decode(AppraiseReply, reply.payload)

    async def publish_evidence(self, evidence: bytes, ear: str) -> None:
        """Let every party see the evidence and appraise it for itself."""
        record = EvidenceRecord(
            enclave_id=self._enclave_id,
            job_id=self._job_id,
            attempt=self._attempt,
            evidence=evidence,
            ear=ear,
        )
        await KeyValue(self._bus, topology.EVIDENCE).put(self._enclave_id, schema.encode(record))

    async def assignment(self) -> Assignment:
        """The first assignment to this enclave; waits until there is one."""
        subject = subjects.ASSIGN.of(self._enclave_id)
        messages = read_stream(self._bus, topology.ENCLAVE.name, subject, follow=True)
        async with aclosing(messages):
            async for message in messages:
                return schema.decode(Assignment, message.payload)
        raise UnreachableError("the stream of assignments ended")

    async def releases(self) -> AsyncGenerator[bytes, None]:
        """Every key release to this enclave, from the first on."""
        subject = subjects.RELEASE.of(self._enclave_id)
        messages = read_stream(self._bus, topology.ENCLAVE.name, subject, follow=True)
        async with aclosing(messages):
            async for message in messages:
                yield message.payload

    async def asset(self, asset_id: str) -> AsyncGenerator[bytes, None]:
        """The ciphertext of an asset, in order. Use `aclosing`.

        Raises:
            NotFoundError: `asset.not_found`.
        """
        try:
            _, chunks = await ObjectStore(self._bus, topology.ASSETS.name).get(asset_id)
        except NotFoundError as error:
            raise NotFoundError(
                f"asset {asset_id} was not uploaded", code="asset.not_found"
            ) from error
        return chunks

    async def upload_result(self, asset_id: str, chunks: Iterator[bytes]) -> ObjectInfo:
        return await ObjectStore(self._bus, topology.RESULTS.name).put(asset_id, chunks)

    async def store_outcome(self, results: dict[str, bytes], receipt: bytes) -> None:
        """Write the result records and the receipt, once for this attempt."""
        record = OutcomeRecord(
            job_id=self._job_id, attempt=self._attempt, results=results, receipt=receipt
        )
        try:
            await KeyValue(self._bus, topology.OUTCOMES).create(
                f"{self._job_id}.{self._attempt}", schema.encode(record)
            )
        except ConflictError:
            # A retry of our own write whose acknowledgement was lost; this attempt
            # belongs to this enclave alone.
            return

    async def report(
        self,
        kind: ReportKind,
        *,
        tag: str = "",
        reason: Reason | None = None,
        asset: str | None = None,
        evidence_digest: str | None = None,
    ) -> None:
        """Tell the ledger; durable when this returns. `tag` tells several of a kind apart."""
        report = Report(
            job_id=self._job_id,
            attempt=self._attempt,
            kind=kind,
            enclave_id=self._enclave_id,
            evidence_digest=evidence_digest,
            asset=asset,
            reason=reason,
        )
        await publish(
            self._bus,
            subjects.REPORT.of(self._job_id),
            schema.encode(report),
            msg_id=f"report.{self._enclave_id}.{kind.value}{tag}",
            headers=wiring.headers(self._tracer),
        )
