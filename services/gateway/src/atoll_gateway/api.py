"""What the gateway does for its callers, the same over NATS and over HTTP."""

import hashlib
from collections.abc import Callable

from atoll.computation.consent import require_consents, require_withdrawal
from atoll.computation.manifest import Manifest, digest
from atoll.errors import AtollError, NotFoundError, RefusedError
from atoll.framing import transcript
from atoll.telemetry.context import SpanContext, render
from atoll.telemetry.metrics import table
from atoll.telemetry.metrics.metric import OK, UNMETERED, Meter
from atoll.wire.access import DEFAULT_TENANT
from atoll.wire.messages import (
    JobList,
    JobListRequest,
    JobRequest,
    JobView,
    SubmitRequest,
    Tee,
    WithdrawReply,
    WithdrawRequest,
)
from atoll_gateway import core
from atoll_gateway.caller import BUS, Caller
from atoll_gateway.index import JobIndex
from atoll_gateway.ledger import Ledger
from atoll_gateway.ports import Clock, ManifestStore, Places, WithdrawalStore

_MAX_ENDED = 1000


class GatewayApi:
    """Submit, get, list, cancel and withdraw, each within what its caller may see.

    A job of another tenant is a job that does not exist.

    Args:
        tees: the kinds of enclave this deployment has managers for.
        places: where jobs wait.
        context: the trace that the current request belongs to, if any.
        meter: where submissions are counted.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        manifests_store: ManifestStore,
        withdrawals: WithdrawalStore,
        index: JobIndex,
        clock: Clock,
        tees: frozenset[Tee],
        places: Places,
        context: Callable[[], SpanContext | None],
        meter: Meter = UNMETERED,
    ) -> None:
        self._meter = meter
        self._ledger = ledger
        self._manifests = manifests_store
        self._withdrawals = withdrawals
        self._index = index
        self._clock = clock
        self._tees = tees
        self._places = places
        self._context = context

    async def submit(self, request: SubmitRequest, caller: Caller = BUS) -> JobView:
        """As `accept`, without saying whether the job is new."""
        view, _ = await self.accept(request, caller)
        return view

    async def accept(self, request: SubmitRequest, caller: Caller = BUS) -> tuple[JobView, bool]:
        """Accept a job; when this returns, the job survives whatever happens.

        Returns:
            The job, and whether this submission made it.

        Raises:
            ManifestError: not well-formed, or not agreed on by every party.
            RefusedError: `job.no_such_tee`, `network.unsupported`, `consent.withdrawn`,
                `network.refused`, `placement.too_many`, `job.no_such_host`.
            ConflictError: `job.idempotency`.
        """
        try:
            view, created = await self._accept(request, caller)
        except AtollError as error:
            self._meter.count(table.SUBMISSIONS, outcome="refused", code=error.code)
            raise
        self._meter.count(table.SUBMISSIONS, outcome="accepted" if created else "repeated", code=OK)
        return view, created

    async def _accept(self, request: SubmitRequest, caller: Caller) -> tuple[JobView, bool]:
        manifest = require_consents(request.agreed, now_ms=self._clock())
        manifest.network.require_enforceable(step.kind for step in manifest.steps)
        tee = manifest.tee.kind
        if tee not in self._tees:
            raise RefusedError(
                f"no host here starts {tee.value} enclaves",
                code="job.no_such_tee",
                hint="`atoll status` lists what the hosts offer",
            )
        name = digest(request.agreed.manifest).hex()
        await self._require_wanted(name)
        wanted = job_id(manifest, request.idempotency_key, caller.tenant)
        try:
            await self._places.require(manifest, name, caller.tenant)
        except RefusedError:
            # A job that was accepted stays so, also for who submits it again.
            if not await self._is_known(wanted):
                raise
        await self._manifests.put(name, request.agreed)
        context = self._context()
        record = core.submitted(
            job_id=wanted,
            tee=tee,
            manifest_digest=name,
            now_ms=self._clock(),
            deadline_ms=manifest.limits.deadline_ms,
            traceparent=render(context) if context else "",
            trace_id=context.trace_id if context else None,
            tenant=caller.tenant,
            guests=request.guests,
        )
        view, created = await self._ledger.submit(record)
        # A withdrawal that came between the two looks did not see the job.
        if (withdrawn := await self._withdrawals.get(name)) is not None:
            view = await self._ledger.apply(
                view.job_id, core.ConsentWithdrawn(party=withdrawn.party)
            )
        return view, created

    async def withdraw(self, request: WithdrawRequest, caller: Caller = BUS) -> WithdrawReply:
        """Take a consent back, for good: for jobs without all their keys and for later ones.

        The party's signature is what counts, so that jobs of every tenant end; the reply names
        those that the caller may see.

        Raises:
            NotFoundError: `manifest.not_found`: nothing was submitted under it.
            ManifestError: `consent.*`: it is not a party's word about this manifest.
            UnreachableError: `jobs.reading`: no new job starts from now on; say it again to end
                those that there are.
        """
        withdrawal = request.withdrawal
        name = withdrawal.manifest_digest.hex()
        agreed = await self._manifests.get(name)
        if agreed is None:
            raise NotFoundError(
                f"there is no manifest {name}",
                code="manifest.not_found",
                hint="until it is submitted, keep the consent to yourself: nothing can start",
            )
        require_withdrawal(withdrawal, Manifest.from_bytes(agreed.manifest))
        await self._withdrawals.put(name, withdrawal)
        await self._index.current()
        ended = []
        for job in self._index.of_manifest(name):
            view = await self._ledger.apply(job, core.ConsentWithdrawn(party=withdrawal.party))
            if view.state.terminal and caller.sees(view.tenant):
                ended.append(job)
        return WithdrawReply(ended=tuple(sorted(ended)[:_MAX_ENDED]))

    async def is_withdrawn(self, manifest_digest: str) -> bool:
        """Whether somebody took a consent to this manifest back."""
        return await self._withdrawals.get(manifest_digest) is not None

    async def _require_wanted(self, name: str) -> None:
        withdrawn = await self._withdrawals.get(name)
        if withdrawn is not None:
            raise RefusedError(
                f"party {withdrawn.party!r} took its consent to this manifest back",
                code="consent.withdrawn",
                hint="agree on a new manifest",
            )

    async def _is_known(self, job: str) -> bool:
        try:
            await self._ledger.get(job)
        except NotFoundError:
            return False
        return True

    async def get(self, request: JobRequest, caller: Caller = BUS) -> JobView:
        """A job of the caller's tenant, or one that it takes part in.

        Raises:
            NotFoundError: `job.not_found`.
        """
        view = await self._ledger.get(request.job_id)
        if not caller.may_read(view):
            raise _no_job(request.job_id)
        return view

    async def list(self, request: JobListRequest, caller: Caller = BUS) -> JobList:
        """The newest jobs first; it may trail the ledger by a moment.

        Raises:
            UnreachableError: `jobs.reading`: just started.
        """
        await self._index.current()
        tenant = None if caller.sees_all else caller.tenant
        return JobList(
            jobs=self._index.newest(limit=request.limit, state=request.state, tenant=tenant)
        )

    async def cancel(self, request: JobRequest, caller: Caller = BUS) -> JobView:
        """End a job that has not ended.

        Raises:
            NotFoundError: `job.not_found`.
        """
        view = await self.get(request, caller)
        if not caller.sees(view.tenant):
            raise RefusedError(
                f"job {view.job_id} is of the tenant {view.tenant!r}",
                code="job.not_yours",
                hint="a tenant that takes part may withdraw its consent, which ends the job",
            )
        return await self._ledger.apply(request.job_id, core.CancelRequested())


def _no_job(name: str) -> NotFoundError:
    return NotFoundError(f"there is no job {name!r}", code="job.not_found")


def job_id(manifest: Manifest, idempotency_key: str, tenant: str = DEFAULT_TENANT) -> str:
    """The id that a submission gets, every time.

    It depends on the parties as well as on the idempotency key, so that nobody can
    occupy a key of a computation that is not its own; and on the tenant, so that two tenants
    never meet in one job.
    """
    parties = sorted(party.signing_key for party in manifest.parties.values())
    if tenant == DEFAULT_TENANT:
        seed = transcript("atoll job id v1", idempotency_key.encode(), *parties)
    else:
        seed = transcript("atoll job id v2", tenant.encode(), idempotency_key.encode(), *parties)
    return "j" + hashlib.sha256(seed).hexdigest()[:25]
