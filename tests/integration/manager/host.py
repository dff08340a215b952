"""A manager's parts over a real bus, with a driver whose enclaves are a few events."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from atoll.bus import Bus, KeyValue, WorkQueue, publish, read_stream
from atoll.computation.manifest import digest as manifest_digest
from atoll.errors import AtollError, ConflictError
from atoll.evidence import document as documents
from atoll.evidence.appraise import appraise_document
from atoll.evidence.ear import issue_ear
from atoll.telemetry.span import Recorder
from atoll.wire import schema, subjects, topology
from atoll.wire.messages import (
    Assignment,
    EvidenceRecord,
    JobRecord,
    Report,
    ReportKind,
    SpawnRequest,
    Tee,
)
from atoll.wire.placement import plain
from atoll_gateway import core
from atoll_manager.attempt import AttemptRunner, Timing
from atoll_manager.drivers.driver import EnclaveSpec, RunningEnclave
from atoll_manager.pool import SlotPool
from atoll_manager.reservations import Capacity, Reservations
from support.evidence import Binding, document, policy, trust
from support.gateway import submission

QUEUE = topology.spawn_consumer(Tee.SIMULATED)
KEY = Ed25519PrivateKey.generate()
Script = Callable[["FakeEnclave"], Any]


@dataclass(kw_only=True)
class FakeEnclave:
    """An enclave that does what its script says; `ended` is its exit status."""

    spec: EnclaveSpec
    bus: Bus
    ended: "asyncio.Future[int]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    stops: int = 0

    @property
    def enclave_id(self) -> str:
        return self.spec.enclave_id

    async def wait(self) -> int:
        return await asyncio.shield(self.ended)

    async def stop(self, grace_s: float) -> None:
        self.stops += 1
        self.end(-15)

    def end(self, status: int) -> None:
        if not self.ended.done():
            self.ended.set_result(status)

    async def attest(self, now: Any, **changes: Any) -> None:
        """Publish evidence with the attestor's word; `changes` to the report make it bad."""
        digest = bytes.fromhex(self.spec.manifest_digest)
        binding = Binding(manifest_digest=digest)
        made = replace(document(binding=binding, **changes), enclave_id=self.enclave_id)
        raw = documents.encode(made)
        appraisal = appraise_document(
            raw,
            trust=trust(),
            policy=policy(),
            manifest_digest=digest,
            nonce=made.nonce,
            now=now,
        )
        ear = issue_ear(
            appraisal,
            evidence_digest=documents.digest(raw),
            nonce=made.nonce,
            issuer="test",
            key=KEY,
            kid="k1",
            now=now,
            ttl_s=300,
        )
        record = EvidenceRecord(
            enclave_id=self.enclave_id,
            job_id=self.spec.job_id,
            attempt=self.spec.attempt,
            evidence=raw,
            ear=ear,
        )
        await KeyValue(self.bus, topology.EVIDENCE).put(self.enclave_id, schema.encode(record))

    async def assignment(self) -> Assignment:
        subject = subjects.ASSIGN.of(self.enclave_id)
        async for message in read_stream(self.bus, topology.ENCLAVE.name, subject, follow=True):
            return schema.decode(Assignment, message.payload)
        raise AssertionError("unreachable")


@dataclass(kw_only=True)
class FakeDriver:
    """Starts scripts."""

    bus: Bus
    group: asyncio.TaskGroup
    script: Script
    refusal: Exception | None = None
    started: list[FakeEnclave] = field(default_factory=list)
    scripts: list["asyncio.Task[None]"] = field(default_factory=list)

    async def start(self, spec: EnclaveSpec) -> RunningEnclave:
        if self.refusal is not None:
            raise self.refusal
        enclave = FakeEnclave(spec=spec, bus=self.bus)
        self.started.append(enclave)
        self.scripts.append(self.group.create_task(self._perform(enclave)))
        return enclave

    async def _perform(self, enclave: FakeEnclave) -> None:
        with suppress(AtollError):
            await self.script(enclave)


