"""What an enclave says on a stream to the outside, and what it is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.egress.words import (
    MAX_LINE,
    REFUSED,
    UNREACHABLE,
    Asked,
    Verb,
    answer,
    decode_answer,
    decode_asked,
)
from atoll.errors import MessageError
from atoll.wire.egress import HOST

HOSTS = st.from_regex(HOST, fullmatch=True).filter(lambda it: len(it) <= 253)


def test_the_words_as_they_travel() -> None:
    assert Asked(Verb.MAY, "example.org", 443).to_bytes() == b"may example.org:443\n"
    assert Asked(Verb.DIAL, "10.0.0.5", 1).to_bytes() == b"dial 10.0.0.5:1\n"
    assert answer() == b"ok\n"
    assert answer(REFUSED) == b"no network.refused\n"


@given(st.sampled_from(Verb), HOSTS, st.integers(1, 65_535))
def test_what_is_asked_is_read(verb: Verb, host: str, port: int) -> None:
    asked = Asked(verb, host, port)
    assert decode_asked(asked.to_bytes()) == asked


@pytest.mark.parametrize("code", ["", REFUSED, UNREACHABLE])
def test_what_is_answered_is_read(code: str) -> None:
    assert decode_answer(answer(code)) == code


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"\n", b"may\n", b"may example.org\n", b"may example.org:443", b"May a:1\n"),
        *(b"dial  a:1\n", b"dial a:0\n", b"dial a:65536\n", b"dial A:1\n", b"dial a:1\r\n"),
        *(b"dial a:1\n\n", b"dial [::1]:1\n", b"dial a_b:1\n", b"dial \xe9:1\n", b"dial a:01\n"),
        b"dial " + b"a." * (MAX_LINE // 2) + b"a:1\n",
        b"dial " + b"a." * 130 + b"a:1\n",
    ],
)
def test_refuses_another_question(line: bytes) -> None:
    with pytest.raises(MessageError) as caught:
        decode_asked(line)
    assert caught.value.code == "egress.word"


@pytest.mark.parametrize("line", [b"", b"ok", b"OK\n", b"no\n", b"no other.code\n", b"ok\nok\n"])
def test_refuses_another_answer(line: bytes) -> None:
    with pytest.raises(MessageError):
        decode_answer(line)


@given(st.binary(max_size=600))
def test_any_bytes_are_a_word_or_refused(raw: bytes) -> None:
    for parse in (decode_asked, decode_answer):
        try:
            found = parse(raw)
        except MessageError as error:
            assert error.code == "egress.word"  # noqa: PT017
        else:
            made = found.to_bytes() if isinstance(found, Asked) else answer(str(found))
            assert made == raw
