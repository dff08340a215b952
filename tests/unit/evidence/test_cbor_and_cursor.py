"""The readers under the parsers: every byte accounted for, one encoding for each value."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import MalformedEvidenceError
from atoll.evidence._cbor import MAX_DEPTH, MAX_ITEMS, Tagged, dumps, loads
from atoll.evidence._cursor import Cursor
from support.ratls import cbor

VALUES = st.recursive(
    st.integers(min_value=-(2**64), max_value=2**64 - 1)
    | st.binary(max_size=40)
    | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=10,
)


def read(raw: bytes) -> Any:
    return loads(raw, structure="test")


# RFC 8949, appendix A.
@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        ("00", 0),
        ("17", 23),
        ("1818", 24),
        ("1903e8", 1000),
        ("1a000f4240", 1_000_000),
        ("1b000000e8d4a51000", 1_000_000_000_000),
        ("1bffffffffffffffff", 18446744073709551615),
        ("20", -1),
        ("3863", -100),
        ("f4", False),
        ("f5", True),
        ("f6", None),
        ("40", b""),
        ("4401020304", b"\x01\x02\x03\x04"),
        ("62c3bc", "\u00fc"),
        ("83010203", [1, 2, 3]),
        ("a26161016162820203", {"a": 1, "b": [2, 3]}),
        ("c11a514b67b0", Tagged(tag=1, value=1363896240)),
    ],
)
def test_reads_the_examples_of_the_rfc(encoded: str, value: object) -> None:
    assert read(bytes.fromhex(encoded)) == value


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "1817",  # 23 in two bytes
        "1900ff",
        "1a0000ffff",
        "1b00000000ffffffff",
        "1c",  # reserved
        "5f4101ff",  # indefinite
        "9fff",
        "bfff",
        "f7",  # undefined
        "f97e00",  # a float
        "ff",
        "61ff",  # not UTF-8
        "a2616101616102",  # a repeated key
        "a10101",  # a key that is not text
        "4401",  # cut
        "0000",  # two items
        "9b7fffffffffffffff",  # a huge array
        "5b7fffffffffffffff",  # a huge string
        "98ff" + "00" * 254,  # cut
        "990101" + "00" * (MAX_ITEMS + 1),  # over the limit
        "81" * MAX_DEPTH + "00",  # too deep
        "c1" * 5000 + "00",
    ],
)
def test_refuses_every_other_encoding(encoded: str) -> None:
    with pytest.raises(MalformedEvidenceError):
        read(bytes.fromhex(encoded))


def test_the_limits_themselves_are_allowed() -> None:
    nested: Any = 0
    for _ in range(MAX_DEPTH - 1):
        nested = [nested]
    assert read(cbor(nested)) == nested
    assert read(cbor([0] * MAX_ITEMS)) == [0] * MAX_ITEMS


@given(VALUES)
@settings(max_examples=100)
def test_what_is_written_is_read(value: Any) -> None:
    assert read(cbor(value)) == value


def ordered(value: Any) -> Any:
    """Maps by the encoding of their keys (RFC 8949, section 4.2.1)."""
    if isinstance(value, dict):
        return {key: ordered(value[key]) for key in sorted(value, key=cbor)}
    return [ordered(item) for item in value] if isinstance(value, list) else value


@given(VALUES)
@settings(max_examples=100)
def test_what_we_write_is_the_deterministic_encoding(value: Any) -> None:
    assert dumps(value) == cbor(ordered(value))
    assert read(dumps([value, True, False, None])) == [value, True, False, None]
    assert read(dumps(Tagged(tag=32, value=value))) == Tagged(tag=32, value=value)


def test_there_is_no_encoding_of_other_types_and_sizes() -> None:
    for value in (1.5, {1, 2}, object()):
        with pytest.raises(TypeError):
            dumps(value)
    assert read(dumps((1 << 64) - 1)) == (1 << 64) - 1
    with pytest.raises(ValueError, match="64 bits"):
        dumps(1 << 64)


@given(st.binary(max_size=60))
@settings(max_examples=300)
def test_arbitrary_bytes_are_a_value_or_malformed(raw: bytes) -> None:
    try:
        read(raw)
    except MalformedEvidenceError:
        return


def test_a_cursor_reads_both_orders_and_accounts_for_every_byte() -> None:
    little = Cursor(b"\x01\x00\x02ab", structure="test")
    assert little.uint(2) == 1
    assert (little.offset, little.left, little.peek(9)) == (2, 3, b"\x02ab")
    with pytest.raises(MalformedEvidenceError):
        little.finish()
    assert little.block(1, limit=2) == b"ab"
    assert little.rest() == b""
    little.finish()
    assert Cursor(b"\x01\x00", structure="test", order="big").uint(2) == 256


@pytest.mark.parametrize("raw", [b"", b"\x03ab", b"\x02a"])
def test_a_cursor_refuses_lengths_over_the_limit_or_the_end(raw: bytes) -> None:
    with pytest.raises(MalformedEvidenceError):
        Cursor(raw, structure="test").block(1, limit=2)
