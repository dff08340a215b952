import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.telemetry import names
from atoll.telemetry.allow import MAX_COUNT, MAX_LINKS, MAX_SIZE, RULES, sanitise
from atoll.telemetry.context import SpanContext
from atoll.telemetry.otlp import encode_spans
from atoll.telemetry.span import AttributeValue, Kind, Span, Status
from unit.telemetry.spans import make, spans, texts, values

SECRET = "patient 17: HIV positive"
KEYS = sorted(RULES)


def kept(key: str, value: AttributeValue) -> AttributeValue | None:
    return sanitise(make(1, attributes={key: value})).attribute(key)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("text", [SECRET, "", "a b", "a/b", "a.b c", "ä", "a\n", "x" * 65, "{}"])
def test_no_key_lets_free_text_pass(key: str, text: str) -> None:
    assert kept(key, text) is None


def test_the_format_page_names_every_key_and_service() -> None:
    page = (Path(__file__).parents[3] / "docs/formats/telemetry.md").read_text("utf-8")
    words = set(re.findall(r"`([^`]+)`", page))
    assert words >= set(RULES) | names.SERVICES
    assert {word for word in words if word.startswith("atoll.job.")} <= set(RULES)


def test_every_key_constant_has_a_rule() -> None:
    constants = {
        value
        for name, value in vars(names).items()
        if name.isupper() and isinstance(value, str) and "." in value
    }
    assert constants - {names.JOBS_SUBMIT, names.LEDGER_APPLY} - names.SPAN_NAMES == set(RULES)


def test_payload_in_any_place_of_a_span_does_not_pass() -> None:
    span = make(
        1,
        name=f"open {SECRET}",
        service=SECRET,
        instance=SECRET,
        attributes={SECRET: 1, "note": SECRET, **dict.fromkeys(KEYS, SECRET)},
    )
    clean = sanitise(span)
    assert SECRET not in json.dumps([clean.name, clean.service, clean.instance, clean.attributes])
    assert b"patient" not in encode_spans([clean])
    assert (clean.name, clean.service, clean.instance) == (names.OTHER, names.OTHER, "")
    assert clean.attributes == ()


@pytest.mark.parametrize(
    ("key", "value", "passed"),
    [
        (names.JOB_ID, "job_1-A", "job_1-A"),
        (names.ERROR_TYPE, "workload.trap", "workload.trap"),
        (names.ERROR_TYPE, "Workload trap", None),
        (names.ERROR_TYPE, "a" * 65, None),
        (names.JOB_STATE, "running", "running"),
        (names.JOB_STATE, "happy", None),
        (names.TEE, "simulated", "simulated"),
        (names.SIMULATED, True, True),
        (names.SIMULATED, 1, None),
        (names.SIMULATED, False, False),
        (names.ASSET_COUNT, 0, 0),
        (names.ASSET_COUNT, MAX_COUNT, MAX_COUNT),
        (names.ASSET_COUNT, MAX_COUNT + 1, None),
        (names.ASSET_COUNT, -1, None),
        (names.ASSET_COUNT, True, None),
        (names.HTTP_STATUS, 404, 404),
        (names.HTTP_STATUS, 7, None),
        (names.MESSAGING_DESTINATION_TEMPLATE, "atoll.v1.spawn.{tee}", "atoll.v1.spawn.{tee}"),
        (names.MESSAGING_DESTINATION_TEMPLATE, "atoll.v1.spawn.simulated", None),
    ],
)
def test_a_rule_passes_exactly_its_values(
    key: str, value: AttributeValue, passed: AttributeValue | None
) -> None:
    assert kept(key, value) == passed


@pytest.mark.parametrize(
    ("size", "bucket"),
    [(0, 0), (1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (1025, 2048), (MAX_SIZE, MAX_SIZE)],
)
def test_sizes_are_rounded_up_to_a_power_of_two(size: int, bucket: int) -> None:
    assert kept(names.ASSET_SIZE, size) == bucket


@pytest.mark.parametrize("size", [-1, MAX_SIZE + 1, True, "12"])
def test_a_size_that_is_none_does_not_pass(size: AttributeValue) -> None:
    assert kept(names.RESULT_SIZE, size) is None


def test_an_exit_code_has_no_way_out() -> None:
    assert not any("exit" in key for key in RULES)


@settings(max_examples=100)
@given(spans, st.dictionaries(st.sampled_from(KEYS), values | texts, max_size=6))
def test_sanitising_is_idempotent_and_keeps_the_place_in_the_tree(
    span: Span, extra: dict[str, AttributeValue]
) -> None:
    mixed = make(1, attributes={**dict(span.attributes), **extra})
    for given_span in (span, mixed):
        clean = sanitise(given_span)
        assert sanitise(clean) == clean
        assert clean.name in names.SPAN_NAMES
        assert clean.service in names.SERVICES
        assert {key for key, _ in clean.attributes} <= set(RULES)
        assert (clean.context, clean.parent_id) == (given_span.context, given_span.parent_id)
        assert (clean.start_ns, clean.end_ns) == (given_span.start_ns, given_span.end_ns)


def test_the_largest_sanitised_span_fits_its_share_of_a_message() -> None:
    widest: dict[str, AttributeValue] = {}
    for key in KEYS:
        candidates: list[AttributeValue] = [
            *("x" * 64, MAX_SIZE, MAX_COUNT, 599, True, "nats", "process", "OPTIONS", "fail"),
            *names.DESTINATIONS,
            *("awaiting_assets", "simulated", "invocation"),
        ]
        passing = [value for value in candidates if kept(key, value) is not None]
        widest[key] = max(passing, key=lambda value: len(str(value)))
    link = SpanContext(trace_id="ab" * 16, span_id="cd" * 8)
    span = sanitise(
        Span(
            service=names.ATTESTOR,
            instance="x" * 64,
            name=max(names.SPAN_NAMES, key=len),
            context=link,
            parent_id="cd" * 8,
            kind=Kind.CONSUMER,
            start_ns=(1 << 64) - 1,
            end_ns=(1 << 64) - 1,
            attributes=tuple(widest.items()),
            status=Status.ERROR,
            links=(link,) * 50,
        )
    )
    assert set(dict(span.attributes)) == set(RULES)
    assert len(span.links) == MAX_LINKS
    assert len(encode_spans([span])) < 4096
