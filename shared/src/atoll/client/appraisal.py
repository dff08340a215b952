"""Appraises evidence here, under the profile's own trust and policy."""

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from atoll.client.profile import Profile
from atoll.evidence.appraise import EvidencePolicy, appraise_document
from atoll.evidence.findings import Appraisal
from atoll.evidence.trust import PRODUCTION, TrustStore
from atoll.policy.sections import read_policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Appraiser:
    """Whom this client trusts, and what it asks of an enclave."""

    trust: TrustStore
    policy: EvidencePolicy

    @classmethod
    def from_profile(cls, profile: Profile) -> Self:
        """Raises: InputError: the policy or the root is not legal."""
        return cls(
            trust=trust_store(profile.development_root.encode()),
            policy=read_policy(profile.policy.encode()),
        )

    def appraise(self, evidence: bytes, *, manifest_digest: bytes, now: datetime) -> Appraisal:
        """Every check by name. The manifest is fresh, so evidence bound to it is as well."""
        return appraise_document(
            evidence,
            trust=self.trust,
            policy=self.policy,
            manifest_digest=manifest_digest,
            nonce=None,
            now=now,
        )


def trust_store(development_root: bytes) -> TrustStore:
    """AMD's genuine roots and, when given, the root of a simulated TEE (PEM or DER); of
    several, such as the authority of virtual TPMs, in PEM.

    Raises:
        InputError: `trust.development_root`.
    """
    return PRODUCTION.with_development_root(development_root) if development_root else PRODUCTION
