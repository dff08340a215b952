"""Everything the agent says and hears on the bus, in one place."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

from atoll.bus import Bus, KeyValue, ObjectInfo, ObjectStore, publish, read_stream
from atoll.errors import NotFoundError, UnreachableError
from atoll.telemetry import wiring
from atoll.telemetry.tracing import Tracer
from atoll.wire import schema, subjects, topology
from atoll.wire.messages import (
    Assignment,
    OutcomeRecord,
    Reason,
    Report,
    ReportKind,
)


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

    async def store_outcome(self, results: dict[str, bytes], receipt: bytes) -> str:
        """Write the result records and the receipt, once for this attempt; their digest.

        Raises:
            ConflictError: `bus.conflict`: another enclave was faster, so this one has been given
                up. (Our own write, its acknowledgement lost, is recognised.)
        """
        record = OutcomeRecord(
            job_id=self._job_id, attempt=self._attempt, results=results, receipt=receipt
        )
        raw = schema.encode(record)
        await KeyValue(self._bus, topology.OUTCOMES).create(f"{self._job_id}.{self._attempt}", raw)
        return schema.sha256_hex(raw)

    async def report(
        self,
        kind: ReportKind,
        *,
        tag: str = "",
        reason: Reason | None = None,
        asset: str | None = None,
        evidence_digest: str | None = None,
        outcome_digest: str | None = None,
    ) -> None:
        """Tell the ledger; durable when this returns. `tag` tells several of a kind apart."""
        report = Report(
            job_id=self._job_id,
            attempt=self._attempt,
            kind=kind,
            enclave_id=self._enclave_id,
            evidence_digest=evidence_digest,
            outcome_digest=outcome_digest,
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
