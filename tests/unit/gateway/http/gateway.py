"""The whole HTTP application over ports in memory."""

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette  # noqa: TC002

from atoll.errors import NotFoundError
from atoll.sealing.release import WRAPPED_SIZE, KeyRelease
from atoll.telemetry.span import Recorder
from atoll.wire import schema
from atoll.wire.hosts import HostList, HostOrder, HostOrderRequest
from atoll.wire.messages import JobView, OutcomeRecord, Report, ReportKind, Tee
from atoll_gateway.api import GatewayApi
from atoll_gateway.audited import AuditedJobs, AuditedTokens
from atoll_gateway.audited import Recorder as AuditRecorder
from atoll_gateway.caller import Caller
from atoll_gateway.http.app import make_app
from atoll_gateway.http.gate import Gate
from atoll_gateway.http.limits import Limits
from atoll_gateway.http.ports import Told
from atoll_gateway.index import JobIndex
from atoll_gateway.ledger import Ledger
from atoll_gateway.placing import AnyPlace
from atoll_gateway.refusals import Refusals
from atoll_gateway.tokens import TokenDesk, TokenDirectory
from support.access import MemoryTokens, records
from support.audit import MemoryAudit
from support.gateway import (
    NOW_MS,
    MemoryEvidence,
    MemoryJobs,
    MemoryKeys,
    MemoryManifests,
    MemoryObjects,
    MemoryOutcomes,
    MemoryOutlet,
    MemoryReleases,
    MemoryWithdrawals,
    submission,
)
from unit.gateway.http.asgi import Answer, call

JSON = ("content-type", "application/json")
EVIDENCE = "ef" * 32
TRACEPARENT = f"00-{'a' * 32}-{'b' * 16}-01"


@dataclass
class MemoryEvents:
    outlet: MemoryOutlet
    hold: asyncio.Event | None = None
    """If set, a reader waits for it before the first event."""
    reading: int = 0

    async def of_job(self, job_id: str, *, after: int, follow: bool) -> AsyncGenerator[Told, None]:
        self.reading += 1
        if self.hold is not None:
            await self.hold.wait()
        for place, event in enumerate(self.outlet.events, 1):
            if event.job_id == job_id and event.seq > after:
                yield Told(number=event.seq, place=place, event=event)

    async def of_all(self, *, after: int, follow: bool) -> AsyncGenerator[Told, None]:
        for place, event in enumerate(self.outlet.events, 1):
            if place > after:
                yield Told(number=place, place=place, event=event, traceparent=TRACEPARENT)


class MemoryHosts:
    """No host lives."""

    async def list(self) -> HostList:
        return HostList(hosts=())

    async def order(self, request: HostOrderRequest, caller: Caller) -> HostOrder:
        raise NotFoundError(f"no host {request.host_id}", code="host.not_found")


