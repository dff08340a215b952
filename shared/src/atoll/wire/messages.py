"""Every message on the bus. The version is in the subject (`atoll.v1.`)."""

from enum import Enum
from typing import Annotated, Final

from atoll.wire import names
from atoll.wire.level import Since
from atoll.wire.schema import (
    MAX_TEXT,
    Code,
    Digest,
    Name,
    Pattern,
    Range,
    Size,
    Text,
    Timestamp,
    Token,
    message,
)
from atoll.wire.tee import Tee as Tee  # noqa: PLC0414 - a part of the messages

MAX_MANIFEST: Final = 256 << 10
MAX_EVIDENCE: Final = 112 << 10
MAX_TOKEN: Final = 32 << 10
MAX_CRL: Final = 64 << 10  # as in a kept appraisal (`atoll.policy.records`)
MAX_JWKS: Final = 16 << 10
MAX_POLICY: Final = 384 << 10
"""Bytes of the largest of each; of signed policies two share a message."""

MAX_LISTED: Final = 1000  # jobs of the longest list

Attempt = Annotated[int, Range(0, 1 << 31)]
Sha256 = Annotated[bytes, Size(32, 32)]
SpawnSeq = Annotated[int, Range(0, (1 << 53) - 1)]
"""A spawn request's number in its stream; 0: not known."""


class JobState(Enum):
    SUBMITTED = "submitted"
    SCHEDULED = "scheduled"
    ATTESTING = "attesting"
    AWAITING_ASSETS = "awaiting_assets"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def terminal(self) -> bool:
        return self in TERMINAL_STATES


TERMINAL_STATES: Final = frozenset(
    {JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED}
)


Signature = Annotated[bytes, Size(8, 512)]
"""Of a party, by Ed25519, ECDSA or RSA as its key says (`atoll.sealing.public_key`)."""


@message
class Consent:
    """A party agrees to a manifest; claims until `atoll.computation.consent` checked them."""

    version: Annotated[int, Range(1, 1)] = 1
    party: Name
    expires_ms: Timestamp
    signature: Signature


@message
class Withdrawal:
    """A party takes its consent back; likewise."""

    version: Annotated[int, Range(1, 1)] = 1
    party: Name
    manifest_digest: Sha256
    signature: Signature


@message
class AgreedManifest:
    """Canonical manifest bytes and the consents of its parties."""

    manifest: Annotated[bytes, Size(2, MAX_MANIFEST)]
    consents: Annotated[tuple[Consent, ...], Size(0, 32)]


@message
class SubmitRequest:
    agreed: AgreedManifest
    idempotency_key: Token
    """The same key gives the same job, however often it is submitted."""
    guests: Annotated[tuple[Token, ...], Size(0, 16)] = ()
    """Tenants that take part in it as well: they see the job and may release keys to it."""


@message
class JobRequest:
    job_id: Token


@message
class WithdrawRequest:
    withdrawal: Withdrawal


@message
class WithdrawReply:
    """The jobs that ended for it; those that had all their keys go on."""

    ended: Annotated[tuple[Token, ...], Size(0, 1000)]


@message
class JobListRequest:
    state: JobState | None = None
    limit: Annotated[int, Range(1, MAX_LISTED)] = 100


@message
class Reason:
    """Why a job ended as it did: a stable code and a sentence, never plaintext."""

    code: Code
    message: Text


def reason_of(code: str, text: str) -> Reason:
    """A reason that the ledger takes, from the word of an error: what is no code becomes
    `internal`, and the text is cut. Texts quote input; a lone surrogate has no UTF-8 form."""
    whole = text.encode("utf-8", "replace").decode()
    return Reason(code=code if names.is_code(code) else "internal", message=whole[:MAX_TEXT])


@message
class JobView:
    """A job as its owner may see it."""

    job_id: Token
    state: JobState
    tee: Tee
    manifest_digest: Digest
    attempt: Attempt
    seq: Annotated[int, Range(0, 1 << 31)]
    created_ms: Timestamp
    updated_ms: Timestamp
    expires_ms: Timestamp
    enclave_id: Token | None = None
    host_id: Token | None = None
    evidence_digest: Digest | None = None
    outcome_digest: Digest | None = None
    """SHA-256 of the one `OutcomeRecord` that is this job's; None: it has none."""
    reason: Reason | None = None
    trace_id: Annotated[str, Pattern(r"[0-9a-f]{32}")] | None = None
    tenant: Token = "main"
    """Whose it is: the tenant that submitted it."""
    guests: Annotated[tuple[Token, ...], Size(0, 16)] = ()


@message
class JobList:
    jobs: Annotated[tuple[JobView, ...], Size(0, MAX_LISTED)]


class EventType(Enum):
    """One for each transition, and notices that change no state."""

    SUBMITTED = "submitted"
    SCHEDULED = "scheduled"
    ATTESTING = "attesting"
    AWAITING_ASSETS = "awaiting_assets"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    RETRYING = "retrying"
    RELEASE_REFUSED = "release_refused"


@message
class JobEvent:
    """One entry of a job's history; `seq` counts from 1 without gaps."""

    job_id: Token
    seq: Annotated[int, Range(1, 1 << 31)]
    type: EventType
    state: JobState
    attempt: Attempt
    time_ms: Timestamp
    enclave_id: Token | None = None
    host_id: Token | None = None
    evidence_digest: Digest | None = None
    outcome_digest: Digest | None = None
    reason: Reason | None = None
    asset: Name | None = None


