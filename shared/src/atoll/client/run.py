"""The one-person path: seal, submit, appraise, release, wait, open. Every step is told."""

import asyncio
import secrets
import time
from collections.abc import Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from atoll.client.appraisal import Appraiser
from atoll.client.assets import PreparedAsset, upload_file, upload_pieces
from atoll.client.compose import OUTPUT, STEP, Program, agree, one_person_manifest
from atoll.client.connection import AtollClient
from atoll.client.release import EvidenceRefusedError, Releaser, StaleAttemptError, Waiting
from atoll.client.results import OpenedResult, fetch_result
from atoll.computation.manifest import JobLimits, digest
from atoll.computation.network import Network
from atoll.computation.placement import Placement
from atoll.computation.steps import StepLimits, WorkloadKind
from atoll.errors import AtollError, InputError, NotFoundError, UnreachableError
from atoll.evidence.findings import Appraisal
from atoll.identity import PartyKeys
from atoll.invocation import Invocation
from atoll.sealing.release import ReleasedKey
from atoll.telemetry import names as spans
from atoll.wire import names
from atoll.wire.messages import (
    AgreedManifest,
    EventType,
    JobEvent,
    JobState,
    JobView,
    Tee,
)

__all__ = ["EvidenceRefusedError", "RunOutcome", "RunSpec", "Runner", "require_runnable"]

