"""Somebody with keys: provides assets, consents, releases keys by its own rules, opens results.

Each party has its own keys, its own connection and its own judgement of enclaves. That they are
tasks of one process here is all that an example simplifies.
"""

import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Self

from atoll.client.appraisal import Appraiser
from atoll.client.assets import PreparedAsset, upload_file, upload_pieces
from atoll.client.connection import AtollClient, open_client
from atoll.client.profile import Profile
from atoll.client.release import Prospect, Releaser, StaleAttemptError, Waiting
from atoll.client.results import OpenedResult, fetch_result
from atoll.computation.assets import AssetRef
from atoll.computation.consent import give_consent
from atoll.computation.manifest import Party as PublicParty
from atoll.computation.manifest import digest
from atoll.computation.releasing import ReleasePolicy
from atoll.identity import PartyKeys
from atoll.invocation import Invocation
from atoll.sealing.release import ReleasedKey
from atoll.telemetry import names as spans
from atoll.telemetry.span import Recorder
from atoll.wire.messages import Consent, EventType, JobView

CONSENT_MS: Final = 3_600_000


Told = Callable[[frozenset[str]], None]
"""Hears what a party does about a job: the fields of its policy that say no; none: it released."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """One key holder."""

    keys: PartyKeys
    client: AtollClient
    appraiser: Appraiser
    folder: Path
    """Where its opened results go."""
    policy: ReleasePolicy | None = None
    """What it releases for; None: for every computation that it consented to."""
    _secrets: dict[str, ReleasedKey] = field(default_factory=dict, repr=False)
    _uses: dict[tuple[int, str], set[str]] = field(default_factory=dict)
    """The jobs that got a key, by the rule's number and the asset's id."""

    @property
    def name(self) -> str:
        return self.keys.name

    @property
    def public(self) -> PublicParty:
        """As a manifest names it."""
        public = self.keys.public
        return PublicParty(signing_key=public.signing_key, hpke_key=public.hpke_key)

    def answering_by(self, policy: ReleasePolicy) -> Self:
        """The same party, from now on with a policy."""
        return replace(self, policy=policy)

    async def provide(self, path: Path, *, public: bool = False) -> AssetRef:
        """Seal and upload a file; with `public` everybody may know what it is."""
        return self._keep(await upload_file(self.client, path, provider=self.name), public=public)

    async def invocation(self, *args: str, env: Mapping[str, str] | None = None) -> AssetRef:
        """Seal and upload arguments and environment."""
        raw = Invocation(args=args, env=dict(env or {})).to_bytes()
        return self._keep(await upload_pieces(self.client, [raw], provider=self.name))

    def _keep(self, asset: PreparedAsset, *, public: bool = False) -> AssetRef:
        key = ReleasedKey(content_key=asset.secrets.content_key, salt=asset.secrets.salt)
        self._secrets[asset.ref.asset_id] = key
        return replace(asset.ref, sha256=asset.content_sha256) if public else asset.ref

    def consent(self, manifest: bytes) -> Consent:
        """To a canonical manifest."""
        now_ms = time.time_ns() // 1_000_000
        return give_consent(self.keys, digest(manifest), expires_ms=now_ms + CONSENT_MS)

    async def answer(self, job_id: str, manifest_digest: bytes, told: Told) -> None:
        """Follow a job to its end, releasing our keys to each enclave that deserves them.

        Raises:
            AtollError: the evidence does not pass, or what was agreed on does not hold.
        """
        releaser = Releaser(client=self.client, keys=self.keys, appraiser=self.appraiser)
        async with aclosing(self.client.events(job_id, follow=True)) as events:
            async for event in events:
                if event.state.terminal:
                    return
                if event.type is EventType.AWAITING_ASSETS:
                    waiting = Waiting.of(event, manifest_digest=manifest_digest)
                    prospect = await releaser.look(waiting)
                    refused_by = self._refusing(prospect)
                    if not refused_by:
                        with suppress(StaleAttemptError):  # a later attempt asks again
                            await releaser.release(prospect, self._secrets)
                    told(refused_by)

    def _refusing(self, prospect: Prospect) -> frozenset[str]:
        """The fields of our policy that do not allow this; if none, the job counts as a use."""
        own = prospect.manifest.assets_of(self.name)
        if self.policy is None or not own:
            return frozenset()
        job_id = prospect.job_id
        decisions = self.policy.decide(
            prospect.manifest,
            prospect.manifest_digest,
            self.name,
            now_s=int(time.time()),
            # A job that starts again in another enclave is one use.
            uses={key: len(jobs - {job_id}) for key, jobs in self._uses.items()},
        )
        if all(decision.released for decision in decisions):
            for one in decisions:
                if one.rule is not None:
                    key = (one.rule, own[one.asset].asset_id)
                    self._uses.setdefault(key, set()).add(job_id)
            return frozenset()
        fields = {refusal.field for one in decisions for refusal in one.refusals}
        return frozenset(fields or {"assets"})

    async def open(self, view: JobView, manifest_digest: bytes, output: str) -> OpenedResult:
        """Fetch, check and unpack an output that is sealed to us, and check its receipt."""
        return await fetch_result(
            self.client,
            view,
            manifest_digest=manifest_digest,
            output=output,
            keys=self.keys,
            appraiser=self.appraiser,
            into=self.folder / view.job_id / output,
        )


@asynccontextmanager
async def party(name: str, profile: Profile, folder: Path) -> AsyncIterator[Party]:
    """Somebody new with fresh keys, connected."""
    recorder = Recorder(
        spans.CLIENT, instance="example", clock=time.time_ns, random=secrets.token_bytes
    )
    async with open_client(profile, recorder) as client:
        yield Party(
            keys=PartyKeys.generate(name, os.urandom),
            client=client,
            appraiser=Appraiser.from_profile(profile),
            folder=folder / name,
        )
