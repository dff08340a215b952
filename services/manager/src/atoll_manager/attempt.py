"""One attempt at one job: from a spawn request to an acknowledged end.

    lease -> start enclave -> wait for its evidence -> require the attestor's word ->
    offer the assignment -> wait for the end -> acknowledge

The spawn request stays unacknowledged all the while. If this manager dies, the bus
hands it to another one with a higher delivery count, which is the attempt's fencing
number. If the enclave dies, we hand it back ourselves. If we were cut off for so long
that another manager has the job by now, we end our enclave and say nothing.
"""

import asyncio
import contextlib
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from atoll.bus import Bus, KeyValue, bury, publish
from atoll.errors import (
    AtollError,
    EvidenceError,
    NotFoundError,
    RefusedError,
    UnreachableError,
)
from atoll.telemetry import names as spans
from atoll.telemetry import wiring
from atoll.telemetry.tracing import Tracer
from atoll.wire import schema, subjects, topology
from atoll.wire.messages import (
    AgreedManifest,
    Assignment,
    EvidenceRecord,
    JobRecord,
    JobState,
    JobView,
    Reason,
    Report,
    ReportKind,
    SpawnRequest,
)
from atoll_manager.admission import admit
from atoll_manager.drivers.driver import Driver, EnclaveSpec, RunningEnclave

_log = logging.getLogger(__name__)

Keys = Callable[[], Awaitable[Mapping[str, Ed25519PublicKey]]]

FINISH_WAIT_S = 30.0
"""How long the ledger may take to apply an enclave's last report."""

HAND_BACK_S = 5.0
"""How long a stopping host tries to tell the ledger; then the lease runs out by itself."""

UNFIT_STATUS: Final = 2
"""Exit status of an agent that cannot work on this host (`atoll.process.EXIT_CONFIG`)."""

MAX_TEXT: Final = 1024
_CODE: Final = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*")
_MAX_CODE: Final = 64


