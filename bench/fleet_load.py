"""Jobs for a fleet, as a task of `bench.children`: submit, appraise, release keys, see the end.

One client is the party of all jobs. It follows the history of all of them, as a releaser does that
runs without anybody, and appraises each enclave itself.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

from atoll.client.appraisal import Appraiser
from atoll.client.compose import agree
from atoll.client.connection import AtollClient, open_client
from atoll.client.profile import ProfileFile
from atoll.client.release import Releaser, Waiting
from atoll.computation.assets import AssetRef
from atoll.computation.manifest import JobLimits, Manifest, Party, TeeRequirements
from atoll.computation.network import Network
from atoll.computation.outputs import Output
from atoll.computation.steps import Step, StepLimits, WorkloadKind
from atoll.identity import PartyKeys
from atoll.sealing.release import ReleasedKey
from atoll.telemetry import names as spans
from atoll.telemetry.span import Recorder
from atoll.wire.messages import AgreedManifest, EventType, JobEvent, Tee
from bench.report import BenchError

Parameters = dict[str, Any]

PATIENCE_S: Final = 600.0
ASKING: Final = 16
"""Submissions that wait for their answer at a time."""
HOUR_MS: Final = 3_600_000
_STAGES: Final = {
    EventType.SCHEDULED: "leased",
    EventType.AWAITING_ASSETS: "offered",
    EventType.COMPLETED: "completed",
}


class _Run:
    """What is known of the jobs of one measurement."""

    def __init__(self, flying: int, *, gathers: bool) -> None:
        self.gathers = gathers
        self.free = asyncio.Semaphore(flying)
        self.asking = asyncio.Semaphore(ASKING)
        self.ended = asyncio.Semaphore(0)
        self.submitted: dict[str, float] = {}
        self.reached: dict[str, dict[str, float]] = {name: {} for name in _STAGES.values()}

    def delays(self, stage: str) -> list[float]:
        """Seconds from submitting to the event, by job."""
        reached = self.reached[stage]
        return [reached[job] - self.submitted[job] for job in self.submitted]


class FleetLoad:
    """One client with a party of its own."""

    def __init__(self, client: AtollClient, appraiser: Appraiser) -> None:
        self._client = client
        self._keys = PartyKeys.generate("bench", secrets.token_bytes)
        self._releaser = Releaser(client=client, keys=self._keys, appraiser=appraiser)
        self._secrets: dict[str, ReleasedKey] = {}

    def prepare(self) -> AgreedManifest:
        """A manifest of its own, with a program and arguments that are never opened."""
        now_ms = time.time_ns() // 1_000_000
        raw = Manifest(
            nonce=secrets.token_bytes(32),
            parties={
                "bench": Party(
                    signing_key=self._keys.public.signing_key, hpke_key=self._keys.public.hpke_key
                )
            },
            steps=(
                Step(
                    name="run",
                    kind=WorkloadKind.WASM,
                    algorithm=self._asset(),
                    invocation=self._asset(),
                    inputs={},
                    limits=StepLimits(),
                ),
            ),
            datasets={},
            outputs={"results": Output(step="run", consumers=("bench",))},
            network=Network(),
            tee=TeeRequirements(kind=Tee.SIMULATED),
            limits=JobLimits(),
        ).to_bytes()
        return agree(raw, self._keys, expires_ms=now_ms + 2 * HOUR_MS)

    def _asset(self) -> AssetRef:
        name = secrets.token_hex(16)
        key = ReleasedKey(content_key=secrets.token_bytes(32), salt=secrets.token_bytes(32))
        self._secrets[name] = key
        return AssetRef(provider="bench", asset_id=name, commitment=secrets.token_hex(32), size=100)

    async def run(
        self, agreed: list[AgreedManifest], *, flying: int, gathers: bool = False
    ) -> _Run:
        """Submit all, `flying` under way at a time, and wait for the end of each.

        Where enclaves gather, those that run are no longer counted: they wait for the others.
        """
        run = _Run(flying, gathers=gathers)
        if not agreed:
            return run
        newest = await self._client.newest_event()
        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
            following = group.create_task(self._follow(run, newest, group))
            submissions = []
            for one in agreed:
                await run.free.acquire()
                submissions.append(group.create_task(self._submit(run, one)))
            await asyncio.wait(submissions)
            for _ in agreed:
                await run.ended.acquire()
            following.cancel()
        return run

    async def _submit(self, run: _Run, agreed: AgreedManifest) -> None:
        async with run.asking:
            began = time.perf_counter()
            view = await self._client.submit(agreed, secrets.token_hex(16))
        run.submitted[view.job_id] = began

    async def _follow(self, run: _Run, after: int, group: asyncio.TaskGroup) -> None:
        async with aclosing(self._client.event_log(after=after)) as events:
            async for _, event in events:
                if event is not None:
                    self._take(run, event, group)

    def _take(self, run: _Run, event: JobEvent, group: asyncio.TaskGroup) -> None:
        stage = _STAGES.get(event.type)
        if stage is not None:
            run.reached[stage].setdefault(event.job_id, time.perf_counter())
        if event.type is EventType.AWAITING_ASSETS:
            group.create_task(self._release(event))
        elif event.state.terminal:
            if event.type is not EventType.COMPLETED:
                raise BenchError(f"job {event.job_id}: {event.type.value}: {event.reason}")
            run.ended.release()
        if (event.type is EventType.RUNNING) if run.gathers else event.state.terminal:
            run.free.release()

    async def _release(self, event: JobEvent) -> None:
        view = await self._client.get(event.job_id)
        waiting = Waiting.of(event, manifest_digest=bytes.fromhex(view.manifest_digest))
        prospect = await self._releaser.look(waiting)
        await self._releaser.release(prospect, self._secrets)


async def fleet_load(given: Parameters, go: Callable[[], Awaitable[None]]) -> Parameters:
    """Run `count` jobs; how long after its submission each was where."""
    profile = ProfileFile(Path(given["home"])).load()
    recorder = Recorder(spans.CLI, instance="bench", clock=time.time_ns, random=secrets.token_bytes)
    async with open_client(profile, recorder) as client:
        load = FleetLoad(client, Appraiser.from_profile(profile))
        warm = [load.prepare() for _ in range(given["warm_ups"])]
        agreed = [load.prepare() for _ in range(given["count"])]
        await load.run(warm, flying=given["flying"])
        await go()
        began = time.perf_counter()
        run = await load.run(agreed, flying=given["flying"], gathers=given["gathers"])
        seconds = time.perf_counter() - began
    return {"seconds": seconds, **{stage: run.delays(stage) for stage in _STAGES.values()}}
