"""The AsyncAPI 3.0 document, made from the tables of subjects, endpoints, streams and messages.

Source: AsyncAPI specification 3.0.0 and its bindings for NATS 0.1.0. The application is a
deployment: it receives requests and submissions and sends events. Schemas are of the JSON
form of the messages; channels that only Atoll's own processes use carry the same in
MessagePack, and say so.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from atoll import version
from atoll.wire import cloudevents, media, messages, schema, subjects, tenancy, topology
from atoll.wire.endpoints import ENDPOINTS, Endpoint
from atoll.wire.subjects import Subject
from atoll.wire.submission import SubmissionEvent, SubmissionOutcome
from atoll.wire.topology_types import Stream
from atoll.wire.webhooks import DeliveryOrder

SPECIFICATION: Final = "3.0.0"
_BINDING: Final = "0.1.0"
_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")
_TOKEN: Final = "A name: 1 to 64 of A-Z a-z 0-9 _ -"  # noqa: S105 - a subject token
_OTHER: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """A subject that a stream stores: what is published there, and by whom it is meant to be."""

    id: str
    address: str
    summary: str
    stream: Stream
    action: Literal["send", "receive"]
    message: type | None = None
    """None: what `text` says."""
    text: str = ""
    media: str = media.MSGPACK
    enums: tuple[tuple[str, tuple[str, ...]], ...] = ()


_HISTORY: Final = topology.events_of(tenancy.HOUSE)
"""A tenant's own stream: `EVENTS_<tenant>`, in the JetStream domain `atoll`."""

STREAMED: Final = (
    Streamed(
        id="intake",
        address=subjects.INTAKE.template,
        summary="Submit without waiting for an answer; the last token is the idempotency key.",
        stream=topology.INTAKE,
        action="receive",
        message=messages.SubmitRequest,
        media=media.JSON,
    ),
    Streamed(
        id="deliveries",
        address=subjects.DELIVERY.template,
        summary="Events that gateways are to post to webhooks.",
        stream=topology.DELIVERIES,
        action="send",
        message=DeliveryOrder,
    ),
    Streamed(
        id="jobEvents",
        address="atoll.v1.event.job.{job_id}.{type}",
        summary="The history of a job: CloudEvents 1.0 in binary mode, `sequence` without gaps.",
        stream=_HISTORY,
        action="send",
        message=messages.JobEvent,
        media=media.JSON,
        enums=(("type", tuple(kind.value for kind in messages.EventType)),),
    ),
    Streamed(
        id="submissionEvents",
        address="atoll.v1.event.submission.{idempotency_key}.{outcome}",
        summary="What became of a submission to the intake: CloudEvents 1.0 in binary mode.",
        stream=_HISTORY,
        action="send",
        message=SubmissionEvent,
        media=media.JSON,
        enums=(("outcome", tuple(kind.value for kind in SubmissionOutcome)),),
    ),
    Streamed(
        id="history",
        address=subjects.HISTORY.template,
        summary="The events of all tenants, from which each tenant's own stream is made.",
        stream=topology.EVENTS,
        action="send",
        text="An event, as in a tenant's own stream.",
        media=media.JSON,
    ),
    Streamed(
        id="guestEvents",
        address=subjects.GUEST.template,
        summary="Copies for tenants that take part in a job of another.",
        stream=topology.EVENTS,
        action="send",
        text="An event, as in a tenant's own stream.",
        media=media.JSON,
    ),
    Streamed(
        id="spawn",
        address=subjects.SPAWN.template,
        summary="An enclave is wanted.",
        stream=topology.SPAWN,
        action="send",
        message=messages.SpawnRequest,
        enums=(("tee", tuple(tee.value for tee in messages.Tee)),),
    ),
    Streamed(
        id="spawnClass",
        address=subjects.SPAWN_CLASS.template,
        summary="An enclave is wanted, for a job that needs more of a host than any has.",
        stream=topology.SPAWN,
        action="send",
        message=messages.SpawnRequest,
        enums=(("tee", tuple(tee.value for tee in messages.Tee)),),
    ),
    Streamed(
        id="assign",
        address=subjects.ASSIGN.template,
        summary="What an admitted enclave is to run.",
        stream=topology.ENCLAVE,
        action="send",
        message=messages.Assignment,
    ),
    Streamed(
        id="release",
        address=subjects.RELEASE.template,
        summary="A content key for one enclave, sealed to it and signed by its owner.",
        stream=topology.ENCLAVE,
        action="receive",
        text="A key release (`atoll.sealing.release.KeyRelease`).",
    ),
    Streamed(
        id="report",
        address=subjects.REPORT.template,
        summary="What managers and enclaves tell the ledger.",
        stream=topology.REPORTS,
        action="receive",
        message=messages.Report,
    ),
    Streamed(
        id="appraisals",
        address=subjects.APPRAISAL.template,
        summary="Every appraisal with its evidence, for replay.",
        stream=topology.APPRAISALS,
        action="send",
        text="A kept appraisal (`atoll.policy.records`).",
        media=_OTHER,
    ),
    Streamed(
        id="traces",
        address=subjects.TELEMETRY_TRACES.template,
        summary="Spans.",
        stream=topology.TELEMETRY,
        action="send",
        text="OTLP `ExportTraceServiceRequest`, protobuf.",
        media="application/x-protobuf",
    ),
    Streamed(
        id="audit",
        address=subjects.AUDIT.template,
        summary="Who did what, in chains by writer.",
        stream=topology.AUDIT,
        action="send",
        text="A record of the audit (`docs/audit.md`).",
        media=_OTHER,
    ),
    Streamed(
        id="dead",
        address=subjects.DEAD.template,
        summary="What nobody could process; headers `atoll-subject` and `atoll-reason`.",
        stream=topology.DEAD,
        action="send",
        text="The message as it was.",
        media=_OTHER,
    ),
)


