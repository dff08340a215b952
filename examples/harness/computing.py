"""One computation from its manifest to its end."""

import asyncio
import json
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from atoll.client.connection import AtollClient
from atoll.client.results import OpenedResult
from atoll.computation.assets import AssetRef
from atoll.computation.manifest import (
    Dataset,
    JobLimits,
    Manifest,
    TeeRequirements,
    digest,
)
from atoll.computation.network import Network
from atoll.computation.outputs import Output
from atoll.computation.steps import Step
from atoll.errors import AtollError
from atoll.wire.messages import AgreedManifest, JobState, JobView, Tee
from examples.harness.party import Party

RELEASE_WAIT_MS = 60_000
DEADLINE_MS = 300_000


class JobFailedError(Exception):
    """A job did not complete."""


class WithheldError(Exception):
    """Some parties' release policies say no; `fields` has which of their fields, by party."""

    def __init__(self, fields: Mapping[str, frozenset[str]]) -> None:
        said = (f"{name} ({', '.join(sorted(some))})" for name, some in sorted(fields.items()))
        super().__init__(f"no keys of {', '.join(said)}")
        self.fields = dict(fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An opened result, read."""

    opened: OpenedResult = field(repr=False)

    def text(self, name: str) -> str:
        """A result file, by its path below `/results`."""
        wanted = f"results/{name}"
        (path,) = (file.path for file in self.opened.files if file.name == wanted)
        return path.read_text(encoding="utf-8")

    def json(self, name: str) -> Any:
        return json.loads(self.text(name))

    @property
    def names(self) -> list[str]:
        """Of the result files."""
        names = (file.name for file in self.opened.files)
        return sorted(name.removeprefix("results/") for name in names if name.startswith("results"))

    @property
    def receipt(self) -> str:
        """The digest of the receipt, which was checked with the result."""
        return self.opened.receipt.digest.hex()


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreed:
    """A manifest and those who are party to it."""

    parties: Mapping[str, Party]
    manifest: bytes

    @property
    def digest(self) -> bytes:
        return digest(self.manifest)

    async def run(self) -> JobView:
        """Everybody consents, one submits, everybody answers the enclave; to the end.

        Raises:
            WithheldError: a party's policy says no; the job is cancelled.
            JobFailedError: it did not complete.
        """
        consents = tuple(party.consent(self.manifest) for party in self.parties.values())
        client = next(iter(self.parties.values())).client
        agreed = AgreedManifest(manifest=self.manifest, consents=consents)
        view = await client.submit(agreed, secrets.token_hex(16))
        try:
            refusals = await self._answers(client, view.job_id)
        except BaseExceptionGroup as failures:
            with suppress(AtollError):
                await client.cancel(view.job_id)
            raise _first(failures) from failures
        if refusals:
            raise WithheldError(refusals)
        view = await client.get(view.job_id)
        if view.state is not JobState.COMPLETED:
            why = f"{view.reason.code}: {view.reason.message}" if view.reason else "no reason"
            raise JobFailedError(f"job {view.job_id} is {view.state.value}, {why}")
        return view

    async def _answers(self, client: AtollClient, job_id: str) -> dict[str, frozenset[str]]:
        """Let all parties answer until the job is over; who refuses, and for which fields.

        A job that somebody refuses would wait for keys in vain: once everybody has answered, it
        is cancelled.
        """
        refusals: dict[str, frozenset[str]] = {}
        waiting, hopeless = set(self.parties), asyncio.Event()

        def told(name: str, fields: frozenset[str]) -> None:
            waiting.discard(name)
            if fields:
                refusals[name] = fields
            if refusals and not waiting:
                hopeless.set()

        async def give_up() -> None:
            await hopeless.wait()
            await client.cancel(job_id)

        async with asyncio.TaskGroup() as around:
            giving_up = around.create_task(give_up())
            async with asyncio.TaskGroup() as group:
                for name, party in self.parties.items():
                    group.create_task(party.answer(job_id, self.digest, partial(told, name)))
            giving_up.cancel()
        return refusals

    async def open(self, view: JobView, consumer: str, output: str) -> Found:
        """An output, as this consumer gets it."""
        opened = await self.parties[consumer].open(view, self.digest, output)
        return Found(opened=opened)


def _first(failure: BaseException) -> BaseException:
    """What went wrong first, out of the groups that it is in."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure


def agree(
    *parties: Party,
    title: str,
    steps: tuple[Step, ...],
    datasets: Mapping[str, AssetRef],
    outputs: Mapping[str, Output],
    previous: tuple[str, ...] = (),
) -> Agreed:
    """A manifest for a simulated enclave without network, under the parties' appraisal policy.

    Raises:
        ManifestError: it is not a legal one.
    """
    manifest = Manifest(
        nonce=secrets.token_bytes(32),
        title=title,
        parties={party.name: party.public for party in parties},
        steps=steps,
        datasets={name: Dataset(asset=asset) for name, asset in datasets.items()},
        outputs=dict(outputs),
        network=Network(),
        tee=TeeRequirements(kind=Tee.SIMULATED, policy=parties[0].appraiser.policy.digest.hex()),
        limits=JobLimits(release_wait_ms=RELEASE_WAIT_MS, deadline_ms=DEADLINE_MS),
        previous=previous,
    )
    manifest.require_consistent()
    return Agreed(parties={party.name: party for party in parties}, manifest=manifest.to_bytes())
