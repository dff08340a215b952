"""A gateway in memory: the ports as dictionaries, and manifests to submit."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass, field, replace

from atoll.client.compose import agree
from atoll.computation.assets import AssetRef
from atoll.computation.manifest import (
    Dataset,
    JobLimits,
    Manifest,
    Party,
    TeeRequirements,
    digest,
)
from atoll.computation.network import Network
from atoll.computation.outputs import Output
from atoll.computation.steps import Source, Step, StepLimits, WorkloadKind
from atoll.errors import ConflictError, NotFoundError, UnreachableError
from atoll.identity import PartyKeys
from atoll.sealing.release import KeyRelease
from atoll.wire import schema
from atoll.wire.access import DEFAULT_TENANT
from atoll.wire.messages import (
    AgreedManifest,
    EvidenceRecord,
    JobEvent,
    JobRecord,
    OutcomeRecord,
    SubmitRequest,
    Tee,
    Withdrawal,
)
from atoll_gateway.http.ports import Stored

NOW_MS = 1_800_000_000_000
LATER_MS = 4_000_000_000_000
"""When consents of tests end."""


class Crash(BaseException):
    """The process died here."""


@dataclass
class Fate:
    """Decides at each await point whether the process lives on."""

    die_at: int | None = None
    steps: int = 0

    def step(self) -> None:
        self.steps += 1
        if self.steps == self.die_at:
            raise Crash


@dataclass
class MemoryJobs:
    """Bucket `jobs` with compare-and-set; entries live as bytes, as they do on the bus."""

    entries: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    fate: Fate = field(default_factory=Fate)
    before_update: Callable[[JobRecord], None] | None = None
    _revisions: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    async def get(self, job_id: str) -> tuple[JobRecord, int] | None:
        self.fate.step()
        await asyncio.sleep(0)
        return self.peek(job_id)

    def peek(self, job_id: str) -> tuple[JobRecord, int] | None:
        if job_id not in self.entries:
            return None
        raw, revision = self.entries[job_id]
        return schema.decode(JobRecord, raw), revision

    async def create(self, record: JobRecord) -> int:
        self.fate.step()
        if record.view.job_id in self.entries:
            raise ConflictError("it exists", code="bus.conflict")
        revision = self.write(record)
        self.fate.step()
        return revision

    async def update(self, record: JobRecord, revision: int) -> int:
        self.fate.step()
        await asyncio.sleep(0)
        if self.before_update is not None:
            self.before_update(record)
        if self.entries[record.view.job_id][1] != revision:
            raise ConflictError("it changed", code="bus.conflict")
        written = self.write(record)
        self.fate.step()
        return written

    def write(self, record: JobRecord) -> int:
        revision = next(self._revisions)
        self.entries[record.view.job_id] = (schema.encode(record), revision)
        return revision

    async def watch(self) -> AsyncGenerator[tuple[str, JobRecord | None, int], None]:
        if not self.entries:
            yield "", None, 0
        entries = list(self.entries.items())
        for behind, (job_id, (raw, _)) in zip(reversed(range(len(entries))), entries, strict=True):
            yield job_id, schema.decode(JobRecord, raw), behind


@dataclass
class MemoryOutlet:
    """Stream `EVENTS` and the spawn queue, with message ids, as `adapters.BusOutlet` uses them."""

    events: list[JobEvent] = field(default_factory=list)
    spawned: list[str] = field(default_factory=list)
    fate: Fate = field(default_factory=Fate)
    calls: int = 0
    _ids: set[str] = field(default_factory=set)

    async def event(self, event: JobEvent, record: JobRecord) -> None:
        self.calls += 1
        self.fate.step()
        mine = [known.seq for known in self.events if known.job_id == event.job_id]
        await asyncio.sleep(0)
        if not mine or mine[-1] < event.seq:
            self._once(f"{event.job_id}.{event.seq}", lambda: self.events.append(event))
        self.fate.step()

    async def spawn(self, record: JobRecord) -> None:
        self.fate.step()
        await asyncio.sleep(0)
        job_id = record.view.job_id
        self._once(f"spawn.{job_id}", lambda: self.spawned.append(job_id))
        self.fate.step()

    def _once(self, message_id: str, publish: Callable[[], None]) -> None:
        if message_id not in self._ids:
            self._ids.add(message_id)
            publish()


@dataclass
class MemoryManifests:
    stored: dict[str, AgreedManifest] = field(default_factory=dict)

    async def get(self, digest: str) -> AgreedManifest | None:
        return self.stored.get(digest)

    async def put(self, digest: str, agreed: AgreedManifest) -> None:
        self.stored[digest] = agreed


@dataclass
class MemoryWithdrawals:
    stored: dict[str, Withdrawal] = field(default_factory=dict)

    async def get(self, digest: str) -> Withdrawal | None:
        return self.stored.get(digest)

    async def put(self, digest: str, withdrawal: Withdrawal) -> None:
        self.stored.setdefault(digest, withdrawal)


@dataclass
class MemoryEvidence:
    stored: dict[str, EvidenceRecord] = field(default_factory=dict)

    async def get(self, enclave_id: str) -> EvidenceRecord | None:
        return self.stored.get(enclave_id)


@dataclass
class MemoryOutcomes:
    stored: dict[tuple[str, int], OutcomeRecord] = field(default_factory=dict)

    async def get(self, job_id: str, attempt: int) -> OutcomeRecord | None:
        return self.stored.get((job_id, attempt))


@dataclass
class MemoryKeys:
    """An attestor's keys; None: no attestor answers."""

    document: str | None = '{"keys":[]}'

    async def jwks(self) -> str:
        if self.document is None:
            raise UnreachableError("no attestor", code="bus.no_responders")
        return self.document


