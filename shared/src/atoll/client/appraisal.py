"""Appraises evidence here, under the profile's own trust and policy.

The policy is that of one TEE, or a policy document with a section for each TEE that is accepted;
the evidence says which section it is judged by. A document's mode and time are for services that
it is activated at: whoever names one here asks for what it says.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Self

from atoll import canonical
from atoll.client.profile import Profile
from atoll.errors import EvidenceError, InputError
from atoll.evidence import document as documents
from atoll.evidence.appraise import EvidencePolicy, appraise_document
from atoll.evidence.comparisons import finding
from atoll.evidence.dcap.collateral import Collateral
from atoll.evidence.document import EvidenceDocument, Tee
from atoll.evidence.findings import Appraisal, Verdict
from atoll.evidence.needed import Platform, Signed, collateral_of, intel_files
from atoll.evidence.trust import PRODUCTION, TrustStore
from atoll.policy.document import FORMAT, PolicyDocument, invalid
from atoll.policy.records import NO_SECTION
from atoll.policy.sections import read_policy
from atoll.policy.signed import FORMAT as SIGNED_FORMAT

AcceptedPolicy = EvidencePolicy | PolicyDocument

_MAX_LACKS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Appraiser:
    """Whom this client trusts, and what it asks of an enclave."""

    trust: TrustStore
    policy: AcceptedPolicy
    collateral: Mapping[str, Signed] = field(default_factory=dict, repr=False)
    """What Intel signs about platforms, by the keys of `atoll.evidence.needed`. Nothing of it is
    believed before the appraisal has verified it; without it no TDX evidence passes."""

    @classmethod
    def from_profile(cls, profile: Profile, collateral: Mapping[str, Signed] | None = None) -> Self:
        """Raises: InputError: the policy or the root is not legal."""
        return cls(
            trust=trust_store(profile.development_root.encode()),
            policy=accepted_policy(profile.policy.encode()),
            collateral=collateral or {},
        )

    def appraise(self, evidence: bytes, *, manifest_digest: bytes, now: datetime) -> Appraisal:
        """Every check by name. The manifest is fresh, so evidence bound to it is as well."""
        try:
            document = documents.parse(evidence)
        except EvidenceError:
            document = None  # the appraisal says what is wrong with it
        policy = self._policy(document)
        if policy is None:
            return self._no_section(evidence, document)
        collateral, lacks = self._collateral(document)
        found = appraise_document(
            evidence,
            trust=self.trust,
            policy=policy,
            manifest_digest=manifest_digest,
            nonce=None,
            now=now,
            collateral=collateral,
            lacks=lacks,
        )
        return replace(found, policy_digest=self.policy.digest.hex())

    def _policy(self, document: EvidenceDocument | None) -> EvidencePolicy | None:
        """What judges this; None: the policy document says nothing of its TEE."""
        if not isinstance(self.policy, PolicyDocument):
            return self.policy
        # What cannot be read is malformed under every section.
        tee = document.tee.value if document else next(iter(self.policy.sections), "")
        return self.policy.sections.get(tee)

    def _collateral(self, document: EvidenceDocument | None) -> tuple[Collateral | None, str]:
        """What Intel signs about the platform of a TDX quote, and what of it is not here."""
        if document is None or document.tee is not Tee.TDX:
            return None, ""
        try:
            platform = Platform.of(document.report, document.certs)
            found = collateral_of(intel_files(platform, self.collateral))
        except EvidenceError as error:
            return None, f"{error.code}: {error.message}"[:_MAX_LACKS]
        if found is not None:
            return found, ""
        missing = [key for key in platform.keys if key not in self.collateral]
        return None, f"there is no {', '.join(missing)} here"

    def _no_section(self, evidence: bytes, document: EvidenceDocument | None) -> Appraisal:
        tee = document.tee if document else None
        wanted = f"a section about {tee.value if tee else 'any TEE'}"
        return Appraisal(
            tee=tee,
            verdict=Verdict.FAIL,
            reason=NO_SECTION,
            simulated=False,
            policy_digest=self.policy.digest.hex(),
            evidence_digest=documents.digest(evidence).hex(),
            findings=(finding(NO_SECTION, "policy", wanted, "the policy document has none"),),
            claims={},
        )


def accepted_policy(raw: bytes) -> AcceptedPolicy:
    """A policy of any TEE, or a policy document, in canonical JSON.

    Raises:
        InputError: `policy.invalid`, `name.invalid`, `json.*`; `policy.signed`: it is an envelope
            with signatures, which nobody would check here.
    """
    value = canonical.loads(raw)
    if not isinstance(value, dict):
        raise invalid("is no JSON object")
    if value.get("format") == SIGNED_FORMAT:
        raise InputError(
            "the policy comes with signatures, and here nobody would check them",
            code="policy.signed",
            hint="give the policy document that is inside",
        )
    if value.get("format") == FORMAT:
        return PolicyDocument.from_plain(value)
    return read_policy(raw)


def trust_store(development_root: bytes) -> TrustStore:
    """AMD's and Intel's genuine roots and, when given, the root of a simulated TEE (PEM or DER);
    of several, such as the authority of virtual TPMs, in PEM.

    Raises:
        InputError: `trust.development_root`.
    """
    return PRODUCTION.with_development_root(development_root) if development_root else PRODUCTION