CLOCK_SKEW_MS: Final = 300_000
"""How much longer than its job a consent counts, for clocks that differ."""
MAGIC: Final[Mapping[WorkloadKind, bytes]] = {
    WorkloadKind.WASM: b"\0asm",
    WorkloadKind.BINARY: b"\x7fELF",
}
"""How a file of a kind begins. What the other kinds look like is the enclave's to judge."""
_NOT: Final = {
    WorkloadKind.WASM: (
        "a WebAssembly module",
        "workload.not_wasm",
        "compile for wasm32-wasi; a binary module begins with the bytes 00 61 73 6d",
    ),
    WorkloadKind.BINARY: (
        "an ELF program",
        "workload.not_elf",
        "the kind binary runs programs for Linux; is --kind right?",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """What one person wants run."""

    module: Path
    """The program: a module, an ELF file, a script or wheel, an image archive."""
    kind: WorkloadKind = WorkloadKind.WASM
    entry: str = ""
    """python: `module` or `module:function`; empty for a script."""
    bundle: Path | None = None
    """python: an archive of wheels with their lock."""
    data: Mapping[str, Path]
    args: tuple[str, ...] = field(default=(), repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    limits: StepLimits = field(default_factory=StepLimits)
    job_limits: JobLimits = field(default_factory=JobLimits)
    tee: Tee
    previous: tuple[str, ...] = ()
    network: Network = field(default_factory=Network)
    """Where the workload may connect to."""
    placement: Placement | None = None
    """What the host must have; None: what follows from the limits."""
    out: Path | None = None
    """Where the result goes; None: below `default_out`, by job id."""
    default_out: Path


class Progress(Protocol):
    """Whoever wants to be told."""

    def step(self, text: str) -> None: ...
    def submitted(self, view: JobView) -> None: ...
    def event(self, event: JobEvent) -> None: ...
    def appraised(self, appraisal: Appraisal, enclave_id: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """How a run ended. `result` is None when the job has none."""

    view: JobView
    appraisal: Appraisal | None
    result: OpenedResult | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    assets: tuple[PreparedAsset, ...]
    manifest: bytes = field(repr=False)

    @property
    def digest(self) -> bytes:
        return digest(self.manifest)

    @property
    def secrets(self) -> dict[str, ReleasedKey]:
        """What is released, by asset id."""
        return {
            asset.ref.asset_id: ReleasedKey(
                content_key=asset.secrets.content_key, salt=asset.secrets.salt
            )
            for asset in self.assets
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    client: AtollClient
    keys: PartyKeys
    appraiser: Appraiser
    progress: Progress

    async def run(self, spec: RunSpec) -> RunOutcome:
        """Run a job and open its result.

        If we are interrupted or fail before its end, the job is cancelled: nobody is left
        to release its keys. It is not when the bus is away, which may come back.

        Raises:
            InputError: what cannot be a job.
            EvidenceRefusedError: the enclave is not one the policy accepts.
            AtollError: refused, unreachable, or a result that does not hold.
        """
        require_runnable(spec)
        tracer = self.client.tracer
        with tracer.span(spans.JOB_RUN):
            prepared = await self._prepare(spec)
            with tracer.span(spans.SUBMIT):
                self.progress.step("submitting the signed manifest")
                view = await self._submit(prepared, spec)
            try:
                self.progress.submitted(view)
                appraisal = await self._follow(view.job_id, prepared)
            except UnreachableError:
                raise
            except BaseException:
                await asyncio.shield(self._cancel(view.job_id))
                raise
            view = await self.client.get(view.job_id)
            return await self._finish(spec, view, prepared, appraisal)

    async def _prepare(self, spec: RunSpec) -> _Prepared:
        """Seal and upload everything, then make the manifest that names it."""
        owner = self.keys.name
        # Before gigabytes go out: it may be refused.
        invocation = Invocation(args=spec.args, env=dict(spec.env)).to_bytes()
        algorithm = await self._upload("the program", spec.module)
        bundle = await self._upload("its bundle", spec.bundle) if spec.bundle else None
        datasets = {name: await self._upload(name, path) for name, path in spec.data.items()}
        with self.client.tracer.span(spans.UPLOAD_ASSET):
            sealed = await upload_pieces(self.client, [invocation], provider=owner)
        program = Program(
            kind=spec.kind,
            algorithm=algorithm,
            entry=spec.entry,
            bundle=bundle,
            invocation=sealed,
        )
        manifest = one_person_manifest(
            self.keys,
            nonce=secrets.token_bytes(32),
            program=program,
            datasets=datasets,
            limits=spec.limits,
            job_limits=spec.job_limits,
            tee=spec.tee,
            previous=spec.previous,
            placement=spec.placement,
            network=spec.network,
        )
        assets = (algorithm, *([bundle] if bundle else []), *datasets.values(), sealed)
        return _Prepared(assets=assets, manifest=manifest.to_bytes())

    async def _upload(self, what: str, path: Path) -> PreparedAsset:
        self.progress.step(f"sealing and uploading {what} ({path.name})")
        with self.client.tracer.span(spans.UPLOAD_ASSET):
            return await upload_file(self.client, path, provider=self.keys.name)

    async def _submit(self, prepared: _Prepared, spec: RunSpec) -> JobView:
        now_ms = time.time_ns() // 1_000_000
        expires_ms = now_ms + spec.job_limits.deadline_ms + CLOCK_SKEW_MS
        agreed = agree(prepared.manifest, self.keys, expires_ms=expires_ms)
        key = secrets.token_hex(16)
        try:
            return await self.client.submit(agreed, key)
        except asyncio.CancelledError:
            # It may have arrived. Asking again with the same key says which job that is.
            await asyncio.shield(self._withdraw(agreed, key))
            raise

    async def _withdraw(self, agreed: AgreedManifest, key: str) -> None:
        with suppress(AtollError):
            view = await self.client.submit(agreed, key)
            await self.client.cancel(view.job_id)

    async def _follow(self, job_id: str, prepared: _Prepared) -> Appraisal | None:
        """Follow the job to its end, releasing keys to each enclave that deserves them."""
        appraisal: Appraisal | None = None
        with self.client.tracer.span(spans.AWAIT_RESULT):
            async with aclosing(self.client.events(job_id, follow=True)) as events:
                async for event in events:
                    self.progress.event(event)
                    if event.type is EventType.AWAITING_ASSETS:
                        appraisal = await self._release(event, prepared) or appraisal
                    if event.state.terminal:
                        return appraisal
        raise UnreachableError(f"the events of job {job_id} ended before the job did")

    async def _release(self, event: JobEvent, prepared: _Prepared) -> Appraisal | None:
        """Appraise one enclave and, if it passes, release every key to it.

        None: it was given up before we came to that.
        """
        releaser = Releaser(client=self.client, keys=self.keys, appraiser=self.appraiser)
        waiting = Waiting.of(event, manifest_digest=prepared.digest)
        prospect = await releaser.look(waiting)
        self.progress.appraised(prospect.appraisal, prospect.enclave_id)
        try:
            names = await releaser.release(prospect, prepared.secrets)
        except StaleAttemptError as error:
            self.progress.step(f"no key went out: {error.message}")
            return None
        self.progress.step(f"released {len(names)} keys to enclave {prospect.enclave_id}")
        return prospect.appraisal

    async def _finish(
        self, spec: RunSpec, view: JobView, prepared: _Prepared, appraisal: Appraisal | None
    ) -> RunOutcome:
        result = None
        if view.state in (JobState.COMPLETED, JobState.FAILED):
            into = spec.out or spec.default_out / view.job_id
            try:
                with self.client.tracer.span(spans.OPEN_RESULT):
                    result = await fetch_result(
                        self.client,
                        view,
                        manifest_digest=prepared.digest,
                        output=OUTPUT,
                        keys=self.keys,
                        appraiser=self.appraiser,
                        into=into,
                    )
            except NotFoundError:
                # A job that failed before it ran has no result; a completed one must.
                if view.state is JobState.COMPLETED:
                    raise
        return RunOutcome(view=view, appraisal=appraisal, result=result)

    async def _cancel(self, job_id: str) -> None:
        try:
            await self.client.cancel(job_id)
        except AtollError as error:
            self.progress.step(f"job {job_id} could not be cancelled: {error.message}")


def require_runnable(spec: RunSpec) -> None:
    """Refuse at once what an enclave would refuse later.

    Raises:
        InputError: `file.unreadable`, `name.invalid`, `workload.entry`, `workload.not_wasm`,
            `workload.not_elf`.
        RefusedError: `network.unsupported`.
    """
    spec.network.require_enforceable([spec.kind])
    if spec.kind is not WorkloadKind.PYTHON and (spec.entry or spec.bundle):
        raise InputError(
            f"an entry or a bundle is for the kind python, not {spec.kind.value}",
            code="workload.entry",
        )
    magic = MAGIC.get(spec.kind, b"")
    sources = [spec.module, *([spec.bundle] if spec.bundle else []), *spec.data.values()]
    for path in sources:
        try:
            # A pipe would lose what is looked at here, or make us wait for ever.
            if path.exists() and not path.is_file():
                raise InputError(f"{path} is not a regular file", code="file.unreadable")
            with path.open("rb") as file:
                head = file.read(len(magic))
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}", code="file.unreadable") from error
        if path is spec.module and head != magic:
            what, code, hint = _NOT[spec.kind]
            raise InputError(f"{path} is not {what}", code=code, hint=hint)
    for name in spec.data:
        names.require_name(name, "dataset")
        if name.rpartition(".")[0] == STEP:
            raise InputError(f"{name!r} cannot name a dataset", code="name.invalid")
