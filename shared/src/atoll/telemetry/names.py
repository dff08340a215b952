"""Every span name and attribute key of a job, written once.

Names never hold an id, a size or anything else of one job: they are a closed set,
and `atoll.telemetry.allow` renames what is not in it. Messaging spans are named
`{operation} {destination template}` (OpenTelemetry messaging conventions); the
templates are those of `atoll.wire.subjects`.
"""

from typing import Final

from atoll.telemetry.span import AttributeValue
from atoll.wire import subjects

# Services, as `service.name`.
CLI: Final = "atoll-cli"
CLIENT: Final = "atoll-client"
STACK: Final = "atoll-stack"
GATEWAY: Final = "atoll-gateway"
MANAGER: Final = "atoll-manager"
ATTESTOR: Final = "atoll-attestor"
AGENT: Final = "atoll-agent"

# Client.
JOB_RUN: Final = "job run"
SEAL_ASSET: Final = "seal asset"
UPLOAD_ASSET: Final = "upload asset"
SUBMIT: Final = "submit"
APPRAISE_EVIDENCE: Final = "appraise evidence"
RELEASE_KEYS: Final = "release keys"
AWAIT_RESULT: Final = "await result"
OPEN_RESULT: Final = "open result"

# Gateway.
JOBS_SUBMIT: Final = "jobs.submit"
LEDGER_APPLY: Final = "ledger.apply"

# Manager.
SPAWN: Final = "spawn"
ENCLAVE_START: Final = "enclave start"
VERIFY_EAR: Final = "verify ear"
OFFER: Final = "offer"

# Attestor.
ATTEST_NONCE: Final = "attest.nonce"
ATTEST_APPRAISE: Final = "attest.appraise"

# Agent.
ENCLAVE_BOOT: Final = "enclave boot"
ENCLAVE_JOB: Final = "enclave job"
MAKE_KEYS: Final = "make keys"
QUOTE: Final = "quote"
APPRAISE: Final = "appraise"
AWAIT_RELEASES: Final = "await releases"
OPEN_ASSET: Final = "open asset"
RUN_WORKLOAD: Final = "run workload"
SEAL_RESULT: Final = "seal result"
SIGN_RECEIPT: Final = "sign receipt"
UPLOAD_RESULT: Final = "upload result"

OTHER: Final = "other"
"""What a name outside the closed set becomes, for spans and for services."""

SERVICES: Final = frozenset({CLI, CLIENT, STACK, GATEWAY, MANAGER, ATTESTOR, AGENT, OTHER})
OPERATIONS: Final = frozenset({"send", "receive", "process"})
DESTINATIONS: Final = frozenset(
    value.template for value in vars(subjects).values() if isinstance(value, subjects.Subject)
)
SPAN_NAMES: Final = frozenset(
    {
        *(JOB_RUN, SEAL_ASSET, UPLOAD_ASSET, SUBMIT),
        *(APPRAISE_EVIDENCE, RELEASE_KEYS, AWAIT_RESULT, OPEN_RESULT),
        *(JOBS_SUBMIT, LEDGER_APPLY),
        *(SPAWN, ENCLAVE_START, VERIFY_EAR, OFFER),
        *(ATTEST_NONCE, ATTEST_APPRAISE),
        *(ENCLAVE_BOOT, ENCLAVE_JOB, MAKE_KEYS, QUOTE, APPRAISE, AWAIT_RELEASES),
        *(OPEN_ASSET, RUN_WORKLOAD, SEAL_RESULT, SIGN_RECEIPT, UPLOAD_RESULT),
        *(f"{operation} {place}" for operation in OPERATIONS for place in DESTINATIONS),
        OTHER,
    }
)

# Attribute keys. What each may hold is in `atoll.telemetry.allow`.
ERROR_TYPE: Final = "error.type"
MESSAGING_SYSTEM: Final = "messaging.system"
MESSAGING_OPERATION_NAME: Final = "messaging.operation.name"
MESSAGING_OPERATION_TYPE: Final = "messaging.operation.type"
MESSAGING_DESTINATION_TEMPLATE: Final = "messaging.destination.template"
MESSAGING_MESSAGE_ID: Final = "messaging.message.id"
MESSAGING_CONVERSATION_ID: Final = "messaging.message.conversation_id"
MESSAGING_BODY_SIZE: Final = "messaging.message.body.size"
HTTP_METHOD: Final = "http.request.method"
HTTP_STATUS: Final = "http.response.status_code"
JOB_ID: Final = "atoll.job.id"
JOB_STATE: Final = "atoll.job.state"
JOB_ATTEMPT: Final = "atoll.job.attempt"
ENCLAVE_ID: Final = "atoll.enclave.id"
HOST_ID: Final = "atoll.host.id"
ASSET_ID: Final = "atoll.asset.id"
ASSET_ROLE: Final = "atoll.asset.role"
ASSET_SIZE: Final = "atoll.asset.size"
ASSET_COUNT: Final = "atoll.asset.count"
PARTY_COUNT: Final = "atoll.party.count"
RESULT_SIZE: Final = "atoll.result.size"
EVIDENCE_SIZE: Final = "atoll.evidence.size"
TEE: Final = "atoll.tee"
SIMULATED: Final = "atoll.tee.simulated"
VERDICT: Final = "atoll.verdict"
CHECK_COUNT: Final = "atoll.check.count"
DRIVER: Final = "atoll.driver"
DELIVERY_COUNT: Final = "atoll.delivery.count"


def messaging_span(operation: str, subject: subjects.Subject) -> str:
    """The span name of sending to, receiving from or processing `subject`.

    Raises:
        ValueError: an operation that has no span name; our own mistake.
    """
    name = f"{operation} {subject.template}"
    if name not in SPAN_NAMES:
        raise ValueError(f"no span is named {name!r}")
    return name


def messaging_attributes(
    operation: str, subject: subjects.Subject, *, size: int
) -> dict[str, AttributeValue]:
    """The attributes that every messaging span has; add ids as they are known."""
    return {
        MESSAGING_SYSTEM: "nats",
        MESSAGING_OPERATION_NAME: operation,
        MESSAGING_OPERATION_TYPE: operation,
        MESSAGING_DESTINATION_TEMPLATE: subject.template,
        MESSAGING_BODY_SIZE: size,
    }
