"""CBOR from strangers: one encoding, named tags, limits, one error."""

from datetime import UTC, datetime
from typing import Any

import pytest
from cbor2 import CBORTag
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll import cbor
from atoll.errors import InputError

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.binary(max_size=40)
    | st.text(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.integers(-5, 1 << 40) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


def _refused(raw: bytes, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        cbor.loads(raw, **({"limit": 1000} | options))
    assert caught.value.code == "cbor.malformed"
    return caught.value.message


@settings(max_examples=150)
@given(PLAIN)
def test_what_is_written_is_read(value: Any) -> None:
    assert cbor.loads(cbor.dumps(value), limit=1 << 20) == value


@settings(max_examples=400)
@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_a_value_with_one_encoding_or_the_one_error(raw: bytes) -> None:
    try:
        value = cbor.loads(raw, limit=100, tags=(1, 37, 501))
    except InputError as error:
        assert error.code == "cbor.malformed"  # noqa: PT017
    else:
        assert sorted(cbor.dumps(value)) == sorted(raw)


@settings(max_examples=50)
@given(PLAIN, st.data())
def test_no_prefix_is_a_value(value: Any, data: st.DataObject) -> None:
    raw = cbor.dumps(value)
    cut = data.draw(st.integers(0, len(raw) - 1))
    _refused(raw[:cut])


def test_map_keys_are_written_in_the_order_of_their_encodings() -> None:
    assert cbor.dumps({"a": 1, 1000: 2, -1: 3, 10: 4}).hex() == "a40a041903e8022003616101"


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("a201000101", "repeats"),
        ("1800", "shorter"),
        ("5f4100ff", "indefinite"),
        ("9f00ff", "indefinite"),
        ("f97e00", "unsupported"),
        ("f7", "unsupported"),
        ("fb3ff8000000000000", "unsupported"),
        ("c249010000000000000000", "tag 2"),
        ("d81c80", "tag 28"),
        ("d81d00", "tag 29"),
        ("a1800000", "map key"),
        ("a1410000", "map key"),
        ("0000", "after its end"),
        ("61ff", "decoded"),
        ("1c", "reserved"),
    ],
)
def test_refuses_what_has_another_or_no_deterministic_encoding(raw: str, why: str) -> None:
    assert why in _refused(bytes.fromhex(raw))


def test_a_number_and_a_truth_value_are_not_the_same_key() -> None:
    assert cbor.loads(bytes.fromhex("a10100"), limit=10) == {1: 0}
    assert "map key" in _refused(bytes.fromhex("a1f500"))


def test_refuses_depth_and_counts_before_building_anything() -> None:
    assert "deeper" in _refused(b"\x81" * 200 + b"\x00")
    assert "array or map" in _refused(b"\x9b" + b"\xff" * 8)
    assert "wanted" in _refused(b"\x5b" + b"\xff" * 8)
    assert "at most 5" in _refused(bytes(6), limit=5)
    many = b"\x99\x1f\xff" + bytes(0x1FFF)
    assert len(cbor.loads(many, limit=10_000)) == 0x1FFF
    assert "items" in _refused(b"\x82" + many + many, limit=20_000)


def test_a_tag_is_read_only_where_it_was_named() -> None:
    moment = datetime(2026, 6, 1, tzinfo=UTC)
    raw = cbor.dumps([moment, CBORTag(501, b"x")])
    assert cbor.loads(raw, limit=100, tags=(1, 501)) == [moment, CBORTag(501, b"x")]
    assert "tag 501" in _refused(raw, tags=(1,))


def test_refuses_a_time_that_cannot_be() -> None:
    _refused(bytes.fromhex("c11bffffffffffffffff"), tags=(1,))
    _refused(bytes.fromhex("c16161"), tags=(1,))
