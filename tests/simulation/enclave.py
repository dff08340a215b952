"""An agent: its real bus port and release collector; what it runs is a moment of waiting."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from atoll.bus import KeyValue
from atoll.computation.manifest import Manifest
from atoll.errors import AtollError
from atoll.sealing.hpke import HpkePrivateKey
from atoll.wire import schema, subjects, topology
from atoll.wire.messages import EvidenceRecord, Reason, ReportKind
from atoll_agent.assignment import Task as AgentTask
from atoll_agent.bus_ports import EnclaveBus
from atoll_agent.releases import ReleaseCollector
from simulation.bus import SimBus, Weather, Wire
from simulation.oracle import Oracle
from simulation.scheduler import Channel, Process, Scheduler, Sleep
from simulation.server import Server, Stored
from support.gateway import keys, make_manifest

if TYPE_CHECKING:
    from atoll.bus import Bus

OWNER: Final = keys("owner")
MANIFEST: Final[Manifest] = make_manifest(OWNER)
MANIFEST_DIGEST: Final = bytes.fromhex("ab" * 32)
ASSIGN_WAIT_MS: Final = 60_000
RELEASE_WAIT_MS: Final = 60_000
URGENT: Final = "-urgent"
"""Ends the ids of jobs whose deadline comes soon, which a guest may never reach by itself."""


FOR_EVER_MS: Final = 1 << 40


@dataclass(kw_only=True)
class Habits:
    """How often enclaves and their attestor misbehave."""

    dies: float = 0.0
    host_dies: float = 0.0
    """Of managers: they take their enclaves with them."""
    refused: float = 0.0
    fails: float = 0.0
    hangs: float = 0.3
    attestor_away: float = 0.0
    work_ms: int = 4000

    def good(self) -> None:
        self.dies = self.attestor_away = 0.0


class EnclaveProcess(Process):
    def __init__(
        self,
        scheduler: Scheduler,
        name: str,
        server: Server,
        weather: Weather,
        *,
        job_id: str,
        attempt: int,
        spawn_seq: int,
        looked_at: int,
        oracle: Oracle,
        habits: Habits,
        host: Process,
        ended: Callable[[int], None],
    ) -> None:
        super().__init__(scheduler, name)
        self.server = server
        self.job_id = job_id
        self.attempt = attempt
        self.spawn_seq = spawn_seq
        self.looked_at = looked_at
        """When its host looked at the ledger."""
        self.oracle = oracle
        self.habits = habits
        self.host = host
        self._ended = ended
        self.wire = Wire(self, server, weather)
        self.has_keys = False

    def start(self) -> None:
        self.oracle.enclave_started(self)
        self.spawn(self._main())

    def exit(self, status: int) -> None:
        if self.alive:
            self.crash()
            self.oracle.enclave_ended(self)
            self._ended(status)

    async def _main(self) -> None:
        try:
            status = await self._work()
        except AtollError as error:
            self.scheduler.note(f"{self.name}: {error.code}")
            status = 1
        # From a step of its own: a task does not end its process while it runs.
        self.scheduler.after(0, self.exit, status)

    async def _work(self) -> int:
        rng, habits = self.scheduler.rng, self.habits
        bus = cast("Bus", SimBus(self.wire))
        port = EnclaveBus(
            bus,
            cast("Any", _NoTracer()),
            enclave_id=self.name,
            job_id=self.job_id,
            attempt=self.attempt,
        )
        await Sleep(rng.randrange(100, 800))
        key = HpkePrivateKey(hashlib.sha256(self.name.encode()).digest())
        evidence = key.public_bytes
        verdict = "refused" if rng.random() < habits.refused else "passed"
        record = EvidenceRecord(
            enclave_id=self.name,
            job_id=self.job_id,
            attempt=self.attempt,
            evidence=evidence,
            ear=verdict,
        )
        # As the attestor does, which admits it.
        await KeyValue(bus, topology.EVIDENCE).put(self.name, schema.encode(record))
        messages = Channel(self.scheduler)
        prefix = subjects.ASSIGN.of(self.name).rpartition(".")[0]
        self.server.follow(self, "ENCLAVE", prefix, messages.put)
        releases: list[bytes] = []
        while True:
            item: Stored | None = await messages.get(ASSIGN_WAIT_MS)
            if item is None:
                return 3
            if item.subject == subjects.ASSIGN.of(self.name):
                break
            releases.append(item.payload)
        collector = ReleaseCollector(self._task(evidence), key)
        for raw in releases:
            collector.take(raw)
        while collector.missing:
            item = await messages.get(RELEASE_WAIT_MS)
            if item is None:
                reason = Reason(code="release.timeout", message="")
                await port.report(ReportKind.FINISHED, reason=reason)
                return 0
            if item.subject == subjects.RELEASE.of(self.name):
                refusal = collector.take(item.payload)
                if refusal is not None:
                    self.oracle.fail(f"{self.name} refused a release: {refusal.code}")
        self.has_keys = True
        self.oracle.keys_taken(self)
        await port.report(ReportKind.STARTED)
        hangs = self.job_id.endswith(URGENT) and rng.random() < habits.hangs
        await Sleep(FOR_EVER_MS if hangs else rng.randrange(10, habits.work_ms))
        if rng.random() < habits.dies:
            return 1
        stored = await port.store_outcome({}, self.name.encode())
        failed = rng.random() < habits.fails
        why = Reason(code="workload.trap", message="") if failed else None
        await port.report(ReportKind.FINISHED, reason=why, outcome_digest=stored)
        return 0

    def _task(self, evidence: bytes) -> AgentTask:
        return AgentTask(
            job_id=self.job_id,
            attempt=self.attempt,
            manifest=MANIFEST,
            manifest_digest=MANIFEST_DIGEST,
            evidence_digest=hashlib.sha256(evidence).digest(),
        )


class _NoTracer:
    def current(self) -> None:
        return None
