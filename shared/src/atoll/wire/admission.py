"""What an enclave may do on the bus, before and after its evidence was appraised. Pure.

The two shapes are written as templates that the server fills in from a user's JWT (scoped
signing keys): whoever holds such a key can make logins of this shape and of no other.

    {{name()}}        an applicant's bus key; an admitted enclave's id
    {{tag(job)}}      the job it was started for
    {{tag(attempt)}}  and the attempt
"""

from dataclasses import dataclass
from typing import Annotated, Final

from atoll.credentials import jwt
from atoll.credentials.claims import Permissions
from atoll.credentials.nkey import KeyPair, Kind
from atoll.errors import InputError
from atoll.wire import endpoints, schema, subjects, topology
from atoll.wire.messages import Attempt
from atoll.wire.schema import Digest, Pattern, Size, Timestamp, Token, message

APPLICANT: Final = "applicant"
ENCLAVE: Final = "enclave"

APPLICANT_S: Final = 60
"""How long an applicant stays connected."""

_NAME: Final = "{{name()}}"
_JOB: Final = "{{tag(job)}}"
_ATTEMPT: Final = "{{tag(attempt)}}"
_API: Final = "$JS.API"
_OUTCOME: Final = f"$KV.{topology.OUTCOMES.name}.{_JOB}.{_ATTEMPT}"
_ASSETS: Final = f"OBJ_{topology.ASSETS.name}"
_RESULTS: Final = f"OBJ_{topology.RESULTS.name}"

APPLICANT_TEMPLATE: Final = Permissions(
    publish=(endpoints.NONCE.subject.template, endpoints.ADMIT.subject.template),
    subscribe=(f"{topology.inbox('enclave')}.{_NAME}.>",),
)
"""Ask for a challenge and for admission; hear the answers. Nothing else."""

ENCLAVE_TEMPLATE: Final = Permissions(
    publish=(
        subjects.REPORT.template.replace("{job_id}", _JOB),
        subjects.TELEMETRY_TRACES.wildcard,
        _OUTCOME,
        f"{_API}.DIRECT.GET.KV_{topology.OUTCOMES.name}.{_OUTCOME}",
        # What an object is stored under is 88 random bits that only its maker knows.
        f"$O.{topology.RESULTS.name}.C.*",
        f"$O.{topology.RESULTS.name}.M.*",
        f"{_API}.DIRECT.GET.{_RESULTS}.$O.{topology.RESULTS.name}.M.*",
        f"{_API}.DIRECT.GET.{_ASSETS}.$O.{topology.ASSETS.name}.M.*",
        f"{_API}.CONSUMER.CREATE.{_ASSETS}.*.$O.{topology.ASSETS.name}.C.*",
        *(
            f"{_API}.CONSUMER.CREATE.{topology.ENCLAVE.name}.*."
            + each.template.replace("{enclave_id}", _NAME)
            for each in (subjects.ASSIGN, subjects.RELEASE)
        ),
        # To go on with an upload that a lost connection interrupted: what of it is stored, and
        # out with what was stored out of order.
        f"{_API}.DIRECT.GET.{_RESULTS}.$O.{topology.RESULTS.name}.C.*",
        f"{_API}.CONSUMER.CREATE.{_RESULTS}.*.$O.{topology.RESULTS.name}.C.*",
        f"{_API}.STREAM.MSG.DELETE.{_RESULTS}",
        # On a cluster, what is newest is asked of the leader.
        *(
            f"{_API}.STREAM.MSG.GET.{stream}"
            for stream in (_ASSETS, _RESULTS, f"KV_{topology.OUTCOMES.name}")
        ),
        # A consumer's name is 128 random bits that only its maker knows.
        *(
            f"{_API}.CONSUMER.{verb}.{stream}.*"
            for stream in (_ASSETS, _RESULTS, topology.ENCLAVE.name)
            for verb in ("MSG.NEXT", "DELETE")
        ),
    ),
    subscribe=(f"{topology.inbox('enclave')}.{_NAME}.>",),
)
"""Everything of its own job and attempt; ciphertext of assets, which it can open by a release."""

AdmissionText = Annotated[str, Size(0, 128)]
PURPOSE: Final = "atoll admission v1"
_TICKET: Final = "atoll_admission"


@message
class Admission:
    """What a ticket says: who was admitted, on what grounds, for which work."""

    enclave_id: Token
    job_id: Token
    attempt: Attempt
    host_id: Token
    chip_id: AdmissionText = ""
    """Of the processor, in hex, if the evidence names one."""
    measurement: AdmissionText = ""
    policy_digest: Digest
    nonce_ms: Timestamp
    """When the challenge was handed out that its evidence answers."""
    type: Annotated[str, Pattern(_TICKET)] = _TICKET


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """An admission, the bus key that it is for, and its end in seconds since 1970."""

    admission: Admission
    bus_key: str
    expires: int


def issue_ticket(ticket: Ticket, *, by: KeyPair, now: int) -> str:
    """Sign it with a key of the account."""
    return jwt.sign(
        schema.to_plain(ticket.admission, json=True),
        by=by,
        subject=ticket.bus_key,
        now=now,
        expires=ticket.expires,
    )


def read_ticket(token: str, *, issuer: str, now: int, skew_s: int = 0) -> Ticket:
    """A ticket that `issuer` signed and that holds now.

    Raises:
        InputError: `jwt.invalid`, `jwt.expired`, `jwt.not_yet`; `ticket.foreign`: another signed
            it; `ticket.invalid`: it says no admission.
    """
    statement = jwt.read(token, Kind.ACCOUNT)
    if statement.issuer != issuer:
        raise InputError("the ticket is of another deployment", code="ticket.foreign")
    statement.require_current(now=now, skew_s=skew_s)
    if not statement.expires:
        raise InputError("a ticket without an end", code="ticket.invalid")
    try:
        admission = schema.from_plain(Admission, dict(statement.nats), json=True)
    except InputError as error:
        raise InputError(f"not a ticket: {error.message}", code="ticket.invalid") from error
    return Ticket(admission=admission, bus_key=statement.subject, expires=statement.expires)


def application(bus_key: str) -> str:
    """What an applicant shows instead of a ticket."""
    return f"{APPLICANT}.{bus_key}"


def bound(
    nonce: bytes, evidence_digest: bytes, bus_key: str, work: tuple[str, int, str]
) -> tuple[bytes, ...]:
    """What the attested key signs, under `PURPOSE`, in a request for admission: that this bus key
    is the enclave's, for this work (job, attempt, host), in answer to this challenge.

    The bus key is another one than the attested key, because the server chooses what a bus
    key signs at each connection.
    """
    job_id, attempt, host_id = work
    texts = (bus_key, job_id, str(attempt), host_id)
    return (nonce, evidence_digest, *(text.encode() for text in texts))
