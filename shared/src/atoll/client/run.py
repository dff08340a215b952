"""The one-person path: seal, submit, appraise, release, wait, open. Every step is told."""

import asyncio
import hashlib
import secrets
from collections.abc import Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from atoll import manifest as manifests
from atoll.client.appraisal import Appraiser
from atoll.client.assets import PreparedAsset, upload_file, upload_pieces
from atoll.client.compose import one_person_manifest, sign
from atoll.client.connection import AtollClient
from atoll.client.results import OpenedResult, fetch_result
from atoll.errors import AtollError, InputError, NotFoundError, RefusedError, UnreachableError
from atoll.evidence import document as documents
from atoll.evidence.findings import Appraisal, Verdict
from atoll.identity import PartyKeys
from atoll.invocation import Invocation
from atoll.manifest import ManifestLimits
from atoll.sealing.release import make_release
from atoll.telemetry import names as spans
from atoll.wire import names
from atoll.wire.messages import (
    EventType,
    JobEvent,
    JobState,
    JobView,
    SignedManifest,
    Tee,
)

WASM_MAGIC = b"\0asm"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """What one person wants run."""

    module: Path
    data: Mapping[str, Path]
    args: tuple[str, ...] = field(default=(), repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    limits: ManifestLimits = field(default_factory=ManifestLimits)
    tee: Tee
    previous: tuple[str, ...] = ()
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


class EvidenceRefusedError(RefusedError):
    """We do not release keys on this evidence; `appraisal` says which check failed."""

    default_code = "evidence.refused"

    def __init__(self, appraisal: Appraisal) -> None:
        super().__init__(
            f"the enclave's evidence fails {appraisal.reason}; no key was released",
            hint="`atoll attest show` lists every check with expected and actual value",
        )
        self.appraisal = appraisal


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    assets: Mapping[str, PreparedAsset]
    manifest: bytes = field(repr=False)

    @property
    def digest(self) -> bytes:
        return manifests.digest(self.manifest)


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
                view = await self._submit(prepared)
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
        tracer, owner = self.client.tracer, self.keys.name
        # Before gigabytes go out: it may be refused.
        invocation = Invocation(args=spec.args, env=dict(spec.env)).to_bytes()
        assets: dict[str, PreparedAsset] = {}
        sources = {"algorithm": spec.module, **spec.data}
        for name, path in sources.items():
            self.progress.step(f"sealing and uploading {name} ({path.name})")
            with tracer.span(spans.UPLOAD_ASSET):
                assets[name] = await upload_file(self.client, path, provider=owner)
        with tracer.span(spans.UPLOAD_ASSET):
            assets["invocation"] = await upload_pieces(self.client, [invocation], provider=owner)
        manifest = one_person_manifest(
            self.keys,
            nonce=secrets.token_bytes(32),
            algorithm=assets["algorithm"],
            datasets={name: assets[name] for name in spec.data},
            invocation=assets["invocation"],
            limits=spec.limits,
            tee=spec.tee,
            previous=spec.previous,
        )
        return _Prepared(assets=assets, manifest=manifest.to_bytes())

    async def _submit(self, prepared: _Prepared) -> JobView:
        signed, key = sign(prepared.manifest, self.keys), secrets.token_hex(16)
        try:
            return await self.client.submit(signed, key)
        except asyncio.CancelledError:
            # It may have arrived. Asking again with the same key says which job that is.
            await asyncio.shield(self._withdraw(signed, key))
            raise

    async def _withdraw(self, signed: SignedManifest, key: str) -> None:
        with suppress(AtollError):
            view = await self.client.submit(signed, key)
            await self.client.cancel(view.job_id)

    async def _follow(self, job_id: str, prepared: _Prepared) -> Appraisal | None:
        """Follow the job to its end, releasing keys to each enclave that deserves them."""
        appraisal: Appraisal | None = None
        with self.client.tracer.span(spans.AWAIT_RESULT):
            async with aclosing(self.client.events(job_id, follow=True)) as events:
                async for event in events:
                    self.progress.event(event)
                    if event.type is EventType.AWAITING_ASSETS:
                        appraisal = await self._release(event, prepared)
                    if event.state.terminal:
                        return appraisal
        raise UnreachableError(f"the events of job {job_id} ended before the job did")

    async def _release(self, event: JobEvent, prepared: _Prepared) -> Appraisal:
        """Appraise one enclave and, if it passes, release every key to it."""
        if event.enclave_id is None:
            raise NotFoundError("the job names no enclave", code="evidence.not_found")
        tracer = self.client.tracer
        record = await self.client.evidence(event.enclave_id)
        with tracer.span(spans.APPRAISE_EVIDENCE):
            appraisal = self.appraiser.appraise(
                record.evidence, manifest_digest=prepared.digest, now=datetime.now(UTC)
            )
        self.progress.appraised(appraisal, event.enclave_id)
        if appraisal.verdict is not Verdict.PASS:
            raise EvidenceRefusedError(appraisal)
        document = documents.parse(record.evidence)
        with tracer.span(spans.RELEASE_KEYS):
            for name, asset in prepared.assets.items():
                release = make_release(
                    self.keys,
                    job_id=event.job_id,
                    attempt=event.attempt,
                    manifest_digest=prepared.digest,
                    asset_name=name,
                    asset_id=asset.secrets.asset_id,
                    evidence_digest=hashlib.sha256(record.evidence).digest(),
                    enclave_hpke_key=document.hpke_key,
                    content_key=asset.secrets.content_key,
                    salt=asset.secrets.salt,
                )
                await self.client.release(event.enclave_id, release)
        self.progress.step(f"released {len(prepared.assets)} keys to enclave {event.enclave_id}")
        return appraisal

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
        InputError: `file.unreadable`, `name.invalid`, `workload.not_wasm`.
    """
    for name, path in (("algorithm", spec.module), *spec.data.items()):
        names.require_name(name, "dataset")
        try:
            # A pipe would lose what is looked at here, or make us wait for ever.
            if path.exists() and not path.is_file():
                raise InputError(f"{path} is not a regular file", code="file.unreadable")
            with path.open("rb") as file:
                head = file.read(len(WASM_MAGIC))
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}", code="file.unreadable") from error
        if path is spec.module and head != WASM_MAGIC:
            raise InputError(
                f"{path} is not a WebAssembly module",
                code="workload.not_wasm",
                hint="compile for wasm32-wasi; a binary module begins with the bytes 00 61 73 6d",
            )
    for name in spec.data:
        if name in manifests.RESERVED_NAMES:
            raise InputError(f"{name!r} cannot name a dataset", code="name.invalid")
