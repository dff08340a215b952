"""One record of the audit. It never holds a secret, a plaintext or what a caller wrote freely."""

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Final

from atoll.wire.access import DEFAULT_TENANT
from atoll.wire.messages import Sha256
from atoll.wire.schema import Code, Pattern, Range, Size, Timestamp, Token, message

MAX_OBJECT: Final = 256
MAX_ACTOR: Final = 128


class Action(Enum):
    """What was done. The value is the last token of the record's subject."""

    JOB_SUBMIT = "job_submit"
    JOB_CANCEL = "job_cancel"
    CONSENT_WITHDRAW = "consent_withdraw"
    TOKEN_CREATE = "token_create"  # noqa: S105 - the name of an act
    TOKEN_REVOKE = "token_revoke"  # noqa: S105
    HOST_ORDER = "host_order"
    REQUEST_REFUSED = "request_refused"
    DEAD_REDRIVE = "dead_redrive"
    DEAD_DROP = "dead_drop"
    POLICY_ACTIVATE = "policy_activate"
    LEVEL_RAISE = "level_raise"


class ActorKind(Enum):
    """How the actor was known: by an access token, a login of the bus, or a party's signature."""

    TOKEN = "token"  # noqa: S105 - the name of a kind
    LOGIN = "login"
    PARTY = "party"


class Outcome(Enum):
    """`begun` stands before every act of an operator, so that none goes unrecorded; another
    record says how it ended."""

    BEGUN = "begun"
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


_Printable = Pattern(r"[\x20-\x7e]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """What somebody wants on record; the writer adds its place in the chain and the time."""

    action: Action
    actor_kind: ActorKind
    actor: str
    """A token's id, the bus login's name, or the party's."""
    tenant: str = DEFAULT_TENANT
    object: str = ""
    """What it was done to: a job's id, a token's, a policy's name and version."""
    outcome: Outcome = Outcome.DONE
    code: str | None = None
    """Why not, if it was refused or failed."""
    request_id: str | None = None
    trace_id: str | None = None
    source: str = ""
    """The address of the caller, if one was seen."""


@message
class AuditRecord:
    """A record as it is stored (stream `AUDIT`)."""

    version: Annotated[int, Range(1, 1)] = 1
    writer: Token
    """One run of one process."""
    seq: Annotated[int, Range(1, 1 << 52)]
    """Counts the writer's records from 1."""
    previous: Sha256
    """SHA-256 of the writer's record before, as it was stored; of its first: of the newest record
    of the stream when it began, whoever's; zeros: there was none."""
    time_ms: Timestamp
    tenant: Token
    action: Action
    actor_kind: ActorKind
    actor: Annotated[str, _Printable, Size(1, MAX_ACTOR)]
    object: Annotated[str, _Printable, Size(0, MAX_OBJECT)] = ""
    outcome: Outcome
    code: Code | None = None
    request_id: Token | None = None
    trace_id: Annotated[str, Pattern(r"[0-9a-f]{32}")] | None = None
    source: Annotated[str, _Printable, Size(0, 64)] = ""
    unrecorded: Annotated[int, Range(0, 1 << 52)] = 0
    """Records of this writer, since the one before, that the stream did not take."""
