"""Performs one attempt at one job: from a spawn request to an acknowledged end.

    ask -> lease -> start enclave -> wait for its evidence -> require the attestor's word ->
    offer the assignment -> wait for the end -> acknowledge

What is to be done when is `atoll_manager.lease`'s to say; this is the shell that does it. The
spawn request stays unacknowledged all the while. If this manager dies, the bus hands it to
another one. If the enclave dies, we hand it back ourselves. If we were cut off for so long
that another manager has the job by now, we end our enclave and say nothing.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import aclosing
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from atoll.bus import Bus, KeyValue, bury, publish
from atoll.errors import (
    AtollError,
    EvidenceError,
    MessageError,
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
    Reason,
    Report,
    ReportKind,
    SpawnRequest,
    reason_of,
)
from atoll_manager import lease as leases
from atoll_manager import lease_terms as terms
from atoll_manager.admission import admit
from atoll_manager.delivery import Delivery
from atoll_manager.drivers.driver import Claim, Driver, EnclaveSpec, RunningEnclave
from atoll_manager.lease import Lease, Timing
from atoll_manager.observing import AttemptObserver

__all__ = ["AttemptRunner", "Timing"]

_log = logging.getLogger(__name__)

Keys = Callable[[], Awaitable[Mapping[str, Ed25519PublicKey]]]


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
        new_enclave_id: Callable[[], str] = lambda: "e" + secrets.token_hex(12),
        observer: AttemptObserver | None = None,
    ) -> None:
        self.observer = observer or AttemptObserver()
        self.bus = bus
        self.driver = driver
        self.host_id = host_id
        self.keys = keys
        self.timing = timing
        self.tracer = tracer
        self.new_enclave_id = new_enclave_id

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
        with wiring.consume(self.tracer, spans.SPAWN, delivery.headers):
            await Attempt(self, delivery, request).run()

    async def adopt(self, delivery: Delivery, spec: EnclaveSpec, enclave: RunningEnclave) -> None:
        """See an attempt through that an earlier manager of this host began; as `run`.

        What is said again by this was heard before. At the end nothing of the enclave is
        left, also when the job ended meanwhile or is another manager's by now.
        """
        _log.info("job %s attempt %d: found its enclave again", spec.job_id, spec.attempt)
        try:
            request = schema.decode(SpawnRequest, delivery.payload)
            with wiring.consume(self.tracer, spans.SPAWN, delivery.headers):
                await Attempt(self, delivery, request, (spec, enclave)).run()
        except MessageError as error:
            await self._bury(delivery, error)
        finally:
            await enclave.stop(self.timing.stop_grace_s)

    async def _bury(self, delivery: Delivery, error: AtollError) -> None:
        # Full or away: no longer kept alive, it is delivered again.
        with contextlib.suppress(UnreachableError, RefusedError):
            await bury(self.bus, delivery, stream=topology.SPAWN.name, error=error)


class Attempt:
    """One lease: performs its commands and tells it what came of them."""

    def __init__(
        self,
        runner: AttemptRunner,
        delivery: Delivery,
        request: SpawnRequest,
        adopted: tuple[EnclaveSpec, RunningEnclave] | None = None,
    ) -> None:
        self._runner = runner
        self._delivery = delivery
        self._request = request
        self._jobs = KeyValue(runner.bus, topology.JOBS)
        self._manifests = KeyValue(runner.bus, topology.MANIFESTS)
        self._evidence = KeyValue(runner.bus, topology.EVIDENCE)
        self._lease, self._first = leases.begin(
            job_id=request.job_id,
            enclave_id=runner.new_enclave_id() if adopted is None else adopted[0].enclave_id,
            spawn_seq=delivery.stream_seq,
            delivered=delivery.num_delivered,
            is_last=delivery.is_last,
            timing=runner.timing,
            adopted=None if adopted is None else adopted[0].attempt,
        )
        self._events: asyncio.Queue[tuple[asyncio.Task[None] | None, terms.Event]]
        self._events = asyncio.Queue()
        """With the task whose end an event is."""
        self._group = asyncio.TaskGroup()
        self._under_way: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._watches: list[asyncio.Task[None]] = []
        self._enclave: RunningEnclave | None = None if adopted is None else adopted[1]

    async def run(self) -> None:
        """Until the lease is over.

        Raises:
            CancelledError: asked to stop, and done with it.
        """
        stopped = False
        async with self._group:
            try:
                commands = self._first
                while True:
                    for command in commands:
                        self._order(command)
                    if self._lease.phase is leases.Phase.OVER:
                        break
                    try:
                        event = await self._next()
                    except asyncio.CancelledError:
                        stopped = True
                        event = terms.StopAsked()
                    self._lease, commands = leases.step(self._lease, event)
                    self._note(event)
            finally:
                self._runner.observer.over(self._lease)
                self._order(terms.SetTimer(None))
                for task in (self._under_way, *self._watches):
                    if task is not None:
                        task.cancel()
        if stopped:
            raise asyncio.CancelledError

    async def _next(self) -> terms.Event:
        """The next event, but for the end of a command whose place another one took since."""
        while True:
            ended, event = await self._events.get()
            if ended is None:
                return event
            if ended is self._under_way:
                self._under_way = None
                return event

    def _note(self, event: terms.Event) -> None:
        held = self._lease
        self._runner.observer.heard(held, event)
        if isinstance(event, terms.Failed):
            _log.warning("job %s attempt %d: %s", held.job_id, held.attempt, event.reason.code)
        if held.phase is leases.Phase.OVER and held.ending is leases.Ending.LET_GO:
            _log.warning("job %s is no longer ours (attempt %d)", held.job_id, held.attempt)

    def _order(self, command: terms.Command) -> None:
        if isinstance(command, terms.SetTimer):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = None
            if command.seconds is not None:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(command.seconds, self._tell, terms.TimedOut())
            return
        self._runner.observer.ordered(self._lease, command)
        if self._under_way is not None:
            self._under_way.cancel()
        self._under_way = self._group.create_task(self._perform(command, self._lease))

    def _tell(self, event: terms.Event) -> None:
        self._events.put_nowait((None, event))

    async def _perform(self, command: terms.Command, lease: Lease) -> None:
        """Carry it out and say what came of it."""
        try:
            event = await self._carry_out(command, lease)
        except AtollError as error:
            event = terms.Failed(_blame(error), away=isinstance(error, UnreachableError))
        except Exception:  # noqa: BLE001 (logged whole)
            # A bug in here must cost one attempt, not the host and all its other jobs.
            _log.exception("job %s attempt %d", lease.job_id, lease.attempt)
            event = terms.Failed(reason_of("internal", "the host could not go on"))
        self._events.put_nowait((asyncio.current_task(), event))

    async def _carry_out(self, command: terms.Command, lease: Lease) -> terms.Event:
        runner, delivery = self._runner, self._delivery
        match command:
            case terms.AskLedger():
                return await self._ask(lease)
            case terms.Tell():
                await self._report(command, lease)
            case terms.StartEnclave():
                await self._start(lease)
            case terms.Judge():
                return await self._judge(command.record, lease)
            case terms.Hold():
                _log.info("job %s: an earlier enclave may have keys", lease.job_id)
                await _undisturbed(runner.bus, command.seconds)
            case terms.Offer():
                with runner.tracer.span(spans.OFFER):
                    await self._offer(lease)
            case terms.StopEnclave():
                if self._enclave is not None:
                    await self._enclave.stop(runner.timing.stop_grace_s)
            case terms.Ack():
                await delivery.ack()
            case terms.Nak():
                await delivery.nak(delay_s=command.delay_s)
            case terms.SetTimer():
                pass  # `_order`'s
        return terms.Done()

    async def _ask(self, lease: Lease) -> terms.Event:
        entry = await self._jobs.get(lease.job_id)
        if entry is None or entry.value is None:
            raise NotFoundError(f"job {lease.job_id} is not in the ledger", code="job.not_found")
        record = schema.decode(JobRecord, entry.value)
        self._watch(self._follow(lease.job_id))
        if lease.adopted and self._enclave is not None:
            self._watch_enclave(self._enclave)
        return terms.LedgerSays(record)

    async def _start(self, lease: Lease) -> None:
        runner = self._runner
        spec = self._spec(lease)
        with runner.tracer.span(spans.ENCLAVE_START):
            enclave = await runner.driver.start(spec)
        self._enclave = enclave
        self._watch_enclave(enclave)

    def _watch_enclave(self, enclave: RunningEnclave) -> None:
        self._watch(self._await_exit(enclave))
        self._watch(self._await_evidence(enclave.enclave_id))

    def _spec(self, lease: Lease) -> EnclaveSpec:
        return EnclaveSpec(
            enclave_id=lease.enclave_id,
            job_id=lease.job_id,
            attempt=lease.attempt,
            manifest_digest=self._request.manifest_digest,
            traceparent=wiring.headers(self._runner.tracer).get("traceparent", ""),
            expires_ms=self._request.expires_ms,
            claim=Claim(
                reply=self._delivery.reply_subject,
                subject=self._delivery.subject,
                payload=self._delivery.payload,
                headers=self._delivery.headers,
            ),
        )

    async def _judge(self, record: EvidenceRecord, lease: Lease) -> terms.Event:
        keys = await self._runner.keys()
        try:
            with self._runner.tracer.span(spans.VERIFY_EAR):
                admit(record, self._spec(lease), keys, now=datetime.now(UTC))
        except EvidenceError as error:
            return terms.Refused(reason_of(error.code, error.message))
        return terms.Done()

    async def _offer(self, lease: Lease) -> None:
        digest = self._request.manifest_digest
        entry = await self._manifests.get(digest)
        if entry is None or entry.value is None:
            raise NotFoundError(f"manifest {digest} is not stored", code="manifest.not_found")
        assignment = Assignment(
            job_id=lease.job_id,
            attempt=lease.attempt,
            enclave_id=lease.enclave_id,
            agreed=schema.decode(AgreedManifest, entry.value),
        )
        await publish(
            self._runner.bus,
            subjects.ASSIGN.of(lease.enclave_id),
            schema.encode(assignment),
            msg_id=f"assign.{lease.enclave_id}",
            headers=wiring.headers(self._runner.tracer),
        )

    async def _report(self, told: terms.Tell, lease: Lease) -> None:
        await publish(
            self._runner.bus,
            subjects.REPORT.of(lease.job_id),
            schema.encode(report(told, lease, host_id=self._runner.host_id)),
            msg_id=f"report.{lease.enclave_id}.{told.kind.value}",
            headers=wiring.headers(self._runner.tracer),
        )

    def _watch(self, watching: Coroutine[None, None, None]) -> None:
        self._watches.append(self._group.create_task(self._watched(watching)))

    async def _watched(self, watching: Coroutine[None, None, None]) -> None:
        try:
            await watching
        except AtollError as error:
            self._tell(terms.WatchLost(_blame(error)))
        except Exception:  # noqa: BLE001 (as above)
            _log.exception("job %s", self._lease.job_id)
            self._tell(terms.WatchLost(reason_of("internal", "the host could not go on")))

    async def _follow(self, job_id: str) -> None:
        async with aclosing(self._jobs.watch(job_id)) as entries:
            async for entry in entries:
                if entry.value is not None:
                    self._tell(terms.LedgerSays(schema.decode(JobRecord, entry.value)))

    async def _await_evidence(self, enclave_id: str) -> None:
        async with aclosing(self._evidence.watch(enclave_id)) as entries:
            async for entry in entries:
                if entry.value is not None:
                    self._tell(terms.EvidenceSeen(schema.decode(EvidenceRecord, entry.value)))
                    return

    async def _await_exit(self, enclave: RunningEnclave) -> None:
        self._tell(terms.Exited(await enclave.wait()))


def report(told: terms.Tell, lease: Lease, *, host_id: str) -> Report:
    """What a lease tells the ledger."""
    evidence = told.evidence
    return Report(
        job_id=lease.job_id,
        attempt=lease.attempt,
        kind=told.kind,
        enclave_id=lease.enclave_id,
        host_id=host_id,
        spawn_seq=lease.spawn_seq if told.kind is ReportKind.LEASED else 0,
        evidence_digest=None if evidence is None else schema.sha256_hex(evidence.evidence),
        reason=told.reason,
    )


async def _undisturbed(bus: Bus, seconds: float) -> None:
    """Return when the bus was there for so long on end."""
    while True:
        await bus.wait_connected()
        lost = asyncio.Event()
        forget = bus.on_lost(lost.set)
        try:
            await asyncio.wait_for(lost.wait(), seconds)
        except TimeoutError:
            return
        finally:
            forget()


def _blame(error: AtollError) -> Reason:
    """A refusal may say why; whatever else went wrong here is the host's own matter."""
    own = isinstance(error, RefusedError)
    return reason_of(error.code, error.message if own else "the host could not go on")
