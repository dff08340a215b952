"""One value, one encoding (RFC 8785), within the subset without floats."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from atoll import canonical
from atoll.errors import InputError

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-canonical.MAX_INTEGER, canonical.MAX_INTEGER) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=15,
)


def test_sorts_as_in_rfc_8785_section_3_2_3() -> None:
    # The example of the section: keys by UTF-16 code units, not by code points.
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    raw = canonical.dumps({key: index for index, key in enumerate(keys)})
    assert list(json.loads(raw)) == [
        "\r",
        "1",
        "\u0080",
        "\u00f6",
        "\u20ac",
        "\U0001f600",
        "\ufb33",
    ]


def test_escapes_as_in_rfc_8785_section_3_2_2_2() -> None:
    # The string of the section's example.
    value = {"string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/"}
    assert canonical.dumps(value) == '{"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'.encode()


def test_literals_and_numbers() -> None:
    assert canonical.dumps([None, True, False, 0, -1, 2**53 - 1]) == (
        b"[null,true,false,0,-1,9007199254740991]"
    )


@pytest.mark.parametrize(
    ("char", "escaped"),
    [
        ("\b", b'"\\b"'),
        ("\t", b'"\\t"'),
        ("\n", b'"\\n"'),
        ("\f", b'"\\f"'),
        ("\r", b'"\\r"'),
        ("\x00", b'"\\u0000"'),
        ("\x1f", b'"\\u001f"'),
        ("\x7f", b'"\x7f"'),
        ("\u2028", b'"\xe2\x80\xa8"'),
        ("/", b'"/"'),
    ],
)
def test_each_kind_of_character(char: str, escaped: bytes) -> None:
    assert canonical.dumps(char) == escaped


@given(values)
def test_what_is_written_comes_back(value: object) -> None:
    raw = canonical.dumps(value)
    assert canonical.loads(raw) == value
    assert json.loads(raw) == value


@settings(max_examples=300)
@given(st.binary(max_size=60) | values.map(lambda value: json.dumps(value).encode()))
@example(b"[" * 50_000)
@example(b"9" * 10_000)
@example(b"-" + b"9" * 400)
@example(b"\xef\xbb\xbf1")
@example(b'"\\ud800"')
def test_any_bytes_give_a_value_or_the_one_error(raw: bytes) -> None:
    try:
        value = canonical.loads(raw)
    except InputError as error:
        assert error.code in {"json.malformed", "json.not_canonical"}  # noqa: PT017
    else:
        assert canonical.dumps(value) == raw


@pytest.mark.parametrize(
    "raw",
    [
        b' {"a":1}',
        b'{"a": 1}',
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a":1}\n',
        b"01",
        b"-0",
        b'"\\u0041"',
        b'"\\/"',
        b'"\\u000A"',
        b"[1,]",
    ],
)
def test_refuses_another_encoding_of_a_legal_value(raw: bytes) -> None:
    with pytest.raises(InputError):
        canonical.loads(raw)


@pytest.mark.parametrize("raw", [b"1.0", b"1e3", b"NaN", b"Infinity", b"-Infinity", b"[0.5]"])
def test_refuses_floats(raw: bytes) -> None:
    with pytest.raises(InputError) as caught:
        canonical.loads(raw)
    assert caught.value.code == "json.malformed"


@pytest.mark.parametrize(
    "value",
    [1.0, 2**53, -(2**53), "\ud800", {1: 2}, {"a": {None: 1}}, b"x", Ellipsis, {1, 2}],
    ids=repr,
)
def test_refuses_to_write_what_is_outside_the_subset(value: object) -> None:
    with pytest.raises(InputError) as caught:
        canonical.dumps(value)
    assert caught.value.code == "json.malformed"


def test_refuses_what_is_nested_too_deep() -> None:
    def nested(depth: int) -> object:
        value: object = 0
        for _ in range(depth):
            value = [value]
        return value

    assert canonical.dumps(nested(canonical.MAX_DEPTH))
    with pytest.raises(InputError):
        canonical.dumps(nested(canonical.MAX_DEPTH + 1))
