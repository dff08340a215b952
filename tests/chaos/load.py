"""Owners of jobs: each submits one, follows it, appraises and releases for every attempt, and
opens the result. They go on whatever dies meanwhile, as a sound client does.
"""

import asyncio
import secrets
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from atoll.client.appraisal import Appraiser
from atoll.client.compose import OUTPUT, Program, agree, one_person_manifest
from atoll.client.connection import AtollClient
from atoll.client.release import Releaser, Waiting
from atoll.client.results import fetch_result
from atoll.computation.manifest import JobLimits, digest
from atoll.computation.steps import StepLimits
from atoll.errors import AtollError, NotFoundError, RefusedError, UnreachableError
from atoll.identity import PartyKeys
from atoll.sealing.release import ReleasedKey
from atoll.wire.messages import AgreedManifest, EventType, JobEvent, JobState, JobView, Tee
from chaos.facts import Accepted
from chaos.plan import NAPS_MS, JobPlan, Plan
from e2e.guests import sleeping
from support import wat
from support.client import ALGORITHM, INVOCATION, LATER_MS, Draft, drafted

DATASET: Final = b"copied by every enclave that gets this far"
LIMITS: Final = JobLimits(release_wait_ms=900_000, deadline_ms=7_200_000)
"""So long that no job ends for them."""
PAUSE_S: Final = 0.1
STALE: Final = "release.stale_attempt"
"""The enclave was given up between its asking and our answer."""
STALL_S: Final = 240.0
"""No job needs longer than this for its end, whatever dies."""
CONSENT_MS: Final = LATER_MS


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far the load has come."""

    ended: int = 0
    over: bool = False
    stalled: bool = False
    _told: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def count(self) -> None:
        """One more job ended."""
        async with self._told:
            self.ended += 1
            self._told.notify_all()

    async def finish(self, *, stalled: bool = False) -> None:
        """No more will."""
        async with self._told:
            self.over, self.stalled = True, stalled
            self._told.notify_all()

    async def reached(self, ended: int) -> None:
        """Return when so many have ended, or no more will."""
        async with self._told:
            await self._told.wait_for(lambda: self.over or self.ended >= ended)


class Load:
    """All owners. Programs and data are sealed and uploaded once; every job is a computation of
    its own, under a fresh manifest."""

    def __init__(
        self, client: AtollClient, keys: PartyKeys, appraiser: Appraiser, *, into: Path
    ) -> None:
        self._client = client
        self._keys = keys
        self._appraiser = appraiser
        self._into = into
        self._drafts: dict[int, Draft] = {}
        self.progress = Progress()
        self._accepted: dict[str, Accepted] = {}

    @property
    def accepted(self) -> list[Accepted]:
        """The jobs that a gateway has accepted, and how far their owners came."""
        return list(self._accepted.values())

    async def prepare(self) -> None:
        """Upload what the jobs are made of."""
        data = {"in": DATASET}
        self._drafts[0] = await drafted(self._client, self._keys, wat.echo(), data=data)
        for nap_ms in NAPS_MS:
            module = sleeping(nap_ms)
            self._drafts[nap_ms] = await drafted(self._client, self._keys, module, data=data)

    async def run(self, plan: Plan, *, at_once: int) -> None:
        """Every job of the plan, `at_once` of them under way at any time.

        When none has ended for `STALL_S`, those that are under way are left to the judge.
        """
        async with asyncio.TaskGroup() as group:
            owning = group.create_task(self._own(plan, at_once))
            group.create_task(self._watch(owning))

    async def _watch(self, owning: asyncio.Task[None]) -> None:
        while not self.progress.over:
            before = self.progress.ended
            try:
                async with asyncio.timeout(STALL_S):
                    await self.progress.reached(before + 1)
            except TimeoutError:
                owning.cancel()
                await self.progress.finish(stalled=True)

    async def _own(self, plan: Plan, at_once: int) -> None:
        waiting = iter(plan.jobs)

        async def owner() -> None:
            for job in waiting:
                await self._see_through(job)
                await self.progress.count()

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(owner())
        await self.progress.finish()

    async def _see_through(self, job: JobPlan) -> None:
        draft = self._drafts[job.nap_ms]
        agreed = self._agreed(draft)
        key = secrets.token_hex(16)
        view, submissions = await self._submit(agreed, key)
        fault = ""
        if job.twice:
            again, more = await self._submit(agreed, key)
            submissions += more
            if again.job_id != view.job_id:
                fault = f"submitted again it became {again.job_id}"
        # From here on it must not be lost, also if its owner never hears of it again.
        accepted = Accepted(job_id=view.job_id, submissions=submissions, fault=fault)
        self._accepted[view.job_id] = accepted
        name = digest(agreed.manifest)
        try:
            last = await self._follow(view.job_id, name, draft)
            opened = last.state is JobState.COMPLETED and await self._open(view.job_id, name, job)
        except (AtollError, AssertionError) as error:
            fault, opened = f"{type(error).__name__}: {error}", False
        self._accepted[view.job_id] = replace(accepted, opened=opened, fault=fault)

    def _agreed(self, draft: Draft) -> AgreedManifest:
        """A computation like that of the draft, and another one than all before."""
        own = (ALGORITHM, INVOCATION)
        manifest = one_person_manifest(
            self._keys,
            nonce=secrets.token_bytes(32),
            program=Program(algorithm=draft.assets[ALGORITHM], invocation=draft.assets[INVOCATION]),
            datasets={name: asset for name, asset in draft.assets.items() if name not in own},
            limits=StepLimits(),
            job_limits=LIMITS,
            tee=Tee.SIMULATED,
        )
        return agree(manifest.to_bytes(), self._keys, expires_ms=CONSENT_MS)

    async def _submit(self, agreed: AgreedManifest, key: str) -> tuple[JobView, int]:
        """Until a gateway's answer arrives; how often it took."""
        tries = 0
        while True:
            tries += 1
            try:
                return await self._client.submit(agreed, key), tries
            except UnreachableError:
                await asyncio.sleep(PAUSE_S)

    async def _follow(self, job_id: str, name: bytes, draft: Draft) -> JobEvent:
        """The job's last event; the keys are released to each enclave that asks."""
        async with aclosing(self._client.events(job_id, follow=True)) as events:
            async for event in events:
                if event.type is EventType.AWAITING_ASSETS:
                    await self._release(event, name, draft)
                if event.state.terminal:
                    return event
        raise UnreachableError("the events ended before the job did")

    async def _release(self, event: JobEvent, name: bytes, draft: Draft) -> None:
        """Appraise and release, until the bus took it or the ledger gave this attempt up."""
        releaser = Releaser(client=self._client, keys=self._keys, appraiser=self._appraiser)
        waiting = Waiting.of(event, manifest_digest=name)
        keys: dict[str, ReleasedKey] = {
            asset.ref.asset_id: ReleasedKey(
                content_key=asset.secrets.content_key, salt=asset.secrets.salt
            )
            for asset in draft.assets.values()
        }
        while True:
            try:
                prospect = await releaser.look(waiting)
                await releaser.release(prospect, keys)
            except UnreachableError:
                await asyncio.sleep(PAUSE_S)
            except RefusedError as error:
                if error.code != STALE:
                    raise
                return  # the next attempt asks again
            else:
                return
            view = await self._view(event.job_id)
            if view.attempt > event.attempt or view.state.terminal:
                return

    async def _view(self, job_id: str) -> JobView:
        while True:
            try:
                return await self._client.get(job_id)
            except UnreachableError:
                await asyncio.sleep(PAUSE_S)

    async def _open(self, job_id: str, name: bytes, job: JobPlan) -> bool:
        """Fetch, verify and unpack the result; whether it is what the guest was to give."""
        file, content = ("answer", b"done") if job.nap_ms else ("out", DATASET)
        while True:
            view = await self._view(job_id)
            try:
                result = await fetch_result(
                    self._client,
                    view,
                    manifest_digest=name,
                    output=OUTPUT,
                    keys=self._keys,
                    appraiser=self._appraiser,
                    into=self._into / job_id,
                )
            except UnreachableError:
                await asyncio.sleep(PAUSE_S)
                continue
            (found,) = (one for one in result.files if one.name == f"results/{file}")
            if found.path.read_bytes() != content:
                raise NotFoundError(f"{file} is not what the guest wrote")
            return True
