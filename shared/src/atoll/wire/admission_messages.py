"""Messages about who may be on the bus: admission, connections, revocations."""

from enum import Enum
from typing import Annotated

from atoll.wire.messages import MAX_EVIDENCE, MAX_TOKEN, Attempt
from atoll.wire.schema import Digest, Pattern, Range, Size, Text, Timestamp, Token, message


@message
class AdmitRequest:
    """An enclave asks to be let onto the bus; see `atoll.wire.admission.bound`."""

    evidence: Annotated[bytes, Size(1, MAX_EVIDENCE)]
    bus_key: Annotated[str, Pattern("U[A-Z2-7]{55}")]
    job_id: Token
    attempt: Attempt
    host_id: Token
    signature: Annotated[bytes, Size(64, 64)]
    """By the signing key that the evidence vouches for."""


@message
class AdmitReply:
    """The verdict, and a ticket if it is a good one (`atoll.wire.admission`)."""

    ear: Annotated[str, Size(1, MAX_TOKEN)]
    verdict: Annotated[str, Pattern("pass|fail")]
    reason: Annotated[str, Size(0, 64)] = ""
    ticket: Annotated[str, Size(0, 4096)] = ""
    expires_ms: Timestamp = 0


@message
class SessionRecord:
    """An enclave's connection (bucket `sessions`, key: enclave id), so that it can be ended."""

    server_id: Token
    connection: Annotated[int, Range(0, (1 << 53) - 1)]
    host_id: Token
    chip_id: Annotated[str, Size(0, 128)]
    measurement: Annotated[str, Size(0, 128)]
    policy_digest: Digest
    expires_ms: Timestamp


class RevokedKind(Enum):
    """What an enclave can be turned away for."""

    ENCLAVE = "enclave"
    HOST = "host"
    CHIP = "chip"
    MEASUREMENT = "measurement"
    POLICY = "policy"


RevokedId = Annotated[str, Pattern(r"[A-Za-z0-9_-]{1,128}")]


@message
class RevocationRecord:
    """Somebody turned away all enclaves of this kind and id (bucket `revocations`)."""

    kind: RevokedKind
    id: RevokedId
    reason: Text
    revoked_ms: Timestamp


@message
class RevokeRequest:
    kind: RevokedKind
    id: RevokedId
    reason: Text


@message
class ReinstateRequest:
    kind: RevokedKind
    id: RevokedId


@message
class RevocationsRequest:
    pass


@message
class Revocations:
    """All that holds, and how many connections a request ended."""

    revocations: Annotated[tuple[RevocationRecord, ...], Size(0, 1000)]
    ended: Annotated[int, Range(0, 1 << 31)] = 0
