"""Events as CloudEvents 1.0: binary mode on the bus, structured mode for HTTP and files.

Sources: CloudEvents 1.0.2; its JSON event format; its NATS protocol binding (working draft with
headers: each attribute is `ce-<name>`, percent-encoded as in section 3.1.3.2 of the HTTP
binding); its extensions "sequence" and "distributed tracing".

    specversion  1.0
    id           unique, also over repetitions: `<job id>.<seq>`
    source       `urn:atoll:job:<job id>`, within which `sequence` counts from 1 without gaps
    type         `atoll.job.<type>.v1`; the version changes when `data` does
    subject      the job's id
    dataschema   the schema of `data` within the AsyncAPI document
    traceparent  the trace that the job belongs to, when there is one

The binding files `datacontenttype` as `ce-datacontenttype`; `content-type` says the same for
consumers that know only that. `data` is JSON, so that reading it takes nothing of ours.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from atoll import canonical
from atoll.errors import InputError, MessageError
from atoll.wire import media, schema, subjects
from atoll.wire.messages import JobEvent
from atoll.wire.subjects import Subject
from atoll.wire.submission import SubmissionEvent

Event = JobEvent | SubmissionEvent

DOCUMENT: Final = "urn:atoll:asyncapi:v1"
"""The id of the AsyncAPI document (`atoll.wire.asyncapi`)."""

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
JOB: Final = "job"
SUBMISSION: Final = "submission"
TRACEPARENT: Final = "traceparent"

_PREFIX: Final = "ce-"
_DIGITS: Final = 10
"""`sequence` must sort as text too."""

_ENCODED: Final = re.compile("[^!#$&-~]")
"""What the HTTP binding percent-encodes: all but printable ASCII, and space, `"` and `%`."""


def subject_of(event: Event, tenant: str, *, guest: bool = False) -> str:
    """The subject that an event of a tenant is published on; with `guest`, its copy for another
    tenant that takes part."""
    subject = subjects.GUEST if guest else subjects.HISTORY
    if isinstance(event, JobEvent):
        return subject.of(tenant, JOB, event.job_id, event.type.value)
    return subject.of(tenant, SUBMISSION, event.idempotency_key, event.outcome.value)


def tenant_of(subject: str) -> str:
    """Whose event it is, in the history of all tenants.

    Raises:
        MessageError: it does not stand there.
    """
    try:
        return subjects.HISTORY.read(subject)[0]
    except InputError as error:
        raise MessageError(error.message) from error


def attributes(event: Event, traceparent: str = "") -> dict[str, str]:
    """The context attributes of an event, all of them strings."""
    found = {
        "specversion": "1.0",
        "id": event_id(event),
        **_origin(event),
        "time": time_text(event.time_ms),
        "datacontenttype": media.JSON,
        "dataschema": f"{DOCUMENT}#/components/schemas/{type(event).__name__}",
    }
    if isinstance(event, JobEvent):
        found["sequence"] = f"{event.seq:0{_DIGITS}}"
        found["sequencetype"] = "Integer"
    if traceparent:
        found[TRACEPARENT] = traceparent
    return found


def event_id(event: Event) -> str:
    """The same for the same event, however often it is published."""
    if isinstance(event, JobEvent):
        return f"{event.job_id}.{event.seq}"
    return f"{event.idempotency_key}.{event.message_digest[:16]}.{event.outcome.value}"


def binary(event: Event, traceparent: str = "") -> tuple[dict[str, str], bytes]:
    """Headers and payload of an event on the bus."""
    headers = {
        _PREFIX + name: _percent(value) for name, value in attributes(event, traceparent).items()
    }
    headers[media.CONTENT_TYPE] = media.JSON
    if traceparent:
        headers[TRACEPARENT] = traceparent  # where the rest of Atoll and nats-server look
    return headers, media.encode(event, media.JSON)


def structured(event: Event, traceparent: str = "", *, place: int | None = None) -> dict[str, Any]:
    """An event in the JSON event format.

    Args:
        event: what happened.
        traceparent: the trace it belongs to, or empty.
        place: where it stands among all events; `after` of a replay of all jobs takes it.
    """
    plain: dict[str, Any] = dict(attributes(event, traceparent))
    if place is not None:
        # Decimal text: the extension's type is String, since Integer has only 32 bits.
        plain["atollplace"] = str(place)
    return {**plain, "data": schema.to_plain(event, json=True)}


def structured_bytes(event: Event, traceparent: str = "", *, place: int | None = None) -> bytes:
    """`structured`, as canonical JSON."""
    return canonical.dumps(structured(event, traceparent, place=place))


def read(subject: str, headers: Mapping[str, str], payload: bytes) -> Event:
    """The event in a message of the history of all tenants, or of one's own.

    Also what was stored before events were JSON: `content-type` says so.

    Raises:
        MessageError: it is none, or stands on another's subject.
    """
    try:
        *_, entity, entity_id, kind = _form_of(subject).read(subject)
    except InputError as error:
        raise MessageError(error.message) from error
    event: Event
    if entity == JOB:
        event = read_job(headers, payload)
        named = (event.job_id, event.type.value)
    elif entity == SUBMISSION:
        event = media.decode(SubmissionEvent, payload, media.of(headers))
        named = (event.idempotency_key, event.outcome.value)
    else:
        raise MessageError(f"events about {entity!r} are not known")
    if named != (entity_id, kind):
        raise MessageError(f"an event about {named[0]!r} came as {subject[:160]!r}")
    return event


def _form_of(subject: str) -> Subject:
    whole = subject.count(".") == subjects.HISTORY.template.count(".")
    return subjects.HISTORY if whole else subjects.EVENT


def read_job(headers: Mapping[str, str], payload: bytes) -> JobEvent:
    """The event of a job.

    Raises:
        MessageError: it is none.
    """
    return media.decode(JobEvent, payload, media.of(headers))


def json_schema(*data: type) -> dict[str, Any]:
    """JSON Schema of the structured form of events with one of these types of data."""
    text = {"type": "string", "minLength": 1}
    schemas = [schema.json_schema(cls) for cls in data]
    return {
        "title": "CloudEvent",
        "type": "object",
        "properties": {
            "specversion": {"type": "string", "const": "1.0"},
            "id": text,
            "source": {**text, "format": "uri-reference"},
            "type": text,
            "subject": text,
            "time": {"type": "string", "format": "date-time"},
            "datacontenttype": {"type": "string", "const": media.JSON},
            "dataschema": {**text, "format": "uri"},
            "sequence": {"type": "string", "pattern": f"^[0-9]{{{_DIGITS}}}$"},
            "sequencetype": {"type": "string", "const": "Integer"},
            TRACEPARENT: text,
            "atollplace": {"type": "string", "pattern": "^[0-9]+$"},
            "data": schemas[0] if len(schemas) == 1 else {"oneOf": schemas},
        },
        "required": ["specversion", "id", "source", "type", "time", "data"],
        "additionalProperties": False,
    }


def _origin(event: Event) -> dict[str, str]:
    if isinstance(event, JobEvent):
        entity, name, kind = JOB, event.job_id, event.type.value
    else:
        entity, name, kind = SUBMISSION, event.idempotency_key, event.outcome.value
    return {
        "source": f"urn:atoll:{entity}:{name}",
        "type": f"atoll.{entity}.{kind}.v1",
        "subject": name,
    }


def time_text(time_ms: int) -> str:
    """RFC 3339, milliseconds, UTC."""
    time = datetime.fromtimestamp(time_ms / 1000, UTC)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _percent(value: str) -> str:
    return _ENCODED.sub(
        lambda found: "".join(f"%{byte:02X}" for byte in found.group().encode()), value
    )
