"""What may stand in a subject, filter, key and header."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.bus import subjects
from atoll.errors import InputError

BAD_TOKENS = ["", " ", "a b", "a\r\nPUB x 0", "a\x00", "é", "\x7f", "a\n", "..", ".a", "a.", "a..b"]


@pytest.mark.parametrize("subject", ["a", "a.b", "$KV.b.key", "$O.b.M.aWQ=", "a-b_c.D9"])
def test_accepts_a_subject(subject: str) -> None:
    assert subjects.require_subject(subject) == subject


@pytest.mark.parametrize("subject", [*BAD_TOKENS, "*", ">", "a.*", "a.>", "a" * 513])
def test_refuses_what_cannot_be_published_to(subject: str) -> None:
    with pytest.raises(InputError) as caught:
        subjects.require_subject(subject)
    assert caught.value.code == "bus.subject"


@pytest.mark.parametrize("subject", ["a", "a.*", "*.b", "a.>", ">", "*"])
def test_accepts_a_filter(subject: str) -> None:
    assert subjects.require_filter(subject) == subject


@pytest.mark.parametrize("subject", [*BAD_TOKENS, "a.>.b", "a*", "a.b>", "a" * 513])
def test_refuses_a_filter_with_a_misplaced_wildcard(subject: str) -> None:
    with pytest.raises(InputError) as caught:
        subjects.require_filter(subject)
    assert caught.value.code == "bus.subject"


@pytest.mark.parametrize("key", [*BAD_TOKENS, "*", "a.>", "a!", "a" * 513])
def test_refuses_an_illegal_key(key: str) -> None:
    with pytest.raises(InputError) as caught:
        subjects.require_key(key)
    assert caught.value.code == "bus.key"


@pytest.mark.parametrize("pattern", [*BAD_TOKENS, "a.>.b", "a*"])
def test_refuses_an_illegal_key_pattern(pattern: str) -> None:
    with pytest.raises(InputError) as caught:
        subjects.require_key_pattern(pattern)
    assert caught.value.code == "bus.key"


@pytest.mark.parametrize(
    ("name", "value"),
    [("", "x"), ("a b", "x"), ("a:", "x"), ("a", ""), ("a", "x\r\ny"), ("a", " x"), ("a", "é")],
)
def test_refuses_a_header_that_is_not_one_printable_line(name: str, value: str) -> None:
    with pytest.raises(InputError) as caught:
        subjects.require_headers({name: value})
    assert caught.value.code == "bus.header"


def test_copies_legal_headers() -> None:
    given_headers = {"traceparent": "00-ab-cd-01"}
    copy = subjects.require_headers(given_headers)
    assert copy == given_headers
    assert copy is not given_headers


@settings(max_examples=200)
@given(st.text(max_size=40))
def test_any_text_is_a_subject_or_an_input_error(text: str) -> None:
    try:
        accepted = subjects.require_subject(text)
    except InputError:
        return
    assert accepted == text
    assert not set(accepted) & set("\r\n\t *>\x00")
    assert all(accepted.split("."))
