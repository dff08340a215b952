"""What this enclave was given to do, checked before anything else happens. Pure."""

from dataclasses import dataclass

from atoll.computation.consent import require_consents
from atoll.computation.manifest import Manifest, digest
from atoll.errors import ManifestError, RefusedError
from atoll.sealing.release import ReleaseContext
from atoll.wire.messages import Assignment


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A manifest that every party consented to and that our evidence is bound to."""

    job_id: str
    attempt: int
    manifest: Manifest
    manifest_digest: bytes
    evidence_digest: bytes

    def release_context(self, asset_name: str) -> ReleaseContext:
        """What a key release for `asset_name` must be bound to."""
        asset = self.manifest.assets()[asset_name]
        return ReleaseContext(
            job_id=self.job_id,
            attempt=self.attempt,
            manifest_digest=self.manifest_digest,
            asset_name=asset_name,
            asset_id=bytes.fromhex(asset.asset_id),
            evidence_digest=self.evidence_digest,
            provider_name=asset.provider,
            provider_key=self.manifest.parties[asset.provider].signing_key,
        )


def accept(
    assignment: Assignment,
    *,
    enclave_id: str,
    job_id: str,
    attempt: int,
    manifest_digest: bytes,
    evidence_digest: bytes,
    now_ms: int,
) -> Task:
    """The task, if the assignment is the one our evidence was made for.

    Raises:
        RefusedError: `assignment.other`: meant for another enclave, job or attempt;
            `network.unsupported`.
        ManifestError: not the manifest we attested to, or not consented to by every party.
    """
    given = (assignment.enclave_id, assignment.job_id, assignment.attempt)
    if given != (enclave_id, job_id, attempt):
        raise RefusedError(
            f"assignment is for enclave {given[0]}, job {given[1]}, attempt {given[2]}",
            code="assignment.other",
        )
    if digest(assignment.agreed.manifest) != manifest_digest:
        raise ManifestError(
            "assignment carries another manifest than the one attested to",
            code="manifest.other",
        )
    manifest = require_consents(assignment.agreed, now_ms=now_ms)
    manifest.network.require_enforceable(step.kind for step in manifest.steps)
    return Task(
        job_id=job_id,
        attempt=attempt,
        manifest=manifest,
        manifest_digest=manifest_digest,
        evidence_digest=evidence_digest,
    )