class Delivery(Protocol):
    """A spawn request as the queue hands it out (`atoll.bus.Delivery`)."""

    @property
    def payload(self) -> bytes: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def subject(self) -> str: ...
    @property
    def num_delivered(self) -> int: ...
    @property
    def stream_seq(self) -> int: ...
    @property
    def stored(self) -> datetime: ...
    @property
    def is_last(self) -> bool: ...
    async def ack(self) -> None: ...
    async def nak(self, delay_s: float = 0.0) -> None: ...
    async def term(self, reason: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    boot_timeout_s: float
    stop_grace_s: float


class _EnclaveLostError(AtollError):
    """The enclave ended without finishing; another may."""

    default_code = "enclave.lost"


class _SupersededError(AtollError):
    """Another manager was given this job meanwhile; it is no longer ours to settle."""

    default_code = "enclave.superseded"


class AttemptRunner:
    """Runs attempts; one instance serves all slots of a host."""

    def __init__(
        self,
        *,
        bus: Bus,
        driver: Driver,
        host_id: str,
        keys: Keys,
        timing: Timing,
        tracer: Tracer,
    ) -> None:
        self._bus = bus
        self._driver = driver
        self._host_id = host_id
        self._keys = keys
        self._timing = timing
        self._tracer = tracer
        self._jobs = KeyValue(bus, topology.JOBS)
        self._manifests = KeyValue(bus, topology.MANIFESTS)
        self._evidence = KeyValue(bus, topology.EVIDENCE)

    async def run(self, delivery: Delivery) -> None:
        """See one spawn request through to its settlement.

        Returns without one only when the bus was away, or the job is another manager's by
        now; the owner of the queue then stops keeping the delivery alive.

        Raises:
            CancelledError: the job was handed back, as far as that was possible in time.
        """
        try:
            request = schema.decode(SpawnRequest, delivery.payload)
        except AtollError as error:
            await self._bury(delivery, error)
            return
        with wiring.consume(self._tracer, spans.SPAWN, delivery.headers):
            spec = EnclaveSpec(
                enclave_id="e" + secrets.token_hex(12),
                job_id=request.job_id,
                attempt=delivery.num_delivered,
                manifest_digest=request.manifest_digest,
                traceparent=wiring.headers(self._tracer).get("traceparent", ""),
            )
            await self._settle(delivery, spec)

    async def _settle(self, delivery: Delivery, spec: EnclaveSpec) -> None:
        try:
            reason = await self._until_over(spec)
            if reason is None:
                await _insist(delivery.ack)
            else:
                await self._hand_back(delivery, spec, reason)
        except asyncio.CancelledError:
            # Asked to stop: hand the job back at once rather than let the lease run out.
            stopping = _reason("enclave.host_stopped", "the host is stopping")
            try:
                async with asyncio.timeout(HAND_BACK_S):
                    await self._hand_back(delivery, spec, stopping)
            except (AtollError, TimeoutError) as error:
                _log.warning("job %s could not be handed back: %r", spec.job_id, error)
            raise
        except _SupersededError:
            _log.warning("job %s is no longer ours (attempt %d)", spec.job_id, spec.attempt)

    async def _until_over(self, spec: EnclaveSpec) -> Reason | None:
        """None when the job is in a terminal state; else why it must be handed back.

        Raises:
            _SupersededError: neither; a later attempt runs elsewhere.
        """
        try:
            if (await self._view(spec.job_id)).state.terminal:
                return None
            await self._report(spec, ReportKind.LEASED)
            await self._attempt(spec)
        except _SupersededError:
            raise
        except (_EnclaveLostError, RefusedError) as error:
            return _reason(error.code, error.message)
        except AtollError as error:
            _log.warning("job %s attempt %d: %s", spec.job_id, spec.attempt, error)
            return _reason(error.code, "the host could not go on")
        except Exception:  # noqa: BLE001 (logged whole; see below)
            # A bug in here must cost one attempt, not the host and all its other jobs.
            _log.exception("job %s attempt %d", spec.job_id, spec.attempt)
            return _reason("internal", "the host could not go on")
        return None

    async def _attempt(self, spec: EnclaveSpec) -> None:
        """Returns when the job is in a terminal state and nothing of the enclave is left."""
        with self._tracer.span(spans.ENCLAVE_START):
            enclave = await self._driver.start(spec)
        try:
            await self._report(spec, ReportKind.ATTESTING)
            async with asyncio.TaskGroup() as group:
                exited = group.create_task(enclave.wait())
                ended = group.create_task(self._until_terminal(spec))
                admitted = group.create_task(self._admit(spec))
                await self._follow(enclave, exited, ended, admitted)
                for task in (exited, ended, admitted):
                    task.cancel()
        except BaseExceptionGroup as group_error:
            raise _first(group_error) from group_error
        finally:
            await enclave.stop(self._timing.stop_grace_s)

    async def _follow(
        self,
        enclave: RunningEnclave,
        exited: asyncio.Task[int],
        ended: asyncio.Task[JobView],
        admitted: asyncio.Task[None],
    ) -> None:
        await asyncio.wait({exited, ended, admitted}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done() and not exited.done():
            admitted.result()
            await asyncio.wait({exited, ended}, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            if _ended_by_itself(ended.result()):
                # Its last word is said; let it send its spans and erase by itself.
                await asyncio.wait({exited}, timeout=self._timing.stop_grace_s)
            return
        status = exited.result()
        if status == UNFIT_STATUS:
            raise _EnclaveLostError(
                "this host has no room in memory for the job, or is set up wrongly",
                code="enclave.unfit_host",
            )
        if status != 0:
            raise _EnclaveLostError(f"enclave {enclave.enclave_id} ended with status {status}")
        # Status 0 is the enclave's word that its last report is durable on the bus.
        try:
            async with asyncio.timeout(FINISH_WAIT_S):
                await ended
        except TimeoutError as error:
            raise _EnclaveLostError(
                f"enclave {enclave.enclave_id} ended and the ledger does not know why"
            ) from error

    async def _admit(self, spec: EnclaveSpec) -> None:
        """Wait for evidence, require the attestor's word, offer the assignment."""
        try:
            async with asyncio.timeout(self._timing.boot_timeout_s):
                record = await self._first_evidence(spec.enclave_id)
        except TimeoutError as error:
            raise _EnclaveLostError(
                f"enclave {spec.enclave_id} gave no evidence in {self._timing.boot_timeout_s:g} s",
                code="enclave.boot_timeout",
            ) from error
        try:
            with self._tracer.span(spans.VERIFY_EAR):
                admit(record, spec, await self._keys(), now=datetime.now(UTC))
        except EvidenceError as error:
            # Another enclave of the same image would be refused as well. (That the attestor
            # does not answer says nothing about the enclave and is another error.)
            reason = _reason(error.code, error.message)
            await self._report(spec, ReportKind.GAVE_UP, reason=reason)
            return
        with self._tracer.span(spans.OFFER):
            await self._offer(spec, record)

    async def _offer(self, spec: EnclaveSpec, record: EvidenceRecord) -> None:
        entry = await self._manifests.get(spec.manifest_digest)
        if entry is None or entry.value is None:
            raise NotFoundError(
                f"manifest {spec.manifest_digest} is not stored", code="manifest.not_found"
            )
        assignment = Assignment(
            job_id=spec.job_id,
            attempt=spec.attempt,
            enclave_id=spec.enclave_id,
            agreed=schema.decode(AgreedManifest, entry.value),
        )
        await publish(
            self._bus,
            subjects.ASSIGN.of(spec.enclave_id),
            schema.encode(assignment),
            msg_id=f"assign.{spec.enclave_id}",
            headers=wiring.headers(self._tracer),
        )
        await self._report(
            spec, ReportKind.ADMITTED, evidence_digest=schema.sha256_hex(record.evidence)
        )

    async def _first_evidence(self, enclave_id: str) -> EvidenceRecord:
        async with aclosing(self._evidence.watch(enclave_id)) as entries:
            async for entry in entries:
                if entry.value is not None:
                    return schema.decode(EvidenceRecord, entry.value)
        raise _EnclaveLostError("the watch on evidence ended")

    async def _until_terminal(self, spec: EnclaveSpec) -> JobView:
        async with aclosing(self._jobs.watch(spec.job_id)) as entries:
            async for entry in entries:
                if entry.value is not None:
                    view = schema.decode(JobRecord, entry.value).view
                    if view.state.terminal:
                        return view
                    if view.attempt > spec.attempt:
                        raise _SupersededError(f"job {spec.job_id} is at attempt {view.attempt}")
        raise _EnclaveLostError("the watch on the job ended")

    async def _view(self, job_id: str) -> JobView:
        entry = await self._jobs.get(job_id)
        if entry is None or entry.value is None:
            raise NotFoundError(f"job {job_id} is not in the ledger", code="job.not_found")
        return schema.decode(JobRecord, entry.value).view

    async def _hand_back(self, delivery: Delivery, spec: EnclaveSpec, reason: Reason) -> None:
        if delivery.is_last:
            # Never nak the last delivery: it would stay in the queue for ever. And nobody
            # else would tell the ledger, so this is said however long the bus is away.
            await _insist(lambda: self._report(spec, ReportKind.GAVE_UP, reason=reason))
            await _insist(delivery.ack)
            return
        with contextlib.suppress(UnreachableError):
            # Unsaid it does no harm: the next attempt's lease says as much.
            await self._report(spec, ReportKind.LOST, reason=reason)
        with contextlib.suppress(UnreachableError):
            await delivery.nak(delay_s=0.2 * spec.attempt)

    async def _report(
        self,
        spec: EnclaveSpec,
        kind: ReportKind,
        *,
        reason: Reason | None = None,
        evidence_digest: str | None = None,
    ) -> None:
        report = Report(
            job_id=spec.job_id,
            attempt=spec.attempt,
            kind=kind,
            enclave_id=spec.enclave_id,
            host_id=self._host_id,
            evidence_digest=evidence_digest,
            reason=reason,
        )
        await publish(
            self._bus,
            subjects.REPORT.of(spec.job_id),
            schema.encode(report),
            msg_id=f"report.{spec.enclave_id}.{kind.value}",
            headers=wiring.headers(self._tracer),
        )

    async def _bury(self, delivery: Delivery, error: AtollError) -> None:
        # Full or away: no longer kept alive, it is delivered again.
        with contextlib.suppress(UnreachableError, RefusedError):
            await bury(self._bus, delivery, stream=topology.SPAWN.name, error=error)


def _ended_by_itself(view: JobView) -> bool:
    """Whether the job ended by its enclave's word, and not by its owner's or the clock's."""
    overdue = view.reason is not None and view.reason.code == "job.deadline"
    return view.state is not JobState.CANCELLED and not overdue


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one error that made the others be cancelled."""
    for error in group.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    return group


def _reason(code: str, message: str) -> Reason:
    """A reason that the ledger takes; a code from elsewhere may be no code."""
    legal = len(code) <= _MAX_CODE and _CODE.fullmatch(code)
    text = message.encode("utf-8", "replace").decode()[:MAX_TEXT]
    return Reason(code=code if legal else "internal", message=text)


async def _insist(operation: Callable[[], Awaitable[None]]) -> None:
    """Do it again until the bus took it; each try waits for the bus by itself."""
    while True:
        try:
            await operation()
        except UnreachableError as error:
            _log.warning("trying again: %s", error)
        else:
            return