@dataclass
class MemoryReleases:
    published: list[tuple[str, KeyRelease]] = field(default_factory=list)

    async def publish(self, enclave_id: str, release: KeyRelease) -> None:
        self.published.append((enclave_id, release))


@dataclass
class MemoryObjects:
    stored: dict[str, bytes] = field(default_factory=dict)
    tenants: dict[str, str] = field(default_factory=dict)
    fail_after: int | None = None
    """`get` breaks after so many chunks."""

    async def info(self, name: str) -> Stored | None:
        return await self._described(name) if name in self.stored else None

    async def get(self, name: str) -> tuple[Stored, AsyncIterator[bytes]] | None:
        if name not in self.stored:
            return None
        return _describe(self.stored[name]), self._chunks(self.stored[name])

    async def put(self, name: str, chunks: AsyncIterable[bytes], tenant: str) -> Stored:
        parts = [chunk async for chunk in chunks]
        self.stored[name] = b"".join(parts)
        self.tenants[name] = tenant
        return await self._described(name)

    async def _described(self, name: str) -> Stored:
        tenant = self.tenants.get(name, DEFAULT_TENANT)
        return replace(_describe(self.stored[name]), tenant=tenant)

    async def _chunks(self, raw: bytes) -> AsyncGenerator[bytes, None]:
        for index, start in enumerate(range(0, len(raw), 1000)):
            if index == self.fail_after:
                raise NotFoundError("gone in the middle")
            yield raw[start : start + 1000]


def _describe(raw: bytes) -> Stored:
    return Stored(size=len(raw), sha256=digest(raw).hex())


def keys(name: str, seed: int = 1) -> PartyKeys:
    """The same keys for the same name and seed."""
    counter = itertools.count()

    def random(size: int) -> bytes:
        block = f"{name} {seed} {next(counter)}".encode()
        return (digest(block) * (size // 32 + 1))[:size]

    return PartyKeys.generate(name, random)


def party(of: PartyKeys, *, consumer: bool = True) -> Party:
    """The entry of a party in a manifest."""
    public = of.public
    return Party(signing_key=public.signing_key, hpke_key=public.hpke_key if consumer else None)


def asset(provider: str, number: int) -> AssetRef:
    """A reference to a sealed asset that nobody looks for."""
    return AssetRef(
        provider=provider, asset_id=f"{number:032x}", commitment=f"{number:064x}", size=100
    )


def make_manifest(*parties: PartyKeys, nonce: int = 0, **changes: object) -> Manifest:
    """A legal manifest; the first party provides everything, all of them consume."""
    first = parties[0].name
    fields: dict[str, object] = {
        "nonce": nonce.to_bytes(32, "big"),
        "parties": {of.name: party(of) for of in parties},
        "steps": (
            Step(
                name="run",
                kind=WorkloadKind.WASM,
                algorithm=asset(first, 1),
                invocation=asset(first, 3),
                inputs={"iris.csv": Source(dataset="iris.csv")},
                limits=StepLimits(),
            ),
        ),
        "datasets": {"iris.csv": Dataset(asset=asset(first, 2))},
        "outputs": {"results": Output(step="run", consumers=tuple(of.name for of in parties))},
        "network": Network(),
        "tee": TeeRequirements(kind=Tee.SIMULATED),
        "limits": JobLimits(),
    }
    return Manifest(**{**fields, **changes})  # type: ignore[arg-type]


def sign(raw: bytes, *parties: PartyKeys) -> AgreedManifest:
    """`raw`, with the consents of `parties`."""
    return agree(raw, *parties, expires_ms=LATER_MS)


def submission(*, key: str = "key-1", nonce: int = 0, **changes: object) -> SubmitRequest:
    """What alice submits."""
    alice = keys("alice")
    raw = make_manifest(alice, nonce=nonce, **changes).to_bytes()
    return SubmitRequest(agreed=sign(raw, alice), idempotency_key=key)
