"""Which policy is in force, from what the bucket `policies` holds. Pure.

A record counts only if every document in it is signed by enough of the owners that this
attestor was set up with, is of the right name, and is not older than what was in force here
before: whoever can write the bucket can neither make a policy nor bring an old one back
under a running attestor. An attestor that starts takes what it finds, if it is signed.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

from atoll.errors import InputError, RefusedError
from atoll.policy.activation import activate
from atoll.policy.claims import claimed_version
from atoll.policy.document import Mode, PolicyDocument
from atoll.policy.signed import SignedPolicy, verify_policy
from atoll.policy.state import PolicyState
from atoll.wire.messages import PolicyRecord, PolicyView


@dataclass(frozen=True, slots=True, kw_only=True)
class Owners:
    """Who decides on a policy."""

    name: str
    """The policy's."""
    keys: Collection[bytes]
    threshold: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """A state, and its documents' digests in hex, which every appraisal needs."""

    state: PolicyState
    enforced_digest: str
    candidate_digest: str

    @classmethod
    def of(cls, state: PolicyState) -> Self:
        """Compute the digests, once."""
        enforced, candidate = state.enforced, state.candidate
        return cls(
            state=state,
            enforced_digest=enforced.digest.hex() if enforced else "",
            candidate_digest=candidate.digest.hex() if candidate else "",
        )


def verified_state(record: PolicyRecord, owners: Owners) -> PolicyState:
    """What a record puts in force.

    Raises:
        InputError: `policy.invalid`, `policy.signature`, `name.invalid`, `json.*`.
    """

    def document(raw: bytes) -> PolicyDocument | None:
        if not raw:
            return None
        return verify_policy(raw, owners.keys, threshold=owners.threshold).document

    return _state(document(record.enforced), document(record.candidate), owners.name)


def require_no_rollback(current: PolicyState | None, found: PolicyState) -> None:
    """Return if `found` may follow on `current`.

    Raises:
        RefusedError: `policy.rollback` or `policy.fork`.
    """
    if current is None or (found.highest, found.highest_digest) == (
        current.highest,
        current.highest_digest,
    ):
        return
    if found.highest <= current.highest:
        raise RefusedError(
            f"policy {found.name!r} in the bucket has version {found.highest}, and version "
            f"{current.highest} was in force here",
            code="policy.rollback" if found.highest < current.highest else "policy.fork",
        )


def activated(
    record: PolicyRecord | None, signed: bytes, owners: Owners, *, now: int
) -> tuple[PolicyRecord, PolicyView]:
    """The record after this document, and what is in force then.

    The versions of the record before count even if its signatures hold no longer, for
    instance after a change of owners.

    Raises:
        InputError: `policy.invalid`, `policy.signature`, `policy.name`, `name.invalid`, `json.*`.
        RefusedError: `policy.rollback`, `policy.fork`, `policy.not_yet`.
    """
    verified = verify_policy(signed, owners.keys, threshold=owners.threshold)
    if verified.document.name != owners.name:
        raise InputError(
            f"policy document is of the policy {verified.document.name!r}, and {owners.name!r} "
            "is the one that is enforced here",
            code="policy.name",
        )
    record = _readable(record, verified.document)
    before = None if record is None else _claimed_state(record, owners.name)
    after = activate(before, verified, now=now)
    view = _view(after, changed=after != before)
    if record is not None and after == before:
        return record, view
    if verified.document.mode is Mode.ENFORCE:
        return PolicyRecord(enforced=signed, candidate=b""), view
    return PolicyRecord(enforced=record.enforced if record else b"", candidate=signed), view


def _readable(record: PolicyRecord | None, document: PolicyDocument) -> PolicyRecord | None:
    """The record, or None for one that an older build made and this one cannot take.

    Raises:
        RefusedError: `policy.rollback`: it cannot be taken, and its version is not lower.
        InputError: it says nothing of a version.
    """
    if record is None:
        return None
    try:
        _claimed_state(record, document.name)
    except InputError:
        stored = [claimed_version(raw) for raw in (record.enforced, record.candidate) if raw]
        if document.version <= max(stored, default=0):
            raise RefusedError(
                f"policy {document.name!r} version {document.version} is not newer than version "
                f"{max(stored)}, which was activated before",
                code="policy.rollback",
            ) from None
        return None
    return record


def _claimed_state(record: PolicyRecord, name: str) -> PolicyState:
    found = [
        SignedPolicy.from_bytes(raw).document if raw else None
        for raw in (record.enforced, record.candidate)
    ]
    return _state(found[0], found[1], name)


def _state(
    enforced: PolicyDocument | None, candidate: PolicyDocument | None, name: str
) -> PolicyState:
    last = candidate or enforced
    if last is None or last.name != name:
        raise InputError(f"record holds no document of the policy {name!r}", code="policy.invalid")
    return PolicyState(
        highest=last.version,
        highest_digest=last.digest,
        enforced=enforced,
        candidate=candidate,
    )


def _view(state: PolicyState, *, changed: bool) -> PolicyView:
    return PolicyView(
        name=state.name,
        highest=state.highest,
        digest=state.highest_digest.hex(),
        enforced=state.enforced.version if state.enforced else 0,
        candidate=state.candidate.version if state.candidate else 0,
        changed=changed,
    )
