"""Which document may follow which, and whose verdict counts.

For each name there is at most one enforced document and one candidate. A document whose mode
is enforce takes the place of both; one in shadow or warn becomes the candidate and decides
nothing, so putting a new policy on trial never opens a door. Versions only grow, over both
places and over documents that are gone: `highest` remembers.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from atoll.errors import RefusedError
from atoll.policy.document import Mode, PolicyDocument
from atoll.policy.signed import VerifiedPolicy
from atoll.policy.state import PolicyState

NO_POLICY: Final = "policy.none"


def activate(state: PolicyState | None, policy: VerifiedPolicy, *, now: int) -> PolicyState:
    """The state after this document; the same one if it is active already.

    Raises:
        RefusedError: `policy.rollback`, `policy.fork` or `policy.not_yet`.
    """
    document = policy.document
    require_started(document, now=now)
    if state is not None:
        if (document.version, document.digest) == (state.highest, state.highest_digest):
            return state
        require_newer(document, state)
    enforces = document.mode is Mode.ENFORCE
    before = state.enforced if state else None
    return PolicyState(
        highest=document.version,
        highest_digest=document.digest,
        enforced=document if enforces else before,
        candidate=None if enforces else document,
    )


def require_started(document: PolicyDocument, *, now: int) -> None:
    """Raises: RefusedError: `policy.not_yet`: `not_before` is in the future."""
    if now < document.not_before:
        raise RefusedError(
            f"policy {document.name!r} version {document.version} may be activated from "
            f"{document.not_before} on, and it is {now}",
            code="policy.not_yet",
        )


def require_newer(document: PolicyDocument, state: PolicyState) -> None:
    """Check that this document may follow.

    Raises:
        RefusedError: `policy.rollback`: an older version than was active once;
            `policy.fork`: another document with the same number.
        ValueError: our own mistake: the state is another name's.
    """
    if document.name != state.name:
        raise ValueError(f"the state is of {state.name!r} and not of {document.name!r}")
    if document.version < state.highest:
        raise RefusedError(
            f"policy {document.name!r} version {document.version} is older than version "
            f"{state.highest}, which was activated before",
            code="policy.rollback",
            hint="to go back to an old content, sign it again under a new version",
        )
    if document.version == state.highest:
        raise RefusedError(
            f"policy {document.name!r} has another version {document.version}, active already",
            code="policy.fork",
            hint="give the new content a version of its own",
        )


class Admission(Enum):
    """What becomes of an enclave."""

    ADMITTED = "admitted"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """One document's verdict on one piece of evidence."""

    passed: bool
    reason: str
    """The id of the first finding that failed, or empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether to admit, and what a candidate would have said."""

    admission: Admission
    reason: str
    disagreement: str
    """What to record because the candidate sees it differently, or empty."""
    warn: bool
    """Whether to tell people as well: the candidate is in mode warn and would refuse."""


def decide(
    enforced: Opinion | None, candidate: Opinion | None = None, mode: Mode | None = None
) -> Decision:
    """Combine verdicts. Without an enforced document nothing is admitted.

    Args:
        enforced: the enforced document's verdict, or None if there is no such document.
        candidate: the candidate's, with its `mode`.
    """
    if (candidate is None) != (mode is None) or mode is Mode.ENFORCE:
        raise ValueError("a candidate has the mode shadow or warn")
    passed = enforced is not None and enforced.passed
    disagreement = ""
    if candidate is not None and candidate.passed != passed:
        disagreement = candidate.reason or "would pass"
    return Decision(
        admission=Admission.ADMITTED if passed else Admission.REFUSED,
        reason=NO_POLICY if enforced is None else enforced.reason,
        disagreement=disagreement,
        warn=mode is Mode.WARN and candidate is not None and not candidate.passed,
    )