class OutboxKind(Enum):
    EVENT = "event"
    SPAWN = "spawn"


@message
class OutboxItem:
    """Something decided together with a state and still to be done on the bus."""

    kind: OutboxKind
    event: JobEvent | None = None


@message
class JobRecord:
    """The ledger's entry for one job (bucket `jobs`), written by the gateway only."""

    version: Annotated[int, Range(1, 1)] = 1
    view: JobView
    traceparent: Annotated[str, Size(0, 64)] = ""
    spawn_seq: SpawnSeq = 0
    """The spawn request under which the job was leased first; every later one is a double."""
    holders: Annotated[tuple[Token, ...], Size(0, 16), Since(2)] = ()
    """Enclaves of earlier attempts that may have keys and live: nobody said that they are gone."""
    outbox: Annotated[tuple[OutboxItem, ...], Size(0, 64)] = ()


@message
class SpawnRequest:
    """An enclave is wanted for this job."""

    job_id: Token
    tee: Tee
    manifest_digest: Digest
    expires_ms: Timestamp


class ReportKind(Enum):
    LEASED = "leased"
    ATTESTING = "attesting"
    ADMITTED = "admitted"
    STARTED = "started"
    RELEASE_REFUSED = "release_refused"
    FINISHED = "finished"
    LOST = "lost"
    GAVE_UP = "gave_up"


@message
class Report:
    """What a manager or an agent tells the ledger about one attempt at a job."""

    job_id: Token
    attempt: Attempt
    kind: ReportKind
    enclave_id: Token
    host_id: Token | None = None
    spawn_seq: SpawnSeq = 0
    """With `leased`: the spawn request that the lease is on."""
    evidence_digest: Digest | None = None
    outcome_digest: Digest | None = None
    """With `finished`: of the outcome that this enclave stored."""
    asset: Name | None = None
    reason: Reason | None = None


@message
class Assignment:
    """What an admitted enclave is to run."""

    job_id: Token
    attempt: Attempt
    enclave_id: Token
    agreed: AgreedManifest


@message
class EvidenceRecord:
    """An enclave's current evidence (bucket `evidence`, key: enclave id)."""

    enclave_id: Token
    job_id: Token
    attempt: Attempt
    evidence: Annotated[bytes, Size(1, MAX_EVIDENCE)]
    ear: Annotated[str, Size(1, MAX_TOKEN)]


@message
class OutcomeRecord:
    """What an attempt gave (bucket `outcomes`, key: `<job_id>.<attempt>`)."""

    job_id: Token
    attempt: Attempt
    results: Annotated[dict[str, Annotated[bytes, Size(1, 96 << 10)]], Size(0, 16)]
    """By output, encoded `atoll.sealing.result.ResultRecord`."""
    receipt: Annotated[bytes, Size(0, 256 << 10)]
    """A receipt file (`atoll.receipt`)."""


@message
class NonceRequest:
    pass


@message
class NonceReply:
    nonce: Sha256
    expires_ms: Timestamp


@message
class AppraiseRequest:
    evidence: Annotated[bytes, Size(1, MAX_EVIDENCE)]


@message
class AppraiseReply:
    ear: Annotated[str, Size(1, MAX_TOKEN)]
    verdict: Annotated[str, Pattern("pass|fail")]
    reason: Annotated[str, Size(0, 64)] = ""
    warning: Annotated[str, Size(0, 64)] = ""
    """The check that a policy in mode warn would have refused this evidence for."""


@message
class KeysRequest:
    pass


@message
class VerificationKey:
    kid: Token
    public_key: Sha256


@message
class KeysReply:
    keys: Annotated[tuple[VerificationKey, ...], Size(1, 16)]
    jwks: Annotated[str, Size(0, MAX_JWKS)] = ""
    """The same keys as a JWK set (RFC 7517, RFC 8037)."""


@message
class PolicyRecord:
    """What is in force (bucket `policies`, key: the policy's name), as its owners signed it.

    Each of the two is a signed policy document (`atoll.policy.signed`), or empty.
    """

    version: Annotated[int, Range(1, 1)] = 1
    enforced: Annotated[bytes, Size(0, MAX_POLICY)]
    candidate: Annotated[bytes, Size(0, MAX_POLICY)]


@message
class CrlRecord:
    """A revocation list with its issuer's certificate, both in DER (bucket `collateral`)."""

    version: Annotated[int, Range(1, 1)] = 1
    crl: Annotated[bytes, Size(1, MAX_CRL)]
    ark: Annotated[bytes, Size(1, 32 << 10)]
    fetched_ms: Timestamp


@message
class ActivateRequest:
    signed: Annotated[bytes, Size(2, MAX_POLICY)]
    """A signed policy document."""


@message
class PolicyView:
    """Which versions of a policy are in force; 0: none."""

    name: Name
    highest: Annotated[int, Range(1, (1 << 53) - 1)]
    digest: Digest
    """Of the document with the highest version."""
    enforced: Annotated[int, Range(0, (1 << 53) - 1)]
    candidate: Annotated[int, Range(0, (1 << 53) - 1)]
    changed: bool
    """False: it was active already."""


@message
class ErrorReply:
    """What a failed request gets, behind the ADR-32 error headers."""

    code: Code
    message: Text
    error_id: Token
