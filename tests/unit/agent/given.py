"""A task with sealed assets, and a bus that is a few dictionaries."""

import hashlib
import secrets
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from atoll.client.assets import PreparedAsset
from atoll.client.compose import Program, agree, one_person_manifest
from atoll.computation.assets import AssetRef
from atoll.computation.manifest import JobLimits, Manifest, digest
from atoll.computation.steps import StepLimits
from atoll.errors import AtollError, NotFoundError, UnreachableError
from atoll.framing import commitment
from atoll.identity import PartyKeys
from atoll.invocation import Invocation
from atoll.sealing.asset import seal_chunks
from atoll.sealing.release import KeyRelease, make_release
from atoll.sealing.stream import AssetSecrets
from atoll.telemetry.span import Recorder
from atoll.wire import schema
from atoll.wire.messages import AgreedManifest, Reason, ReportKind, Tee
from atoll_agent.assignment import Task
from atoll_agent.bus_ports import EnclaveBus
from atoll_agent.enclave import EnclaveKeys, Evidence

OWNER = PartyKeys.generate("me", secrets.token_bytes)
KEYS = EnclaveKeys.generate(secrets.token_bytes)
EVIDENCE = Evidence(raw=b"evidence of this enclave")
JOB = "job-1"
ALGORITHM, INVOCATION = "run.algorithm", "run.invocation"
LIMITS = StepLimits(output_bytes=1 << 20, wall_s=20)
NOW_MS, LATER_MS = 1_800_000_000_000, 4_000_000_000_000
"""Before and at the end of consents."""


def tracer() -> Recorder:
    return Recorder("atoll-agent", instance="e1", clock=lambda: 1, random=secrets.token_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """An asset as its provider has it."""

    ref: AssetRef
    secrets: AssetSecrets
    chunks: tuple[bytes, ...]

    @property
    def prepared(self) -> PreparedAsset:
        return PreparedAsset(ref=self.ref, secrets=self.secrets, content_sha256="")


def seal(content: bytes, **changes: Any) -> Sealed:
    """Seal `content`; `changes` make the manifest say something else about it."""
    fresh = AssetSecrets.generate(secrets.token_bytes)
    content_digest = hashlib.sha256(content).digest()
    fields: dict[str, Any] = {
        "provider": OWNER.name,
        "asset_id": fresh.asset_id.hex(),
        "commitment": commitment(fresh.salt, content_digest).hex(),
        "size": len(content),
    }
    chunks = seal_chunks(fresh.content_key, [content], asset_id=fresh.asset_id, prefix=fresh.prefix)
    return Sealed(ref=AssetRef(**{**fields, **changes}), secrets=fresh, chunks=tuple(chunks))


def assets(module: bytes = b"\0asm", **data: bytes) -> dict[str, Sealed]:
    """What a job is made of."""
    invocation = Invocation(args=("one",), env={}).to_bytes()
    contents = {ALGORITHM: module, INVOCATION: invocation, **data}
    return {name: seal(content) for name, content in contents.items()}


def manifest(given: dict[str, Sealed], limits: StepLimits | None = None) -> Manifest:
    return one_person_manifest(
        OWNER,
        nonce=bytes(32),
        program=Program(algorithm=given[ALGORITHM].prepared, invocation=given[INVOCATION].prepared),
        datasets={
            name: asset.prepared
            for name, asset in given.items()
            if name not in {ALGORITHM, INVOCATION}
        },
        limits=limits or LIMITS,
        job_limits=JobLimits(),
        tee=Tee.SIMULATED,
    )


def agreed(given: dict[str, Sealed], *, expires_ms: int | None = None) -> AgreedManifest:
    return agree(manifest(given).to_bytes(), OWNER, expires_ms=expires_ms or LATER_MS)


def task(given: dict[str, Sealed], limits: StepLimits | None = None) -> Task:
    """The task, as if it had been accepted."""
    wanted = manifest(given, limits)
    return Task(
        job_id=JOB,
        attempt=1,
        manifest=wanted,
        manifest_digest=digest(wanted.to_bytes()),
        evidence_digest=EVIDENCE.digest,
    )


def release(of: Task, name: str, given: dict[str, Sealed], **changes: Any) -> KeyRelease:
    """The owner's release for one asset; `changes` bind it to something else."""
    asset = given[name].secrets
    fields: dict[str, Any] = {
        "job_id": of.job_id,
        "attempt": of.attempt,
        "manifest_digest": of.manifest_digest,
        "asset_name": name,
        "asset_id": asset.asset_id,
        "evidence_digest": of.evidence_digest,
        "enclave_hpke_key": KEYS.hpke.public_bytes,
        "content_key": asset.content_key,
        "salt": asset.salt,
    }
    return make_release(OWNER, **{**fields, **changes})


@dataclass(slots=True, kw_only=True)
class FakeBus:
    """What an enclave says is kept; what it hears is given."""

    releases_: list[bytes] = field(default_factory=list)
    assets_: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    failing: AtollError | None = None
    """Raised in the middle of any asset."""
    reports: list[tuple[ReportKind, Reason | None]] = field(default_factory=list)
    uploaded: dict[str, bytes] = field(default_factory=dict)
    stored: list[tuple[dict[str, bytes], bytes]] = field(default_factory=list)
    open_streams: int = 0

    @property
    def port(self) -> EnclaveBus:
        return cast("EnclaveBus", self)

    @classmethod
    def of(cls, job: Task, given: dict[str, Sealed]) -> "FakeBus":
        """All assets are stored and all keys released."""
        return cls(
            releases_=[schema.encode(release(job, name, given)) for name in given],
            assets_={asset.ref.asset_id: asset.chunks for asset in given.values()},
        )

    async def releases(self) -> AsyncGenerator[bytes, None]:
        for raw in self.releases_:
            yield raw

    async def asset(self, asset_id: str) -> AsyncGenerator[bytes, None]:
        if asset_id not in self.assets_:
            raise NotFoundError("no object", code="bus.not_found")
        return self._chunks(self.assets_[asset_id])

    async def _chunks(self, chunks: tuple[bytes, ...]) -> AsyncGenerator[bytes, None]:
        self.open_streams += 1
        try:
            for chunk in chunks:
                if self.failing is not None:
                    raise self.failing
                yield chunk
        finally:
            self.open_streams -= 1

    async def report(self, kind: ReportKind, *, reason: Reason | None = None, **_: Any) -> None:
        self.reports.append((kind, reason))

    async def upload_result(self, asset_id: str, chunks: Iterator[bytes]) -> Any:
        self.uploaded[asset_id] = b"".join(chunks)

        @dataclass
        class Info:
            size: int

        return Info(size=len(self.uploaded[asset_id]))

    async def store_outcome(self, results: dict[str, bytes], receipt: bytes) -> str:
        self.stored.append((results, receipt))
        return "0c" * 32


def bus_gone() -> UnreachableError:
    return UnreachableError("gone", code="bus.unreachable")
