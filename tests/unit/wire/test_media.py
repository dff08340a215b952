"""Which encoding a message has, and both of them."""

import pytest

from atoll.errors import MessageError
from atoll.wire import codec, media
from atoll.wire.messages import JobRequest

REQUEST = JobRequest(job_id="j1")


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({}, media.MSGPACK),
        ({"content-type": "application/msgpack"}, media.MSGPACK),
        ({"content-type": "application/json"}, media.JSON),
        ({"Content-Type": "Application/JSON; charset=utf-8"}, media.JSON),
        ({"other": "application/json"}, media.MSGPACK),
    ],
)
def test_the_header_names_the_encoding(headers: dict[str, str], kind: str) -> None:
    assert media.of(headers) == kind
    assert media.is_json(headers) == (kind == media.JSON)


@pytest.mark.parametrize(
    "value",
    [
        *("", "text/plain", "application/json; charset=latin-1", "application/json, text/html"),
        *("application/msgpack; x=y", "application/jsonx", "x" * 1000),
    ],
)
def test_other_types_are_refused(value: str) -> None:
    with pytest.raises(MessageError) as caught:
        media.of({"content-type": value})
    assert caught.value.code == "message.media_type"
    assert not media.is_json({"content-type": value})


def test_two_headers_that_disagree_are_refused() -> None:
    with pytest.raises(MessageError):
        media.of({"content-type": media.JSON, "Content-Type": media.MSGPACK})


@pytest.mark.parametrize("kind", [media.JSON, media.MSGPACK])
def test_both_encodings_carry_a_message(kind: str) -> None:
    assert media.decode(JobRequest, media.encode(REQUEST, kind), kind) == REQUEST


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "message.malformed"),
        (b"{", "message.malformed"),
        (b'{"job_id":"j1","job_id":"j1"}', "message.malformed"),
        (b'{"job_id":NaN}', "message.malformed"),
        (b"\xff", "message.malformed"),
        (b"[]", "message.invalid"),
        (b"{}", "message.invalid"),
        (b'{"job_id":"j1","more":1}', "message.invalid"),
        (b" " * (codec.MAX_MESSAGE + 1), "message.too_large"),
    ],
)
def test_bad_json_is_refused_by_name(raw: bytes, code: str) -> None:
    with pytest.raises(MessageError) as caught:
        media.decode(JobRequest, raw, media.JSON)
    assert caught.value.code == code