@dataclass
class Gateway:
    """The application and everything behind it."""

    jobs: MemoryJobs = field(default_factory=MemoryJobs)
    outlet: MemoryOutlet = field(default_factory=MemoryOutlet)
    manifests: MemoryManifests = field(default_factory=MemoryManifests)
    evidence: MemoryEvidence = field(default_factory=MemoryEvidence)
    outcomes: MemoryOutcomes = field(default_factory=MemoryOutcomes)
    attestor_keys: MemoryKeys = field(default_factory=MemoryKeys)
    releases: MemoryReleases = field(default_factory=MemoryReleases)
    assets: MemoryObjects = field(default_factory=MemoryObjects)
    results: MemoryObjects = field(default_factory=MemoryObjects)
    tokens: MemoryTokens = field(default_factory=MemoryTokens)
    audit: MemoryAudit = field(default_factory=MemoryAudit)
    limits: Limits = field(default_factory=Limits)
    now_s: float = 0.0
    """What the gate's clock says."""
    changes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        counter = itertools.count(1)
        tracer = self.tracer = Recorder(
            "atoll-gateway",
            instance="test",
            clock=lambda: NOW_MS * 1_000_000,
            random=lambda size: next(counter).to_bytes(size, "big"),
        )
        self.events = MemoryEvents(self.outlet)
        self.ledger = Ledger(self.jobs, self.outlet, lambda: NOW_MS)
        self.index = JobIndex()
        self.index.caught_up()
        api = GatewayApi(
            ledger=self.ledger,
            manifests_store=self.manifests,
            withdrawals=MemoryWithdrawals(),
            index=self.index,
            clock=lambda: NOW_MS,
            tees=frozenset({Tee.SIMULATED}),
            places=AnyPlace(),
            context=tracer.current,
        )
        self.directory = TokenDirectory()
        for record in records(NOW_MS):
            self.directory.note(record, self.tokens.write(record))
        recorder = AuditRecorder(self.audit, tracer.current, lambda: "a-request")
        self.desk = TokenDesk(self.tokens, self.directory, lambda: NOW_MS)
        self.refusals = Refusals(recorder, monotonic=lambda: self.now_s, has_room=self._has_room)
        fields: dict[str, Any] = {
            "gate": Gate(
                self.directory,
                self.limits,
                clock=lambda: NOW_MS,
                monotonic=lambda: self.now_s,
                refused=self.refusals.note,
            ),
            "jobs": AuditedJobs(api, recorder),
            "tokens": AuditedTokens(self.desk, recorder),
            "hosts": MemoryHosts(),
            "manifests": self.manifests,
            "evidence": self.evidence,
            "outcomes": self.outcomes,
            "attestor_keys": self.attestor_keys,
            "releases": self.releases,
            "assets": self.assets,
            "results": self.results,
            "events": self.events,
            "tracer": tracer,
            "max_asset": 10_000,
            "idle_s": 0.05,
        }
        self.app: Starlette = make_app(**{**fields, **self.changes})

    async def _has_room(self) -> bool:
        return True

    async def call(self, method: str, target: str, **options: Any) -> Answer:
        return await call(self.app, method, target, **options)

    async def post(self, target: str, value: object, **options: Any) -> Answer:
        raw = json.dumps(value).encode()
        return await self.call("POST", target, body=[raw], headers=[JSON], **options)

    async def submit(self, **options: Any) -> Answer:
        return await self.post("/v1/jobs", schema.to_plain(submission(**options), json=True))

    async def report(
        self,
        job_id: str,
        kind: ReportKind,
        attempt: int = 1,
        outcome: OutcomeRecord | None = None,
    ) -> JobView:
        digest = EVIDENCE if kind is ReportKind.ADMITTED else None
        stored = "0c" * 32 if outcome is None else schema.sha256_hex(schema.encode(outcome))
        change = Report(
            job_id=job_id,
            attempt=attempt,
            kind=kind,
            enclave_id=f"e{attempt}",
            evidence_digest=digest,
            outcome_digest=stored if kind is ReportKind.FINISHED else None,
        )
        return await self.ledger.apply(job_id, change)

    async def waiting(self) -> JobView:
        """A job whose enclave waits for key releases."""
        job_id = (await self.submit()).json["job_id"]
        await self.report(job_id, ReportKind.LEASED)
        return await self.report(job_id, ReportKind.ADMITTED)


def release(view: JobView, **changes: Any) -> dict[str, Any]:
    """A release for the job as it stands, in its JSON form."""
    fields: dict[str, Any] = {
        "version": 1,
        "job_id": view.job_id,
        "attempt": view.attempt,
        "manifest_digest": bytes.fromhex(view.manifest_digest),
        "asset_name": "iris.csv",
        "asset_id": bytes(16),
        "evidence_digest": bytes.fromhex(EVIDENCE),
        "provider": "alice",
        "wrapped": bytes(WRAPPED_SIZE),
        "signature": bytes(64),
    }
    plain = schema.to_plain(KeyRelease(**{**fields, **changes}), json=True)
    assert isinstance(plain, dict)
    return plain
