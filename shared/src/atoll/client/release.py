"""Key releases: a provider appraises an enclave and gives it the keys of its own assets.

The recipe, which nothing here leaves a step of out:

1. the job's manifest is the one of the digest that the job names
2. every party consents to it now, and the key under our name is ours
3. the policy that the parties agreed on, if any, is the one that we appraise by
4. the evidence is of this job's enclave, bound to this manifest, and passes
5. the job still waits for keys, at this attempt, with this enclave
6. one release for each asset of ours, bound to job, attempt, manifest, asset and evidence

Between 5 and 6 the job may go on to another attempt. Then the release is worth nothing for that
one, and nothing that the earlier enclave makes with the key is taken for the job's: the ledger
ignores its reports, and readers take the one outcome that the ledger names.
"""

import hashlib
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

from atoll.client.appraisal import Appraiser
from atoll.client.connection import AtollClient
from atoll.computation.consent import require_consents
from atoll.computation.manifest import Manifest, digest
from atoll.errors import ManifestError, NotFoundError, RefusedError
from atoll.evidence import document as documents
from atoll.evidence.findings import Appraisal, Verdict
from atoll.identity import PartyKeys
from atoll.sealing.release import ReleasedKey, make_release
from atoll.telemetry import names as spans
from atoll.wire.messages import EvidenceRecord, JobEvent, JobState, JobView

Secrets = Mapping[str, ReleasedKey]
"""Content key and salt by asset id."""


class EvidenceRefusedError(RefusedError):
    """We do not release keys on this evidence; `appraisal` says which check failed."""

    default_code = "evidence.refused"

    def __init__(self, appraisal: Appraisal) -> None:
        super().__init__(
            f"the enclave's evidence fails {appraisal.reason}; no key was released",
            hint="`atoll attest show` lists every check with expected and actual value",
        )
        self.appraisal = appraisal


