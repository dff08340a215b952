"""A party that does by hand what `atoll.client.run` does in one go.

    draft = await drafted(client, keys, guest.wasm(), data={"in": b"..."})
    view = await submit(client, draft)
    events = await until(client, view.job_id, reached(JobState.AWAITING_ASSETS))
    await release(client, draft, events[-1])

Between any two lines a test can do harm.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from atoll.client.appraisal import Appraiser
from atoll.client.assets import PreparedAsset, upload_pieces
from atoll.client.compose import OUTPUT, Program, agree, one_person_manifest
from atoll.client.connection import AtollClient
from atoll.client.results import OpenedResult, fetch_result
from atoll.computation.manifest import JobLimits, Manifest
from atoll.computation.manifest import digest as manifest_digest
from atoll.computation.placement import Placement
from atoll.computation.steps import StepLimits
from atoll.evidence import document as documents
from atoll.evidence.findings import Appraisal
from atoll.identity import PartyKeys
from atoll.invocation import Invocation
from atoll.sealing.release import KeyRelease, make_release
from atoll.wire.messages import AgreedManifest, EventType, JobEvent, JobState, JobView, Tee

PIECE = 524_272
WITHIN_S = 60.0
ALGORITHM, INVOCATION = "run.algorithm", "run.invocation"
LATER_MS = 4_000_000_000_000
"""When consents of tests end."""


def party(name: str = "me") -> PartyKeys:
    """Fresh keys."""
    return PartyKeys.generate(name, secrets.token_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """Uploaded assets and the manifest that names them; nothing is submitted yet."""

    keys: PartyKeys
    assets: Mapping[str, PreparedAsset]
    manifest: Manifest

    @property
    def raw(self) -> bytes:
        return self.manifest.to_bytes()

    @property
    def digest(self) -> bytes:
        return manifest_digest(self.raw)

    @property
    def agreed(self) -> AgreedManifest:
        return agree(self.raw, self.keys, expires_ms=LATER_MS)

    def changed(self, **changes: Any) -> "Draft":
        """The same assets under another manifest."""
        return replace(self, manifest=replace(self.manifest, **changes))


async def drafted(
    client: AtollClient,
    keys: PartyKeys,
    module: bytes,
    *,
    data: Mapping[str, bytes] | None = None,
    args: tuple[str, ...] = (),
    env: Mapping[str, str] | None = None,
    limits: StepLimits | None = None,
    job_limits: JobLimits | None = None,
    placement: Placement | None = None,
    tee: Tee = Tee.SIMULATED,
) -> Draft:
    """Upload everything and compose the manifest."""
    contents = {
        ALGORITHM: module,
        INVOCATION: Invocation(args=args, env=dict(env or {})).to_bytes(),
        **(data or {}),
    }
    assets = {
        name: await upload_pieces(
            client,
            [content[at : at + PIECE] for at in range(0, len(content), PIECE)],
            provider=keys.name,
        )
        for name, content in contents.items()
    }
    manifest = one_person_manifest(
        keys,
        nonce=secrets.token_bytes(32),
        program=Program(algorithm=assets[ALGORITHM], invocation=assets[INVOCATION]),
        datasets={name: assets[name] for name in data or {}},
        limits=limits or StepLimits(),
        job_limits=job_limits or JobLimits(),
        tee=tee,
        placement=placement,
    )
    return Draft(keys=keys, assets=assets, manifest=manifest)


async def submit(client: AtollClient, draft: Draft) -> JobView:
    return await client.submit(draft.agreed, secrets.token_hex(16))


Condition = Callable[[JobEvent], bool]


def reached(*states: JobState, attempt: int = 0) -> Condition:
    """The job came to one of `states`, in this attempt or a later one."""
    return lambda event: event.state in states and event.attempt >= attempt


def ended(event: JobEvent) -> bool:
    """The job is over."""
    return event.state.terminal


def told(kind: EventType) -> Condition:
    """An event of this type."""
    return lambda event: event.type is kind


async def until(
    client: AtollClient, job_id: str, condition: Condition, *, within_s: float = 0.0
) -> list[JobEvent]:
    """The job's events up to the first that meets `condition`; they have no gap."""
    seen: list[JobEvent] = []
    try:
        async with (
            asyncio.timeout(within_s or WITHIN_S),
            aclosing(client.events(job_id, follow=True)) as events,
        ):
            async for event in events:
                seen.append(event)
                assert event.seq == len(seen)
                if condition(event):
                    return seen
                if event.state.terminal:
                    break
    except TimeoutError:
        pass
    pytest.fail(f"never happened; the job's history: {[describe(event) for event in seen]}")


