"""What goes with a job, for clients of a tenant that may see the job."""

import contextlib
from typing import Protocol

from atoll.bus import Bus, ObjectInfo, ObjectStore
from atoll.errors import NotFoundError
from atoll.telemetry import wiring
from atoll.telemetry.tracing import Tracer
from atoll.wire import topology
from atoll.wire.messages import (
    AgreedManifest,
    EvidenceRecord,
    JobRequest,
    JobView,
    OutcomeRecord,
)
from atoll.wire.reading import (
    Chunk,
    ChunkRequest,
    EvidenceRequest,
    OutcomeRequest,
    ReleaseRequest,
    ReleaseTaken,
    ResultRequest,
    ResultView,
)
from atoll_gateway.adapters import KvManifests
from atoll_gateway.caller import Caller
from atoll_gateway.http.sources import BusEvidence, BusOutcomes, publish_release
from atoll_gateway.outcomes import current_outcome, result_ids


class Jobs(Protocol):
    """Who knows which jobs are there for whom."""

    async def get(self, request: JobRequest, caller: Caller) -> JobView: ...


class JobReader:
    """A job that is not there for a caller has nothing that is there for it either."""

    def __init__(self, bus: Bus, jobs: Jobs, tracer: Tracer) -> None:
        self._bus = bus
        self._jobs = jobs
        self._tracer = tracer
        self._manifests = KvManifests(bus)
        self._evidence = BusEvidence(bus)
        self._outcomes = BusOutcomes(bus)
        self._results = ObjectStore(bus, topology.RESULTS)

    async def manifest(self, request: JobRequest, caller: Caller) -> AgreedManifest:
        """Raises: NotFoundError `job.not_found`, `manifest.not_found`."""
        view = await self._jobs.get(request, caller)
        agreed = await self._manifests.get(view.manifest_digest)
        if agreed is None:
            raise NotFoundError(
                f"there is no manifest {view.manifest_digest}", code="manifest.not_found"
            )
        return agreed

    async def evidence(self, request: EvidenceRequest, caller: Caller) -> EvidenceRecord:
        """Raises: NotFoundError `evidence.not_found`."""
        record = await self._evidence.get(request.enclave_id)
        if record is not None:
            with contextlib.suppress(NotFoundError):
                await self._jobs.get(JobRequest(job_id=record.job_id), caller)
                return record
        raise NotFoundError(
            f"there is no evidence of enclave {request.enclave_id!r}", code="evidence.not_found"
        )

    async def release(self, request: ReleaseRequest, caller: Caller) -> ReleaseTaken:
        """Pass a release on. What it is worth is for the enclave to say, which can check it.

        Raises:
            NotFoundError: `evidence.not_found`: it is no enclave of a job that one may see.
        """
        await self.evidence(EvidenceRequest(enclave_id=request.enclave_id), caller)
        await publish_release(
            self._bus, request.enclave_id, request.release, wiring.headers(self._tracer)
        )
        return ReleaseTaken()

    async def outcome(self, request: OutcomeRequest, caller: Caller) -> OutcomeRecord:
        """Raises: NotFoundError `job.not_found`, `outcome.not_found`."""
        view = await self._jobs.get(JobRequest(job_id=request.job_id), caller)
        record = await self._outcomes.get(view.job_id, request.attempt)
        if record is None:
            raise NotFoundError(
                f"attempt {request.attempt} of job {view.job_id} left no outcome",
                code="outcome.not_found",
            )
        return record

    async def result(self, request: ResultRequest, caller: Caller) -> ResultView:
        """Raises: NotFoundError `job.not_found`, `result.not_found`."""
        info = await self._result(request.job_id, request.result_id, caller)
        return ResultView(size=info.size, chunks=info.chunks, sha256=info.digest)

    async def chunk(self, request: ChunkRequest, caller: Caller) -> Chunk:
        """Raises: NotFoundError `job.not_found`, `result.not_found`."""
        info = await self._result(request.job_id, request.result_id, caller)
        stored = await self._results.chunk(info, request.after)
        if stored is None:
            raise no_result(request.result_id)
        return Chunk(place=stored.seq, content=stored.payload)

    async def _result(self, job_id: str, result_id: str, caller: Caller) -> ObjectInfo:
        """A result that the outcome names which the ledger names."""
        view = await self._jobs.get(JobRequest(job_id=job_id), caller)
        record = await current_outcome(view, self._outcomes)
        if record is None or result_id not in result_ids(record):
            raise no_result(result_id)
        try:
            return await self._results.info(result_id)
        except NotFoundError as error:
            raise no_result(result_id) from error


def no_result(result_id: str) -> NotFoundError:
    """It does not exist, or not for the one who asks."""
    return NotFoundError(f"there is no result {result_id}", code="result.not_found")
