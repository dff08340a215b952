"""Events as CloudEvents: what the specifications say of attributes, headers and data."""

import json
import re
from typing import Any

import jsonschema_rs
import pytest

from atoll.errors import MessageError
from atoll.wire import cloudevents, media, schema, subjects
from atoll.wire.messages import (
    EventType,
    JobEvent,
    JobState,
    Reason,
)
from atoll.wire.submission import SubmissionEvent, SubmissionOutcome

TRACEPARENT = f"00-{'a' * 32}-{'b' * 16}-01"
EVENT = JobEvent(
    job_id="j1",
    seq=7,
    type=EventType.FAILED,
    state=JobState.FAILED,
    attempt=2,
    time_ms=1_800_000_000_123,
    reason=Reason(code="workload.exit", message='it said "ü" and 5 % more'),
)
SUBMISSION = SubmissionEvent(
    idempotency_key="order-7",
    outcome=SubmissionOutcome.REFUSED,
    time_ms=1_800_000_000_123,
    message_digest="ab" * 32,
    reason=Reason(code="consent.missing", message="no"),
)
SUBJECT = "atoll.v1.event.job.j1.failed"


def test_binary_mode_has_every_attribute_in_a_header() -> None:
    headers, payload = cloudevents.binary(EVENT, TRACEPARENT)
    assert headers == {
        "ce-specversion": "1.0",
        "ce-id": "j1.7",
        "ce-source": "urn:atoll:job:j1",
        "ce-type": "atoll.job.failed.v1",
        "ce-subject": "j1",
        "ce-time": "2027-01-15T08:00:00.123Z",
        "ce-datacontenttype": "application/json",
        "ce-dataschema": "urn:atoll:asyncapi:v1#/components/schemas/JobEvent",
        "ce-sequence": "0000000007",
        "ce-sequencetype": "Integer",
        "ce-traceparent": TRACEPARENT,
        "content-type": "application/json",
        "traceparent": TRACEPARENT,
    }
    assert json.loads(payload)["reason"]["message"] == 'it said "ü" and 5 % more'


@pytest.mark.parametrize("event", [EVENT, SUBMISSION])
def test_reads_what_it_wrote(event: cloudevents.Event) -> None:
    headers, payload = cloudevents.binary(event)
    assert "traceparent" not in headers
    subject = cloudevents.subject_of(event, "acme")
    assert cloudevents.read(subject, headers, payload) == event
    assert cloudevents.tenant_of(subject) == "acme"
    assert cloudevents.read(subject.replace(".acme", ""), headers, payload) == event


def test_a_header_has_printable_ascii_and_no_more() -> None:
    """HTTP protocol binding, 3.1.3.2; the euro sign is its own example."""
    assert cloudevents._percent('Euro € "5 %"') == "Euro%20%E2%82%AC%20%225%20%25%22"
    untouched = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
    assert cloudevents._percent(untouched) == untouched


@pytest.mark.parametrize("event", [EVENT, SUBMISSION])
def test_structured_mode_has_the_same_attributes_beside_the_data(event: cloudevents.Event) -> None:
    found = json.loads(cloudevents.structured_bytes(event, TRACEPARENT, place=12))
    data = found.pop("data")
    assert found.pop("atollplace") == "12"
    assert found == cloudevents.attributes(event, TRACEPARENT)
    assert schema.from_plain(type(event), data, json=True) == event


@pytest.mark.parametrize("event", [EVENT, SUBMISSION])
def test_the_structured_form_is_what_its_schema_says(event: cloudevents.Event) -> None:
    valid = jsonschema_rs.validator_for(cloudevents.json_schema(JobEvent, SubmissionEvent))
    plain = cloudevents.structured(event, TRACEPARENT, place=1)
    valid.validate(plain)
    for name in ("id", "source", "type", "specversion", "data"):
        changed: dict[str, Any] = {key: value for key, value in plain.items() if key != name}
        assert not valid.is_valid(changed), name


def test_names_of_attributes_are_what_the_specification_allows() -> None:
    for name in cloudevents.structured(EVENT, TRACEPARENT, place=1):
        assert re.fullmatch(r"[a-z0-9]{1,20}", name), name


def test_ids_and_sequences_follow_the_history() -> None:
    events = [JobEvent(**{**vars_of(EVENT), "seq": seq}) for seq in (9, 10, 100)]
    found = [cloudevents.attributes(event) for event in events]
    assert [item["id"] for item in found] == ["j1.9", "j1.10", "j1.100"]
    assert sorted(item["sequence"] for item in found) == [item["sequence"] for item in found]
    assert len({item["source"] for item in found}) == 1


def vars_of(event: JobEvent) -> dict[str, Any]:
    return {name: getattr(event, name) for name in JobEvent.__slots__}  # type: ignore[attr-defined]


def test_what_was_stored_before_events_were_json_is_still_read() -> None:
    raw = schema.encode(EVENT)
    assert cloudevents.read(SUBJECT, {"content-type": "application/msgpack"}, raw) == EVENT


@pytest.mark.parametrize(
    ("subject", "kind", "payload"),
    [
        ("atoll.v1.event.job.j2.failed", media.JSON, None),
        ("atoll.v1.event.job.j1.completed", media.JSON, None),
        ("atoll.v1.event.submission.j1.failed", media.JSON, None),
        ("atoll.v1.event.host.j1.failed", media.JSON, None),
        ("atoll.v1.event.job", media.JSON, None),
        (SUBJECT, "text/plain", None),
        (SUBJECT, media.MSGPACK, None),
        (SUBJECT, media.JSON, b"{"),
        (SUBJECT, media.JSON, b'{"seq":1.5}'),
        (SUBJECT, media.JSON, b"[" * 100_000),
        (SUBJECT, media.JSON, b""),
    ],
)
def test_what_is_no_event_is_refused(subject: str, kind: str, payload: bytes | None) -> None:
    _, own = cloudevents.binary(EVENT)
    with pytest.raises(MessageError):
        cloudevents.read(subject, {"content-type": kind}, own if payload is None else payload)


def test_a_subject_of_an_event_is_one_of_the_table() -> None:
    for event in (EVENT, SUBMISSION):
        assert subjects.HISTORY.read(cloudevents.subject_of(event, "acme"))
        assert subjects.GUEST.read(cloudevents.subject_of(event, "acme", guest=True))
