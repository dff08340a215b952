"""Kept appraisals, and what another policy would have said about them.

A record holds everything that the verdict followed from: the evidence, the collateral, what
the evidence had to be about, the time, and the verdict. `replay` judges every record again, at
its own time, under a new document: nothing is fetched and nothing has expired since.

Evidence documents are SEV-SNP's (and the simulated kind's) so far: `Judge` is where other
kinds come in.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final

from atoll.errors import EvidenceError
from atoll.evidence import document as documents
from atoll.evidence.appraise import appraise_document
from atoll.evidence.findings import Appraisal, Outcome, Verdict
from atoll.evidence.policy import SnpPolicy
from atoll.evidence.trust import TrustStore
from atoll.policy.activation import Opinion
from atoll.policy.document import PolicyDocument
from atoll.wire import schema
from atoll.wire.messages import MAX_EVIDENCE
from atoll.wire.schema import Digest, Range, Size, Text, Timestamp, Token, message

MAX_RECORD: Final = 1 << 20
NO_SECTION: Final = "policy.no_section"
_MILLISECONDS: Final = 1000


@message
class AppraisalRecord:
    """One past appraisal with what it followed from."""

    version: Annotated[int, Range(1, 1)] = 1
    id: Token
    at: Timestamp
    evidence: Annotated[bytes, Size(0, MAX_EVIDENCE)]
    crls: Annotated[tuple[Annotated[bytes, Size(1, 64 << 10)], ...], Size(0, 8)]
    manifest_digest: Annotated[bytes, Size(0, 32)]
    nonce: Annotated[bytes, Size(0, 64)]
    """Empty if the appraiser sent no challenge of its own."""
    policy_name: Text
    policy_version: Annotated[int, Range(0, (1 << 53) - 1)]
    policy_digest: Digest
    verdict: Verdict
    reason: Annotated[str, Size(0, 64)]

    def moment(self) -> datetime:
        """When it was judged."""
        return datetime.fromtimestamp(self.at / _MILLISECONDS, UTC)


def to_bytes(record: AppraisalRecord) -> bytes:
    """The MessagePack form, to be kept."""
    return schema.encode(record)


def from_bytes(raw: bytes) -> AppraisalRecord:
    """Read a record. Raises: MessageError: not a legal one."""
    return schema.decode(AppraisalRecord, raw, limit=MAX_RECORD)


Judge = Callable[[AppraisalRecord, PolicyDocument], Appraisal | None]
"""Judges a record's evidence; None if the document has no section for its kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictChange:
    """One past verdict that would be another one."""

    id: str
    at: datetime
    old: Opinion
    new: Opinion
    failed: tuple[str, ...]
    """Every finding that fails under the new document, with what it wants and what it got."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What a new document would have changed."""

    judged: int
    changes: tuple[VerdictChange, ...]

    @property
    def now_refused(self) -> int:
        """How many that passed would fail."""
        return sum(not item.new.passed for item in self.changes if item.old.passed)

    @property
    def now_accepted(self) -> int:
        """How many that failed would pass."""
        return sum(item.new.passed for item in self.changes if not item.old.passed)


def judge_with(trust: TrustStore) -> Judge:
    """The judge of evidence documents, under these roots."""

    def judge(record: AppraisalRecord, document: PolicyDocument) -> Appraisal | None:
        try:
            tee = documents.parse(record.evidence).tee.value
        except EvidenceError:
            # Malformed under every policy; any section will say so.
            tee = next(iter(document.sections), "")
        policy = document.sections.get(tee)
        if not isinstance(policy, SnpPolicy):
            return None
        return appraise_document(
            record.evidence,
            trust=trust,
            policy=policy,
            manifest_digest=record.manifest_digest,
            nonce=record.nonce or None,
            now=record.moment(),
            crls=record.crls,
        )

    return judge


def replay(records: Iterable[AppraisalRecord], document: PolicyDocument, judge: Judge) -> Replay:
    """Judge every record again under `document`.

    A verdict is reported if it or its reason is another one. Does not check that a record's
    old verdict is what the old policy said.
    """
    changes: list[VerdictChange] = []
    judged = 0
    for record in records:
        judged += 1
        appraisal = judge(record, document)
        old = Opinion(passed=record.verdict is Verdict.PASS, reason=record.reason)
        new = opinion(appraisal)
        if new != old:
            changes.append(
                VerdictChange(
                    id=record.id,
                    at=record.moment(),
                    old=old,
                    new=new,
                    failed=_failed(appraisal),
                )
            )
    return Replay(judged=judged, changes=tuple(changes))


def opinion(appraisal: Appraisal | None) -> Opinion:
    """The verdict; None, for no section, refuses."""
    if appraisal is None:
        return Opinion(passed=False, reason=NO_SECTION)
    return Opinion(passed=appraisal.passed, reason=appraisal.reason)


def _failed(appraisal: Appraisal | None) -> tuple[str, ...]:
    if appraisal is None:
        return ("no section of the document is about this kind of evidence",)
    return tuple(
        f"{item.id}: {item.field} want {item.expected}, got {item.actual}"
        for item in appraisal.findings
        if item.outcome is Outcome.FAIL
    )
