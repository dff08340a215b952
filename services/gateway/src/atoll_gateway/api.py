"""What the gateway does for its callers, the same over NATS and over HTTP."""

import hashlib
from collections.abc import Callable

from atoll import manifest as manifests
from atoll.errors import RefusedError
from atoll.framing import transcript
from atoll.telemetry.context import SpanContext, render
from atoll.wire.messages import (
    JobList,
    JobListRequest,
    JobRequest,
    JobView,
    SubmitRequest,
    Tee,
)
from atoll_gateway import core
from atoll_gateway.index import JobIndex
from atoll_gateway.ledger import Ledger
from atoll_gateway.ports import Clock, ManifestStore


class GatewayApi:
    """Submit, get, list and cancel.

    Args:
        tees: the kinds of enclave this deployment has managers for.
        context: the trace that the current request belongs to, if any.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        manifests_store: ManifestStore,
        index: JobIndex,
        clock: Clock,
        tees: frozenset[Tee],
        context: Callable[[], SpanContext | None],
    ) -> None:
        self._ledger = ledger
        self._manifests = manifests_store
        self._index = index
        self._clock = clock
        self._tees = tees
        self._context = context

    async def submit(self, request: SubmitRequest) -> JobView:
        """As `accept`, without saying whether the job is new."""
        view, _ = await self.accept(request)
        return view

    async def accept(self, request: SubmitRequest) -> tuple[JobView, bool]:
        """Accept a job; when this returns, the job survives whatever happens.

        Returns:
            The job, and whether this submission made it.

        Raises:
            ManifestError: not well-formed, or not signed by every party.
            RefusedError: `job.no_such_tee`.
            ConflictError: `job.idempotency`.
        """
        manifest = manifests.verify_signed(request.signed)
        if manifest.tee not in self._tees:
            raise RefusedError(
                f"no host here starts {manifest.tee.value} enclaves",
                code="job.no_such_tee",
                hint="`atoll status` lists what the hosts offer",
            )
        digest = manifests.digest(request.signed.manifest).hex()
        await self._manifests.put(digest, request.signed)
        context = self._context()
        record = core.submitted(
            job_id=job_id(manifest, request.idempotency_key),
            tee=manifest.tee,
            manifest_digest=digest,
            now_ms=self._clock(),
            deadline_ms=manifest.limits.deadline_ms,
            traceparent=render(context) if context else "",
            trace_id=context.trace_id if context else None,
        )
        return await self._ledger.submit(record)

    async def get(self, request: JobRequest) -> JobView:
        """Raises: NotFoundError `job.not_found`."""
        return await self._ledger.get(request.job_id)

    async def list(self, request: JobListRequest) -> JobList:
        """The newest jobs first; it may trail the ledger by a moment."""
        return JobList(jobs=self._index.newest(limit=request.limit, state=request.state))

    async def cancel(self, request: JobRequest) -> JobView:
        """End a job that has not ended.

        Raises:
            NotFoundError: `job.not_found`.
        """
        return await self._ledger.apply(request.job_id, core.CancelRequested())


def job_id(manifest: manifests.Manifest, idempotency_key: str) -> str:
    """The id that a submission gets, every time.

    It depends on the parties as well as on the idempotency key, so that nobody can
    occupy a key of a computation that is not its own.
    """
    parties = sorted(party.signing_key for party in manifest.parties.values())
    seed = transcript("atoll job id v1", idempotency_key.encode(), *parties)
    return "j" + hashlib.sha256(seed).hexdigest()[:25]
