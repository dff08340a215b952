"""The record of a dead letter: what goes in comes out, and nothing else is one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.bus.dead_letter import MAX_KEPT_HEADERS, Letter, one_line
from atoll.bus.message import StreamMessage
from atoll.bus.subjects import require_headers
from atoll.errors import AtollError, MessageError
from atoll.wire import schema
from atoll_gateway.letters import view
from atoll_gateway.undertaker import Advisory

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ORIGINAL = StreamMessage(
    seq=7,
    subject="atoll.v1.report.j1",
    headers={"traceparent": "t", "Nats-Msg-Id": "id", "Nats-Expected-Stream": "x", "odd": "\x1b"},
    payload=b"payload",
    time=NOW,
    pending=0,
)
EXHAUSTED = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.SPAWN.managers-simulated"


SAID = (
    "atoll-subject",
    "atoll-deliveries",
    "atoll-reason",
    "atoll-reason-text",
    "atoll-stored",
    "atoll-state",
    "atoll-message-id",
    "Nats-Msg-Size",
)
ANYTHING = st.text(st.characters(exclude_categories=()))


def about(message: StreamMessage) -> Letter:
    return Letter.about(message, stream="REPORTS", code="a.b", text="why", deliveries=3)


def stored(headers: dict[str, str], subject: str = "atoll.v1.dead.REPORTS.7") -> StreamMessage:
    later = NOW + timedelta(hours=1)
    return StreamMessage(
        seq=12, subject=subject, headers=headers, payload=b"payload", time=later, pending=0
    )


def test_what_goes_in_comes_out() -> None:
    letter = about(ORIGINAL)
    found = Letter.parse(stored(letter.to_headers()))
    assert found == replace(letter, id=12, buried=NOW + timedelta(hours=1))
    assert found.headers == {"traceparent": "t"}
    assert found.message_id == "id"


@given(st.dictionaries(st.text(max_size=80), st.text(max_size=200), max_size=60), st.text())
def test_whatever_the_message_was_its_letter_can_be_sent(
    headers: dict[str, str], text: str
) -> None:
    message = replace(ORIGINAL, headers=headers, subject="a." + text)
    letter = Letter.about(message, stream="REPORTS", code="a.b", text=text, deliveries=0)
    sent = require_headers(letter.to_headers())
    assert len(letter.headers) <= MAX_KEPT_HEADERS
    found = Letter.parse(stored(sent))
    assert found.headers == letter.headers
    assert (found.text, found.stored) == (one_line(text), NOW)


@given(
    st.dictionaries(
        st.sampled_from([*SAID, "atoll-was-x", "atoll-was-Nats-Msg-Id", "atoll-was-\n"]),
        ANYTHING | st.just(NOW.isoformat()),
    )
)
def test_whatever_stands_there_is_a_letter_or_malformed(headers: dict[str, str]) -> None:
    try:
        letter = Letter.parse(stored({"atoll-subject": "x", **headers}))
    except MessageError:
        return
    require_headers(letter.headers)
    # And what is answered about it, its reader can read.
    plain = schema.encode(view(letter))
    assert schema.decode(type(view(letter)), plain).id == 12


@pytest.mark.parametrize("missing", ["atoll-subject", "atoll-stored"])
def test_without_what_it_must_say_it_is_none(missing: str) -> None:
    headers = about(ORIGINAL).to_headers()
    del headers[missing]
    with pytest.raises(MessageError):
        Letter.parse(stored(headers))


@pytest.mark.parametrize(
    "subject", ["x", "atoll.v1.dead.REPORTS", "atoll.v1.dead.REPORTS.1.2", "atoll.v1.dead.a$b.1"]
)
def test_on_another_subject_it_is_none(subject: str) -> None:
    with pytest.raises(MessageError):
        Letter.parse(stored(about(ORIGINAL).to_headers(), subject))


def test_the_server_s_advisory_is_read() -> None:
    raw = b'{"stream":"SPAWN","consumer":"c","stream_seq":17,"deliveries":5}'
    assert Advisory.parse(EXHAUSTED, raw) == Advisory(
        stream="SPAWN", sequence=17, deliveries=5, terminated=False, text=""
    )
    told = EXHAUSTED.replace("MAX_DELIVERIES", "MSG_TERMINATED")
    ended = Advisory.parse(told, raw.replace(b"}", b',"reason":"no"}'))
    assert (ended.terminated, ended.text) == (True, "no")


@pytest.mark.parametrize(
    ("subject", "raw"),
    [
        (EXHAUSTED, b""),
        (EXHAUSTED, b"[]"),
        (EXHAUSTED, b'{"stream_seq":"1","deliveries":1}'),
        (EXHAUSTED, b'{"stream_seq":0,"deliveries":1}'),
        (EXHAUSTED, b'{"stream_seq":true,"deliveries":1}'),
        (EXHAUSTED, b'{"stream_seq":1}'),
        (EXHAUSTED, b"[" * 100_000),
        (EXHAUSTED, b'{"stream_seq":1,"deliveries":1}' + b" " * 9000),
        ("$JS.EVENT.ADVISORY.OTHER", b'{"stream_seq":1,"deliveries":1}'),
        (EXHAUSTED + ".more", b'{"stream_seq":1,"deliveries":1}'),
    ],
)
def test_another_advisory_is_malformed(subject: str, raw: bytes) -> None:
    with pytest.raises(AtollError) as caught:
        Advisory.parse(subject, raw)
    assert caught.value.code == "advisory.malformed"