@dataclass(kw_only=True)
class Host:
    """A bus, one manager's pool, and a ledger that is the real core and one task."""

    bus: Bus
    group: asyncio.TaskGroup
    driver: FakeDriver
    keys_fail: AtollError | None = None
    reports: list[Report] = field(default_factory=list)

    @property
    def jobs(self) -> KeyValue:
        return KeyValue(self.bus, topology.JOBS)

    async def keys(self) -> Mapping[str, Ed25519PublicKey]:
        if self.keys_fail is not None:
            raise self.keys_fail
        return {"k1": KEY.public_key()}

    def runner(self, **timing: float) -> AttemptRunner:
        times = {"boot_timeout_s": 20.0, "stop_grace_s": 0.2, **timing}
        return AttemptRunner(
            bus=self.bus,
            driver=self.driver,
            host_id="host-1",
            keys=self.keys,
            timing=Timing(**times),
            tracer=Recorder(
                "atoll-manager", instance="host-1", clock=lambda: 1, random=secrets.token_bytes
            ),
        )

    def pool(self, slots: int = 2, **timing: float) -> SlotPool:
        return plain_pool(self, self.runner(**timing), slots)

    async def submit(self) -> str:
        """A job in the ledger, its manifest stored, and its spawn request in the queue."""
        signed = submission().agreed
        digest = manifest_digest(signed.manifest).hex()
        job_id = f"job-{secrets.token_hex(6)}"
        record = core.submitted(
            job_id=job_id,
            tee=Tee.SIMULATED,
            manifest_digest=digest,
            now_ms=1,
            deadline_ms=1 << 40,
            traceparent="",
            trace_id=None,
        )
        await KeyValue(self.bus, topology.MANIFESTS).put(digest, schema.encode(signed))
        await self.jobs.create(job_id, schema.encode(record))
        request = SpawnRequest(
            job_id=job_id, tee=Tee.SIMULATED, manifest_digest=digest, expires_ms=1 << 41
        )
        await self.spawn(schema.encode(request))
        return job_id

    async def spawn(self, payload: bytes) -> None:
        await publish(self.bus, subjects.SPAWN.of(Tee.SIMULATED.value), payload)

    async def tell(self, report: Report) -> None:
        """As an enclave would."""
        await publish(self.bus, subjects.REPORT.of(report.job_id), schema.encode(report))

    async def finish(self, enclave: FakeEnclave) -> None:
        """The enclave's last report."""
        await self.tell(
            Report(
                job_id=enclave.spec.job_id,
                attempt=enclave.spec.attempt,
                kind=ReportKind.FINISHED,
                enclave_id=enclave.enclave_id,
                outcome_digest="0c" * 32,
            )
        )

    async def record(self, job_id: str) -> JobRecord:
        entry = await self.jobs.get(job_id)
        assert entry is not None
        assert entry.value is not None
        return schema.decode(JobRecord, entry.value)

    async def change(self, job_id: str, change: core.Input) -> None:
        """Apply one input, also when the ledger applies another one at that moment."""
        while True:
            entry = await self.jobs.get(job_id)
            if entry is None or entry.value is None:
                return
            after = core.apply(schema.decode(JobRecord, entry.value), change, now_ms=2)
            if after is None:
                return
            raw = schema.encode(replace(after, outbox=()))
            with suppress(ConflictError):
                await self.jobs.update(job_id, raw, revision=entry.revision)
                return

    async def ended(self, job_id: str) -> JobRecord:
        """The job when it is in a terminal state."""
        async with asyncio.timeout(20):
            async for entry in self.jobs.watch(job_id):
                assert entry.value is not None
                record = schema.decode(JobRecord, entry.value)
                if record.view.state.terminal:
                    return record
        raise AssertionError("unreachable")

    async def queued(self) -> int:
        """Messages of the work queue that nobody has settled."""
        reply = await self.bus.request(
            f"$JS.API.STREAM.INFO.{topology.SPAWN.name}", b"", timeout_s=5
        )
        return int(json.loads(reply.payload)["state"]["messages"])

    def kinds(self) -> list[ReportKind]:
        """What was told, but that an enclave attests: whatever comes next takes its place."""
        told = (report.kind for report in self.reports)
        return [kind for kind in told if kind is not ReportKind.ATTESTING]

    async def ledger(self) -> None:
        """Apply reports as the gateway does."""
        async with WorkQueue(self.bus, topology.LEDGER_CONSUMER) as queue:
            async for delivery in queue:
                report = schema.decode(Report, delivery.payload)
                self.reports.append(report)
                await self.change(report.job_id, report)
                await delivery.ack()


def plain_pool(here: Host, runner: AttemptRunner, slots: int, **options: Any) -> SlotPool:
    """A pool that takes plain jobs, and has room for as many as it has slots."""
    it = plain(Tee.SIMULATED)
    capacity = Capacity(slots=slots, memory_bytes=slots * it.needs.memory_bytes, cpus=1)
    return SlotPool(here.bus, runner, {it.consumer.name: it}, Reservations(capacity), **options)


async def idle(_: FakeEnclave) -> None:
    """An enclave that never says a word."""


@asynccontextmanager
async def host(bus: Bus, script: Script = idle) -> AsyncIterator[Host]:
    """A host with its ledger; everything it started is gone afterwards."""
    async with asyncio.TaskGroup() as group:
        driver = FakeDriver(bus=bus, group=group, script=script)
        made = Host(bus=bus, group=group, driver=driver)
        ledger = group.create_task(made.ledger())
        yield made
        for task in (ledger, *driver.scripts):
            task.cancel()
    for enclave in driver.started:
        assert enclave.stops, "every enclave that was started is stopped"
