"""The AsyncAPI document: true to the tables, legal by its own checkers, and kept up to date."""

import json
import re
import warnings
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from atoll.wire import asyncapi, cloudevents, media, schema, subjects, topology
from atoll.wire.endpoints import ENDPOINTS
from atoll.wire.messages import EventType, JobEvent, JobState
from atoll.wire.subjects import Subject
from support.gateway import submission
from unit.cli.console import Console

with warnings.catch_warnings():
    # Its classes have a field `schema`, of which pydantic warns when they are made.
    warnings.simplefilter("ignore", UserWarning)
    from asyncapi3.models.asyncapi import AsyncAPI3

KEPT = Path(__file__).resolve().parents[3] / "docs" / "asyncapi.json"
DOCUMENT = asyncapi.document()
SCHEMAS = DOCUMENT["components"]["schemas"]


def test_the_kept_document_is_what_the_command_prints(console: Console) -> None:
    said = console("asyncapi")
    assert said.status == 0
    assert said.out == KEPT.read_text(), "run `atoll asyncapi > docs/asyncapi.json`"
    assert json.loads(said.out) == DOCUMENT


def test_is_legal_asyncapi() -> None:
    AsyncAPI3.model_validate(DOCUMENT)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("asyncapi",), "2.6.0"),
        (("info", "title"), None),
        (("operations", "jobs_submit", "action"), "publish"),
        (("operations", "jobs_submit", "bindings", "nats", "topic"), "x"),
        (("channels", "intake", "subject"), "x"),
        (("servers", "bus", "url"), "nats://127.0.0.1"),
    ],
)
def test_the_checker_would_notice(place: tuple[str, ...], value: object) -> None:
    broken: Any = json.loads(json.dumps(DOCUMENT))
    inner = broken
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    with pytest.raises(ValueError, match="validation error"):
        AsyncAPI3.model_validate(broken)


def references(value: object) -> set[str]:
    if isinstance(value, dict):
        own = {str(value["$ref"])} if "$ref" in value else set()
        return own.union(*map(references, value.values()))
    if isinstance(value, list):
        return set().union(*map(references, value))
    return set()


def test_every_reference_leads_somewhere_and_nothing_is_left_over() -> None:
    found = references(DOCUMENT)
    for reference in found:
        inner: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            inner = inner[part]
    assert {f"#/components/schemas/{name}" for name in SCHEMAS} <= found
    assert {f"#/components/messages/{name}" for name in DOCUMENT["components"]["messages"]} <= found


def test_every_subject_is_a_channel() -> None:
    known = {value.wildcard for value in vars(subjects).values() if isinstance(value, Subject)}
    # The server's own words, not ours.
    known -= {subjects.EXHAUSTED.wildcard, subjects.TERMINATED.wildcard}
    # Told by what they are about.
    known -= {subjects.EVENT.wildcard}
    addresses = [channel["address"] for channel in DOCUMENT["channels"].values()]
    assert len(set(addresses)) == len(addresses)
    covered = {Subject(address).wildcard for address in addresses}
    events = {each for each in covered if each.startswith("atoll.v1.event.")}
    events -= {subjects.HISTORY.wildcard}
    assert covered - events == known
    assert len(events) == 2


def test_every_request_is_an_operation_with_its_reply() -> None:
    for row in ENDPOINTS:
        name = f"{row.subject.template.split('.')[2]}_{row.name}"
        operation = DOCUMENT["operations"][name]
        replies = [item["$ref"].rpartition("/")[2] for item in operation["reply"]["messages"]]
        assert replies == [row.reply.__name__, "ErrorReply"]
        assert DOCUMENT["channels"][name]["x-atoll-callers"] == sorted(row.callers)


def test_every_stream_is_described() -> None:
    named = {
        channel["x-atoll-stream"]["name"]
        for channel in DOCUMENT["channels"].values()
        if "x-atoll-stream" in channel
    }
    assert named == {stream.name for stream in topology.STREAMS} - {topology.ADVISORIES.name}
    for row in asyncapi.STREAMED:
        assert DOCUMENT["channels"][row.id]["x-atoll-writers"], row.id


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_is_legal_json_schema(name: str) -> None:
    jsonschema_rs.meta.validate(SCHEMAS[name])


def test_messages_have_the_form_that_is_documented() -> None:
    event = JobEvent(
        job_id="j1",
        seq=1,
        type=EventType.SUBMITTED,
        state=JobState.SUBMITTED,
        attempt=0,
        time_ms=1,
    )
    headers, payload = cloudevents.binary(event, f"00-{'a' * 32}-{'b' * 16}-01")
    jsonschema_rs.validator_for(SCHEMAS["CloudEventHeaders"]).validate(headers)
    jsonschema_rs.validator_for(SCHEMAS["JobEvent"]).validate(json.loads(payload))
    plain = schema.to_plain(submission(), json=True)
    jsonschema_rs.validator_for(SCHEMAS["SubmitRequest"]).validate(plain)


def test_an_events_data_schema_is_in_this_document() -> None:
    assert DOCUMENT["id"] == cloudevents.DOCUMENT
    for name in ("JobEvent", "SubmissionEvent"):
        assert name in SCHEMAS


def test_parameters_are_those_of_the_address() -> None:
    for name, channel in DOCUMENT["channels"].items():
        assert set(channel.get("parameters", {})) == set(
            re.findall(r"\{(\w+)\}", channel["address"])
        ), name


def test_what_is_published_for_others_is_json() -> None:
    for name in ("jobEvents", "submissionEvents", "intake"):
        (message,) = DOCUMENT["channels"][name]["messages"]
        assert DOCUMENT["components"]["messages"][message]["contentType"] == media.JSON