class StaleAttemptError(RefusedError):
    """The enclave was given up, or has its keys; the job may wait again in a later attempt."""

    default_code = "release.stale_attempt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """An enclave that waits for keys, by the gateway's word."""

    job_id: str
    attempt: int
    enclave_id: str
    manifest_digest: bytes

    @classmethod
    def of(cls, event: JobEvent | JobView, *, manifest_digest: bytes) -> Self:
        """What an event or a job says.

        Raises:
            NotFoundError: `evidence.not_found`: it names no enclave.
        """
        if event.enclave_id is None:
            raise NotFoundError(
                "the job names no enclave",
                code="evidence.not_found",
                hint="`atoll jobs show` says in which state it is; wait for awaiting_assets",
            )
        return cls(
            job_id=event.job_id,
            attempt=event.attempt,
            enclave_id=event.enclave_id,
            manifest_digest=manifest_digest,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """An enclave that asks for keys, as far as we have looked at it."""

    job_id: str
    attempt: int
    enclave_id: str
    manifest: Manifest
    manifest_digest: bytes
    evidence: EvidenceRecord = field(repr=False)
    appraisal: Appraisal = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Releaser:
    """Looks at enclaves, and releases to those that deserve it, in the name of one party."""

    client: AtollClient
    keys: PartyKeys
    appraiser: Appraiser
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def look(self, waiting: Waiting) -> Prospect:
        """Steps 1 to 4 but for the verdict, which is in the prospect's appraisal.

        Raises:
            NotFoundError: `manifest.not_found`, `evidence.not_found`.
            ManifestError: `manifest.*`, `consent.*`: it is not what its parties agreed on;
                `manifest.not_a_party`.
            RefusedError: `evidence.other_policy`, `evidence.other_attempt`.
        """
        name = waiting.manifest_digest.hex()
        agreed = await self.client.manifest(waiting.job_id)
        now = self.clock()
        if digest(agreed.manifest) != waiting.manifest_digest:  # 1
            raise ManifestError(
                f"what is stored as manifest {name} is another one",
                code="manifest.other",
            )
        manifest = require_consents(agreed, now_ms=round(now.timestamp() * 1000))  # 2
        require_party(manifest, self.keys)
        agreed_policy = manifest.tee.policy  # 3
        if agreed_policy is not None and agreed_policy != self.appraiser.policy.digest.hex():
            raise RefusedError(
                f"the parties agreed on the appraisal policy {agreed_policy}, and ours is "
                f"{self.appraiser.policy.digest.hex()}",
                code="evidence.other_policy",
                hint="give the policy that was agreed on, or agree on a new manifest",
            )
        record = await self.client.evidence(waiting.enclave_id)  # 4
        if (record.job_id, record.attempt) != (waiting.job_id, waiting.attempt):
            raise RefusedError(
                f"the evidence of enclave {waiting.enclave_id} is for attempt {record.attempt} of "
                f"job {record.job_id}",
                code="evidence.other_attempt",
            )
        with self.client.tracer.span(spans.APPRAISE_EVIDENCE):
            appraisal = self.appraiser.appraise(
                record.evidence, manifest_digest=waiting.manifest_digest, now=now
            )
        return Prospect(
            job_id=waiting.job_id,
            attempt=waiting.attempt,
            enclave_id=waiting.enclave_id,
            manifest=manifest,
            manifest_digest=waiting.manifest_digest,
            evidence=record,
            appraisal=appraisal,
        )

    async def release(self, prospect: Prospect, secrets: Secrets) -> tuple[str, ...]:
        """Steps 5 and 6, for every asset of ours; the names of what was released.

        Raises:
            EvidenceRefusedError: the appraisal failed.
            StaleAttemptError: `release.stale_attempt`: the enclave no longer waits for keys.
            NotFoundError: `asset.no_key`: we have no key of an asset that is said to be ours;
                then none is released.
        """
        if prospect.appraisal.verdict is not Verdict.PASS:
            raise EvidenceRefusedError(prospect.appraisal)
        own = prospect.manifest.assets_of(self.keys.name)
        require_secrets(prospect.manifest, self.keys.name, secrets)
        document = documents.parse(prospect.evidence.evidence)
        require_waiting(  # 5
            await self.client.get(prospect.job_id),
            attempt=prospect.attempt,
            enclave_id=prospect.enclave_id,
        )
        with self.client.tracer.span(spans.RELEASE_KEYS):
            for name, asset in own.items():  # 6
                key = secrets[asset.asset_id]
                release = make_release(
                    self.keys,
                    job_id=prospect.job_id,
                    attempt=prospect.attempt,
                    manifest_digest=prospect.manifest_digest,
                    asset_name=name,
                    asset_id=bytes.fromhex(asset.asset_id),
                    evidence_digest=hashlib.sha256(prospect.evidence.evidence).digest(),
                    enclave_hpke_key=document.hpke_key,
                    content_key=key.content_key,
                    salt=key.salt,
                )
                await self.client.release(prospect.enclave_id, release)
        return tuple(own)


def require_waiting(view: JobView, *, attempt: int, enclave_id: str) -> None:
    """Return if the job waits for keys now, in this attempt with this enclave. Pure.

    Raises:
        StaleAttemptError: `release.stale_attempt`.
    """
    now = (view.state, view.attempt, view.enclave_id)
    if now != (JobState.AWAITING_ASSETS, attempt, enclave_id):
        raise StaleAttemptError(
            f"job {view.job_id} is {view.state.value} in attempt {view.attempt}; enclave "
            f"{enclave_id} of attempt {attempt} does not wait for keys",
            hint="look at the job again; a later attempt has another enclave",
        )


def require_secrets(manifest: Manifest, party: str, there: Container[str]) -> None:
    """Return if there are the keys of all assets of a party.

    Args:
        manifest: what says which assets those are.
        party: its name in the manifest.
        there: the ids of the assets whose keys there are.

    Raises:
        NotFoundError: `asset.no_key`.
    """
    for name, asset in manifest.assets_of(party).items():
        if asset.asset_id not in there:
            raise NotFoundError(
                f"there is no key of asset {asset.asset_id}, which the manifest has as {name}",
                code="asset.no_key",
                hint="`atoll asset list` shows the assets whose keys are here",
            )


def require_party(manifest: Manifest, keys: PartyKeys) -> None:
    """Return if the manifest has our key under our name.

    Raises:
        ManifestError: `manifest.not_a_party`.
    """
    party = manifest.parties.get(keys.name)
    if party is None or party.signing_key != keys.signing_key:
        raise ManifestError(
            f"the manifest has no party {keys.name!r} with the key {keys.public.fingerprint}",
            code="manifest.not_a_party",
            hint="choose another key with --key; the names in a manifest are those of keys",
        )
