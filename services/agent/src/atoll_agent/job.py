"""One job inside the enclave: await keys, open assets, run, seal, sign, report.

What went wrong with the input (a release, an asset, a manifest) ends the job and is
reported by its code. What went wrong around it (the bus, the host's memory) raises: the
process ends with a failure and the job goes to another enclave.
"""

import asyncio
import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO

from atoll.computation.assets import AssetRef
from atoll.computation.placement import file_bytes
from atoll.computation.steps import INVOCATION
from atoll.errors import (
    AtollError,
    ConfigError,
    ConflictError,
    InputError,
    NotFoundError,
    RefusedError,
    UnreachableError,
)
from atoll.invocation import MAX_INVOCATION, Invocation
from atoll.sealing.release import ReleasedKey
from atoll.telemetry import names as spans
from atoll.telemetry.tracing import Tracer
from atoll.wire.messages import Reason, ReportKind
from atoll_agent.assets import open_asset
from atoll_agent.assignment import Task
from atoll_agent.bus_ports import EnclaveBus
from atoll_agent.egress.way import Way
from atoll_agent.enclave import EnclaveKeys, Evidence
from atoll_agent.outcome import Finished, OutcomeWriter
from atoll_agent.pipeline import Pipeline, require_kinds
from atoll_agent.releases import ReleaseCollector
from atoll_agent.sandbox.kinds import DOCKER_HOST
from atoll_agent.sandbox.threads import to_its_end
from atoll_agent.sandbox.workspace import Workspace, open_workspace
from atoll_agent.staging import Staging
from atoll_agent.telling import tell


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRunner:
    """Sees one task through; `run` returns when its end is durable on the bus."""

    bus: EnclaveBus
    keys: EnclaveKeys
    evidence: Evidence
    tracer: Tracer
    enclave_id: str
    random: Callable[[int], bytes]
    docker_host: str = DOCKER_HOST
    way: Way
    """Out of the enclave, for a manifest with destinations."""

    async def run(self, task: Task) -> None:
        """Run the task and report its end.

        Raises:
            UnreachableError: the bus did not take what had to be said.
            ConflictError: `bus.conflict`: another enclave has left an outcome for this attempt.
            ConfigError: this host cannot: `agent.no_memory_storage`, `agent.no_space`,
                `agent.workspace_exists`, `agent.storage`. Another one may.
        """
        try:
            finished = await self._finish(task)
        except (UnreachableError, ConfigError):
            raise
        except AtollError as error:
            await self.bus.report(ReportKind.FINISHED, reason=tell(error))
            return
        stored = await self.bus.store_outcome(finished.results, finished.receipt)
        await self.bus.report(ReportKind.FINISHED, reason=finished.reason, outcome_digest=stored)

    async def _finish(self, task: Task) -> Finished:
        manifest = task.manifest
        for step in manifest.steps:
            if step.invocation.size > MAX_INVOCATION:
                raise RefusedError(
                    f"the invocation is over {MAX_INVOCATION} bytes", code="invocation.too_large"
                )
        # First of all: no key should be released to an enclave that has no wall, no way out or no
        # room for the job.
        kinds = frozenset(step.kind for step in manifest.steps)
        await asyncio.to_thread(require_kinds, kinds, docker_host=self.docker_host)
        if places := manifest.network.places:
            await self.way.require(places)
        with host_storage(self.enclave_id, need_bytes=file_bytes(manifest)) as workspace:
            staging = Staging(root=workspace.root, manifest=manifest)
            staging.prepare()
            released = await self._await_releases(task)
            return await self._execute(task, released, staging)

    async def _await_releases(self, task: Task) -> dict[str, ReleasedKey]:
        collector = ReleaseCollector(task, self.keys.hpke)
        wait_s = task.manifest.limits.release_wait_ms / 1000
        with self.tracer.span(spans.AWAIT_RELEASES):
            try:
                async with asyncio.timeout(wait_s), aclosing(self.bus.releases()) as releases:
                    async for raw in releases:
                        await self._take(collector, raw)
                        if not collector.missing:
                            return collector.keys
            except TimeoutError as error:
                raise RefusedError(
                    f"no key was released in time for {', '.join(sorted(collector.missing))}",
                    code="release.timeout",
                ) from error
        raise UnreachableError("the stream of releases ended")

    async def _take(self, collector: ReleaseCollector, raw: bytes) -> None:
        refusal = collector.take(raw)
        if refusal is not None:
            await self.bus.report(
                ReportKind.RELEASE_REFUSED,
                tag=f".{collector.refused}",
                reason=Reason(code=refusal.code, message=refusal.message[:1024]),
                asset=refusal.asset,
            )

    async def _execute(
        self, task: Task, released: dict[str, ReleasedKey], staging: Staging
    ) -> Finished:
        invocations = await self._open_assets(task, released, staging)
        released.clear()
        await to_its_end(staging.unpack)
        await self.bus.report(ReportKind.STARTED)
        started = datetime.now(UTC)
        pipeline = Pipeline(
            staging=staging,
            invocations=invocations,
            tracer=self.tracer,
            docker_host=self.docker_host,
            way=self.way,
        )
        runs = await pipeline.run()
        writer = OutcomeWriter(
            task=task,
            keys=self.keys,
            evidence=self.evidence,
            bus=self.bus,
            tracer=self.tracer,
            random=self.random,
        )
        # A clock that was set back meanwhile must not cost the result.
        finished = max(started, datetime.now(UTC))
        return await writer.write(staging, runs, started, finished)

    async def _open_assets(
        self, task: Task, released: dict[str, ReleasedKey], staging: Staging
    ) -> dict[str, Invocation]:
        """Put every plaintext in its place; arguments stay off files. By step."""
        invocations: dict[str, Invocation] = {}
        for name, asset in task.manifest.assets().items():
            with self.tracer.span(spans.OPEN_ASSET), ExitStack() as stack:
                step, _, part = name.rpartition(".")
                if part == INVOCATION and name not in task.manifest.datasets:
                    content = io.BytesIO()
                    await self._open_asset(name, asset, released[name], content)
                    invocations[step] = Invocation.from_bytes(content.getvalue())
                else:
                    file = stack.enter_context(staging.create(name))
                    await self._open_asset(name, asset, released[name], file)
        return invocations

    async def _open_asset(
        self, name: str, asset: AssetRef, key: ReleasedKey, into: BinaryIO
    ) -> None:
        try:
            sealed = await self.bus.asset(asset.asset_id)
        except NotFoundError as error:
            raise NotFoundError(f"asset {name!r} is not stored", code="asset.not_found") from error
        async with aclosing(sealed):
            await open_asset(name, asset, key, sealed, into)


@contextmanager
def host_storage(enclave_id: str, *, need_bytes: int) -> Iterator[Workspace]:
    """The workspace; whatever keeps us from having it is the host's matter, not the job's.

    Raises:
        ConfigError: as `open_workspace`, and `agent.storage` when memory gives out later.
    """
    try:
        with ExitStack() as stack:
            try:
                workspace = stack.enter_context(open_workspace(enclave_id, need_bytes=need_bytes))
            except (RefusedError, ConflictError, InputError) as error:
                raise ConfigError(error.message, code=error.code) from error
            yield workspace
    except OSError as error:
        raise ConfigError(
            f"storage in memory: {error.strerror or 'failed'}", code="agent.storage"
        ) from error
