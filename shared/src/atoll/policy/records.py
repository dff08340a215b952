"""Kept appraisals, and what another policy would have said about them.

A record holds everything that the verdict followed from: the evidence, the collateral, what
the evidence had to be about, the time, and the verdict. `replay` judges every record again, at
its own time, under a new document: nothing is fetched and nothing has expired since.

The evidence is a document of an enclave, of any TEE, or of a kind of `atoll.evidence.judge`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final

from atoll.errors import EvidenceError
from atoll.evidence import document as documents
from atoll.evidence.appraise import appraise_document
from atoll.evidence.findings import Appraisal, Outcome, Verdict
from atoll.evidence.needed import Files, collateral_of
from atoll.evidence.trust import TrustStore
from atoll.policy.activation import Opinion
from atoll.policy.document import PolicyDocument
from atoll.policy.kinds import appraise_kind, requirements
from atoll.wire import schema
from atoll.wire.schema import Digest, Pattern, Range, Size, Text, Timestamp, Token, message
from atoll.wire.verification import MAX_ASKED, MAX_COLLATERAL, MAX_WRAPPED

MAX_RECORD: Final = 1 << 20
NO_SECTION: Final = "policy.no_section"
MAX_FILES: Final = 32
_MILLISECONDS: Final = 1000


@message
class KeptFile:
    """What went with evidence: certificates, collateral, logs, by role (`evidence.judge`)."""

    role: Annotated[str, Pattern(r"[a-z][a-z0-9_]{0,39}")]
    body: Annotated[bytes, Size(0, max(MAX_COLLATERAL, MAX_WRAPPED))]


@message
class AppraisalRecord:
    """One past appraisal with what it followed from."""

    version: Annotated[int, Range(1, 1)] = 1
    id: Token
    at: Timestamp
    kind: Annotated[str, Pattern(r"(?:[a-z][a-z0-9_]{0,39})?")] = ""
    """Of `atoll.evidence.judge`; empty for an evidence document."""
    evidence: Annotated[bytes, Size(0, MAX_WRAPPED)]
    files: Annotated[tuple[KeptFile, ...], Size(0, MAX_FILES)] = ()
    """What it was judged by beside `crls`: certificates that the evidence did not bring,
    Intel's collateral, and for other kinds all that came along."""
    lacks: Text = ""
    """Why the collateral did not count, or empty."""
    crls: Annotated[tuple[Annotated[bytes, Size(1, 64 << 10)], ...], Size(0, 8)]
    manifest_digest: Annotated[bytes, Size(0, 32)]
    nonce: Annotated[bytes, Size(0, 64)]
    """Empty if the appraiser sent no challenge of its own."""
    report_data: Annotated[bytes, Size(0, 64)] = b""
    """What evidence of another kind had to be bound to; empty: nothing."""
    product: Annotated[str, Size(0, 32)] = ""
    """The product line that it had to be of, or empty."""
    policy: Annotated[bytes, Size(0, MAX_ASKED)] = b""
    """What the verdict was under, if that was given along and not activated."""
    policy_name: Text
    policy_version: Annotated[int, Range(0, (1 << 53) - 1)]
    policy_digest: Digest
    verdict: Verdict
    reason: Annotated[str, Size(0, 64)]

    def moment(self) -> datetime:
        """When it was judged."""
        return moment(self.at)

    def by_role(self) -> Files:
        """The files; several of one role in their order."""
        found: Files = {}
        for file in self.files:
            found[file.role] = (*found.get(file.role, ()), file.body)
        return found


def moment(at: int) -> datetime:
    """A time in milliseconds since 1970."""
    return datetime.fromtimestamp(at / _MILLISECONDS, UTC)


def kept(files: Files) -> tuple[KeptFile, ...]:
    """Files in the form in which a record holds them."""
    return tuple(KeptFile(role=role, body=body) for role in files for body in files[role])


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
    """The judge of evidence of every kind, under these roots."""

    def judge(record: AppraisalRecord, document: PolicyDocument) -> Appraisal | None:
        of = _judge_kind if record.kind else _judge_document
        return of(record, document, trust)

    return judge


def _judge_document(
    record: AppraisalRecord, document: PolicyDocument, trust: TrustStore
) -> Appraisal | None:
    try:
        tee = documents.parse(record.evidence).tee.value
    except EvidenceError:
        # Malformed under every policy; any section will say so.
        tee = next(iter(document.sections), "")
    policy = document.sections.get(tee)
    if policy is None:
        return None
    files = record.by_role()
    return appraise_document(
        record.evidence,
        trust=trust,
        policy=policy,
        manifest_digest=record.manifest_digest,
        nonce=record.nonce or None,
        now=record.moment(),
        certs=files.get("certs", ()),
        crls=record.crls,
        collateral=collateral_of(files),
        lacks=record.lacks,
    )


def _judge_kind(
    record: AppraisalRecord, document: PolicyDocument, trust: TrustStore
) -> Appraisal | None:
    policy = requirements(record.kind, document, record.report_data)
    if policy is None:
        return None
    return appraise_kind(
        record.kind,
        record.evidence,
        files=record.by_role() | ({"crls": record.crls} if record.crls else {}),
        policy=policy,
        policy_digest=document.digest.hex(),
        product=record.product,
        trust=trust,
        now=record.moment(),
        evidence_digest=documents.digest(record.evidence).hex(),
        lacks=record.lacks,
    )


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
