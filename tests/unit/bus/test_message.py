"""Reading what a JetStream delivery says about itself."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.bus.message import AckSubject, parse_time
from atoll.errors import MessageError

SHORT = "$JS.ACK.EVENTS.worker.2.57.9.1700000000123456789.3"
LONG = "$JS.ACK.hub.aGFzaA.EVENTS.worker.2.57.9.1700000000123456789.3.x7"


@pytest.mark.parametrize("subject", [SHORT, LONG, LONG.removesuffix(".x7")])
def test_reads_both_forms_of_the_ack_subject(subject: str) -> None:
    assert AckSubject.parse(subject) == AckSubject(
        stream="EVENTS",
        consumer="worker",
        num_delivered=2,
        stream_seq=57,
        consumer_seq=9,
        time=datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC),
        pending=3,
    )


@pytest.mark.parametrize(
    "subject",
    ["", "$JS.ACK", "_INBOX.x", SHORT + ".4", SHORT.removesuffix(".3"), SHORT.replace("57", "-1"),
     SHORT.replace("57", "٣"), SHORT.replace("57", "9" * 20), SHORT.replace("ACK", "NAK")],
)  # fmt: skip
def test_refuses_what_is_not_an_ack_subject(subject: str) -> None:
    with pytest.raises(MessageError) as caught:
        AckSubject.parse(subject)
    assert caught.value.code == "bus.not_a_delivery"


@settings(max_examples=200)
@given(st.lists(st.text(st.characters(categories=["Nd", "Lu"]), max_size=22), max_size=12))
def test_any_tokens_are_a_delivery_or_a_message_error(tokens: list[str]) -> None:
    try:
        place = AckSubject.parse(".".join(["$JS", "ACK", *tokens]))
    except MessageError:
        return
    assert place.stream_seq >= 0


@pytest.mark.parametrize(
    ("text", "microsecond"),
    [
        ("2026-11-24T02:16:37.839929123Z", 839929),
        ("2026-11-24T02:16:37.8Z", 800000),
        ("2026-11-24T02:16:37Z", 0),
    ],
)
def test_reads_times_with_any_number_of_digits(text: str, microsecond: int) -> None:
    assert parse_time(text) == datetime(2026, 11, 24, 2, 16, 37, microsecond, tzinfo=UTC)


@settings(max_examples=200)
@given(st.text(max_size=40) | st.from_regex(r"[0-9]{4}-01-01T[0-9:.+Z-]{0,20}", fullmatch=True))
def test_any_text_is_a_time_or_a_message_error(text: str) -> None:
    try:
        value = parse_time(text)
    except MessageError:
        return
    assert value.tzinfo is UTC
