"""One appraisal under everything that is in force. Pure.

The verdict follows from an `AppraisalRecord` and a policy document alone, by the judge that
also replays records; so a kept record gives the same verdict again, bit for bit.
"""

from dataclasses import dataclass, replace
from typing import Final

from atoll.evidence import document as documents
from atoll.evidence.comparisons import finding
from atoll.evidence.document import Tee
from atoll.evidence.findings import Appraisal, Verdict
from atoll.evidence.needed import Files
from atoll.policy.activation import NO_POLICY, Opinion, decide
from atoll.policy.document import PolicyDocument
from atoll.policy.records import NO_SECTION, AppraisalRecord, Judge, kept, opinion
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


def draft(
    evidence: bytes,
    *,
    at: int,
    name: str,
    files: Files,
    lacks: str = "",
    manifest_digest: bytes = b"",
    nonce: bytes = b"",
) -> AppraisalRecord:
    """A record of evidence that nobody has judged yet: refused, since no policy said otherwise.

    Args:
        evidence: the bytes.
        at: when it is judged, in milliseconds since 1970.
        name: of the policy.
        files: what it is judged by, by role.
        lacks: why collateral does not count, or empty.
        manifest_digest: what an evidence document has to be about.
        nonce: the challenge that it has to answer.
    """
    return AppraisalRecord(
        id=f"{at:x}-{documents.digest(evidence).hex()[:32]}",
        at=at,
        evidence=evidence,
        files=kept({role: some for role, some in files.items() if role != "crls"}),
        lacks=lacks,
        crls=files.get("crls", ()),
        manifest_digest=manifest_digest,
        nonce=nonce,
        policy_name=name,
        policy_version=0,
        policy_digest=_NO_DIGEST,
        verdict=Verdict.FAIL,
        reason=NO_POLICY,
    )


def appraise(
    of: AppraisalRecord,
    *,
    tee: Tee | None,
    in_force: InForce | None,
    judge: Judge,
    simulated: bool,
) -> Appraised:
    """Judge evidence under the enforced policy, and beside it under the one on trial.

    Args:
        of: a draft.
        tee: of the evidence, or None for a kind that is of none.
        in_force: what is in force under its policy's name; None: nothing, and nothing passes.
        judge: under the roots that are trusted here.
        simulated: what a refusal without a judgement says of the TEE.
    """
    enforced = in_force.state.enforced if in_force else None
    trial = in_force.state.candidate if in_force else None
    appraisal = judge(of, enforced) if enforced else None
    decided = of
    if in_force is not None and enforced is not None:
        decided = _filled(of, enforced, in_force.enforced_digest, opinion(appraisal))
    records = [(ENFORCE, decided)]
    trial_opinion = None
    if in_force is not None and trial is not None:
        trial_opinion = opinion(judge(of, trial))
        tried = _filled(of, trial, in_force.candidate_digest, trial_opinion)
        records.append((trial.mode.value, tried))
    decision = decide(
        opinion(appraisal) if enforced else None, trial_opinion, trial.mode if trial else None
    )
    if appraisal is None:
        appraisal = _refusal(of, tee, NO_SECTION if enforced else NO_POLICY, simulated)
    return Appraised(
        appraisal=replace(appraisal, policy_digest=decided.policy_digest),
        records=tuple(records),
        warning=trial_opinion.reason if decision.warn and trial_opinion else "",
        disagreement=decision.disagreement,
    )


def _filled(
    of: AppraisalRecord, policy: PolicyDocument, digest: str, found: Opinion
) -> AppraisalRecord:
    return replace(
        of,
        policy_version=policy.version,
        policy_digest=digest,
        verdict=Verdict.PASS if found.passed else Verdict.FAIL,
        reason=found.reason,
    )


def _refusal(
    of: AppraisalRecord,
    tee: Tee | None,
    reason: str,
    simulated: bool,  # noqa: FBT001
) -> Appraisal:
    about = tee.value if tee else of.kind
    wanted = finding(reason, "policy", f"a policy for {about}", "none is in force")
    return Appraisal(
        tee=tee,
        verdict=Verdict.FAIL,
        reason=reason,
        simulated=simulated,
        policy_digest=_NO_DIGEST,
        evidence_digest=documents.digest(of.evidence).hex(),
        findings=(wanted,),
        claims={},
    )