def document(release: str = version.VERSION) -> dict[str, Any]:
    """The whole document, as plain JSON values."""
    rows = [*(_served(row) for row in ENDPOINTS), *(_streamed(row) for row in STREAMED)]
    schemas = {cls.__name__: schema.json_schema(cls) for cls in _messages()}
    return {
        "asyncapi": SPECIFICATION,
        "id": cloudevents.DOCUMENT,
        "info": {
            "title": "Atoll on NATS",
            "version": release,
            "description": (
                "Jobs over sealed assets, and what happens to them. Bytes in JSON are unpadded "
                "base64url. A request with the header `content-type: application/json` is answered "
                "in JSON, errors as `ErrorReply` behind the headers of NATS ADR-32."
            ),
        },
        "defaultContentType": media.JSON,
        "servers": {
            "bus": {
                "host": "{host}:{port}",
                "protocol": "nats",
                "description": "nats-server 2.11 or later with JetStream.",
                "variables": {"host": {"default": "127.0.0.1"}, "port": {"default": "4222"}},
                "security": [{"$ref": "#/components/securitySchemes/login"}],
            }
        },
        "channels": {row.id: row.channel for row in rows},
        "operations": {row.id: row.operation for row in rows},
        "components": {
            "schemas": {**schemas, "CloudEventHeaders": _event_headers()},
            "messages": dict(sorted(item for row in rows for item in row.messages.items())),
            "securitySchemes": {
                "login": {
                    "type": "asymmetricEncryption",
                    "description": "A creds file: a JWT of NATS and the nkey that it names; "
                    "what a login may do follows from its role.",
                }
            },
        },
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    id: str
    channel: dict[str, Any]
    operation: dict[str, Any]
    messages: dict[str, dict[str, Any]]


def _served(row: Endpoint[object, object]) -> _Row:
    """A request and its reply."""
    name = f"{row.subject.template.split('.')[2]}_{row.name}"
    asked, answered = row.request.__name__, row.reply.__name__
    pointer = f"#/channels/{name}/messages"
    return _Row(
        id=name,
        channel={
            "address": row.subject.template,
            "summary": row.summary,
            "servers": [{"$ref": "#/servers/bus"}],
            "messages": {
                item: {"$ref": f"#/components/messages/{item}"}
                for item in (asked, answered, "ErrorReply")
            },
            "x-atoll-callers": sorted(row.callers),
        },
        operation={
            "action": "receive",
            "summary": row.summary,
            "channel": {"$ref": f"#/channels/{name}"},
            "messages": [{"$ref": f"{pointer}/{asked}"}],
            # The reply goes to the request's reply subject, which is no header or payload.
            "reply": {
                "channel": {"$ref": f"#/channels/{name}"},
                "messages": [{"$ref": f"{pointer}/{item}"} for item in (answered, "ErrorReply")],
            },
            "bindings": {"nats": {"queue": "q", "bindingVersion": _BINDING}},
            "x-atoll-owner": row.owner,
        },
        messages={
            cls.__name__: _message(cls.__name__, media.JSON)
            for cls in (row.request, row.reply, messages.ErrorReply)
        },
    )


def _streamed(row: Streamed) -> _Row:
    if row.message is None:
        name = f"{row.id}Message"
        message: dict[str, Any] = {"name": name, "contentType": row.media, "summary": row.text}
    else:
        name = row.message.__name__
        message = _message(name, row.media)
    if row.stream in {topology.EVENTS, _HISTORY}:
        message["headers"] = {"$ref": "#/components/schemas/CloudEventHeaders"}
    enums = dict(row.enums)
    return _Row(
        id=row.id,
        channel={
            "address": row.address,
            "summary": row.summary,
            "servers": [{"$ref": "#/servers/bus"}],
            "messages": {name: {"$ref": f"#/components/messages/{name}"}},
            "parameters": {
                found: {"enum": list(enums[found])} if found in enums else {"description": _TOKEN}
                for found in _PLACEHOLDER.findall(row.address)
            },
            "x-atoll-stream": {
                "name": row.stream.name,
                "retention": row.stream.retention,
                "max_age_s": int(row.stream.max_age_s),
                "duplicate_window_s": int(row.stream.duplicate_window_s),
            },
            "x-atoll-writers": sorted(set(_writers(row.address))),
            "x-atoll-readers": sorted(_readers(row.stream)),
        },
        operation={
            "action": row.action,
            "summary": row.summary,
            "channel": {"$ref": f"#/channels/{row.id}"},
            "messages": [{"$ref": f"#/channels/{row.id}/messages/{name}"}],
        },
        messages={name: message},
    )


def _message(name: str, kind: str) -> dict[str, Any]:
    found = {
        "name": name,
        "contentType": kind,
        "payload": {"$ref": f"#/components/schemas/{name}"},
    }
    if kind == media.MSGPACK:
        found["summary"] = "The schema is of the JSON form; here it travels as MessagePack."
    return found


def _event_headers() -> dict[str, Any]:
    """Headers of the binary mode; names as on the wire, values percent-encoded."""
    attributes = cloudevents.json_schema(messages.JobEvent)
    own = {
        f"ce-{name}": value
        for name, value in attributes["properties"].items()
        if name not in {"data", "atollplace"}
    }
    return {
        "title": "CloudEventHeaders",
        "type": "object",
        "properties": {
            **own,
            media.CONTENT_TYPE: {"type": "string", "const": media.JSON},
            cloudevents.TRACEPARENT: {"type": "string"},
        },
        "required": [
            *(f"ce-{name}" for name in attributes["required"] if name != "data"),
            media.CONTENT_TYPE,
        ],
    }


def _writers(address: str) -> Iterator[str]:
    wildcard = Subject(address).wildcard
    if wildcard in tenancy.may_publish(tenancy.HOUSE):
        yield "client"
    for template, roles in topology.WRITERS.items():
        if Subject(template).wildcard == wildcard or (
            template == subjects.HISTORY.wildcard and wildcard.startswith("atoll.v1.event.")
        ):
            yield from roles


def _readers(stream: Stream) -> set[str]:
    workers = topology.WORKERS.get(stream.name)
    reads = f"$JS.{tenancy.DOMAIN}.API.CONSUMER.CREATE.{stream.name}.>"
    clients = {"client"} if reads in tenancy.may_publish(tenancy.HOUSE) else set()
    return {*clients, *topology.READERS.get(stream.name, ()), *(workers[0] if workers else ())}


def _messages() -> list[type]:
    found = {cls.__name__: cls for row in ENDPOINTS for cls in (row.request, row.reply)}
    found |= {row.message.__name__: row.message for row in STREAMED if row.message is not None}
    found[messages.ErrorReply.__name__] = messages.ErrorReply
    return [found[name] for name in sorted(found)]