def describe(event: JobEvent) -> str:
    """For failures of tests."""
    code = f" {event.reason.code}: {event.reason.message}" if event.reason else ""
    return f"{event.seq} {event.type.value} (attempt {event.attempt}){code}"


async def releases_for(
    client: AtollClient, draft: Draft, event: JobEvent, **changes: Any
) -> dict[str, KeyRelease]:
    """A release of each asset to the enclave of `event`; `changes` to what is bound."""
    assert event.enclave_id is not None
    record = await client.evidence(event.enclave_id)
    fields: dict[str, Any] = {
        "job_id": event.job_id,
        "attempt": event.attempt,
        "manifest_digest": draft.digest,
        "evidence_digest": hashlib.sha256(record.evidence).digest(),
        "enclave_hpke_key": documents.parse(record.evidence).hpke_key,
    }
    return {
        name: make_release(
            changes.get("provider", draft.keys),
            **{
                **fields,
                "asset_name": name,
                "asset_id": asset.secrets.asset_id,
                "content_key": asset.secrets.content_key,
                "salt": asset.secrets.salt,
                **{key: value for key, value in changes.items() if key != "provider"},
            },
        )
        for name, asset in draft.assets.items()
    }


async def release(
    client: AtollClient, draft: Draft, event: JobEvent, *, names: Collection[str] | None = None
) -> None:
    """Release the keys of `names`, or of all assets."""
    assert event.enclave_id is not None
    for name, one in (await releases_for(client, draft, event)).items():
        if names is None or name in names:
            await client.release(event.enclave_id, one)


async def see_through(client: AtollClient, draft: Draft) -> list[JobEvent]:
    """Submit, release when asked, and return the whole history."""
    view = await submit(client, draft)
    return await release_to_the_end(client, draft, view.job_id)


async def release_to_the_end(client: AtollClient, draft: Draft, job_id: str) -> list[JobEvent]:
    """Release to every enclave that asks, until the job is over; its whole history."""
    events = await until(client, job_id, reached(JobState.AWAITING_ASSETS))
    while True:
        attempt = events[-1].attempt
        await release(client, draft, events[-1])
        events = await until(client, job_id, _over_or_asks_again(attempt))
        if events[-1].state.terminal:
            return events


def _over_or_asks_again(attempt: int) -> Condition:
    def condition(event: JobEvent) -> bool:
        again = event.type is EventType.AWAITING_ASSETS and event.attempt > attempt
        return event.state.terminal or again

    return condition


async def opened(
    client: AtollClient, draft: Draft, job_id: str, appraiser: Appraiser, into: Path
) -> OpenedResult:
    """The job's result, opened and verified."""
    return await fetch_result(
        client,
        await client.get(job_id),
        manifest_digest=draft.digest,
        output=OUTPUT,
        keys=draft.keys,
        appraiser=appraiser,
        into=into,
    )


class Watcher:
    """A `Progress` for `Runner` that a test can wait on."""

    def __init__(self) -> None:
        self.events: list[JobEvent] = []
        self.appraisals: list[Appraisal] = []
        self.job_id = ""
        self._told = asyncio.Event()

    def step(self, text: str) -> None:
        assert text

    def submitted(self, view: JobView) -> None:
        self.job_id = view.job_id
        self._told.set()

    def event(self, event: JobEvent) -> None:
        self.events.append(event)
        self._told.set()

    def appraised(self, appraisal: Appraisal, enclave_id: str) -> None:
        assert enclave_id
        self.appraisals.append(appraisal)

    async def saw(self, condition: Condition) -> JobEvent:
        """The first event that meets `condition`."""
        try:
            async with asyncio.timeout(WITHIN_S):
                while True:
                    for event in self.events:
                        if condition(event):
                            return event
                    self._told.clear()
                    await self._told.wait()
        except TimeoutError:
            pytest.fail(f"never happened: {[describe(event) for event in self.events]}")
