"""One appraisal under everything that is in force. Pure.

The verdict follows from an `AppraisalRecord` and a policy document alone, by the judge that
also replays records; so a kept record gives the same verdict again, bit for bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from atoll.evidence import document as documents
from atoll.evidence.comparisons import finding
from atoll.evidence.document import EvidenceDocument
from atoll.evidence.findings import Appraisal, Verdict
from atoll.policy.activation import NO_POLICY, Opinion, decide
from atoll.policy.document import PolicyDocument
from atoll.policy.records import NO_SECTION, AppraisalRecord, Judge, opinion
from atoll_attestor.policies import InForce

ENFORCE: Final = "enforce"
_NO_DIGEST: Final = "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Appraised:
    """The verdict that counts, and what is to be kept."""

    appraisal: Appraisal
    records: tuple[tuple[str, AppraisalRecord], ...]
    """By role: `enforce`, and `shadow` or `warn` if a policy is on trial."""
    warning: str
    """The check for which a policy in mode warn would refuse, or empty."""
    disagreement: str
    """Why a policy on trial sees it differently, or empty."""


def appraise(
    raw: bytes,
    document: EvidenceDocument,
    *,
    name: str,
    in_force: InForce | None,
    judge: Judge,
    simulated: bool,
    at: int,
    crls: Sequence[bytes] = (),
) -> Appraised:
    """Judge evidence under the enforced policy, and beside it under the one on trial.

    Args:
        raw: the evidence.
        document: the same, parsed.
        name: of the policy.
        in_force: what is in force under it; None: nothing, and nothing passes.
        judge: under the roots that are trusted here.
        simulated: what a refusal without a judgement says of the TEE.
        at: when, in milliseconds since 1970.
        crls: revocation lists.
    """
    draft = AppraisalRecord(
        id=f"{at:x}-{documents.digest(raw).hex()[:32]}",
        at=at,
        evidence=raw,
        crls=tuple(crls),
        manifest_digest=document.manifest_digest,
        nonce=document.nonce,
        policy_name=name,
        policy_version=0,
        policy_digest=_NO_DIGEST,
        verdict=Verdict.FAIL,
        reason=NO_POLICY,
    )
    enforced = in_force.state.enforced if in_force else None
    trial = in_force.state.candidate if in_force else None
    appraisal = judge(draft, enforced) if enforced else None
    decided = draft
    if in_force is not None and enforced is not None:
        decided = _filled(draft, enforced, in_force.enforced_digest, opinion(appraisal))
    records = [(ENFORCE, decided)]
    trial_opinion = None
    if in_force is not None and trial is not None:
        trial_opinion = opinion(judge(draft, trial))
        tried = _filled(draft, trial, in_force.candidate_digest, trial_opinion)
        records.append((trial.mode.value, tried))
    decision = decide(
        opinion(appraisal) if enforced else None, trial_opinion, trial.mode if trial else None
    )
    if appraisal is None:
        appraisal = _refusal(raw, document, NO_SECTION if enforced else NO_POLICY, simulated)
    return Appraised(
        appraisal=replace(appraisal, policy_digest=decided.policy_digest),
        records=tuple(records),
        warning=trial_opinion.reason if decision.warn and trial_opinion else "",
        disagreement=decision.disagreement,
    )


def _filled(
    draft: AppraisalRecord, policy: PolicyDocument, digest: str, found: Opinion
) -> AppraisalRecord:
    return replace(
        draft,
        policy_version=policy.version,
        policy_digest=digest,
        verdict=Verdict.PASS if found.passed else Verdict.FAIL,
        reason=found.reason,
    )


def _refusal(
    raw: bytes,
    document: EvidenceDocument,
    reason: str,
    simulated: bool,  # noqa: FBT001
) -> Appraisal:
    wanted = finding(reason, "policy", f"a policy for {document.tee.value}", "none is in force")
    return Appraisal(
        tee=document.tee,
        verdict=Verdict.FAIL,
        reason=reason,
        simulated=simulated,
        policy_digest=_NO_DIGEST,
        evidence_digest=documents.digest(raw).hex(),
        findings=(wanted,),
        claims={},
    )
