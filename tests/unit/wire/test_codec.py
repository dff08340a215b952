"""MessagePack that lies, bombs or says one thing in two ways is refused."""

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import MessageError
from atoll.wire import codec

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=5)
    ),
    max_leaves=20,
)


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


@given(plain)
def test_what_is_packed_comes_back(value: object) -> None:
    if depth(value) <= codec.MAX_DEPTH:
        assert codec.unpackb(codec.packb(value)) == value


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_give_a_value_or_the_one_error(raw: bytes) -> None:
    try:
        value = codec.unpackb(raw)
    except MessageError as error:
        assert error.code == "message.malformed"  # noqa: PT017
    else:
        assert depth(value) <= codec.MAX_DEPTH


@given(plain)
def test_every_truncation_is_refused(value: object) -> None:
    raw = codec.packb(value)
    for end in range(len(raw)):
        with pytest.raises(MessageError):
            codec.unpackb(raw[:end])


BOMBS = {
    "array of 2^32": b"\xdd\xff\xff\xff\xff",
    "map of 2^32": b"\xdf\xff\xff\xff\xff",
    "string of 4 GiB": b"\xdb\xff\xff\xff\xff",
    "binary of 4 GiB": b"\xc6\xff\xff\xff\xff",
    "extension of 4 GiB": b"\xc9\xff\xff\xff\xff\x01",
    "nested arrays": b"\x91" * 100_000 + b"\xc0",
    "nested maps": b"\x81\xa1a" * 100_000 + b"\xc0",
    "one level too deep": b"\x91" * (codec.MAX_DEPTH + 1) + b"\xc0",
    "extension": msgpack.packb(msgpack.ExtType(5, b"xx")),
    "timestamp extension": msgpack.packb(msgpack.Timestamp(1)),
    "timestamp extension, long": msgpack.packb(msgpack.Timestamp(2**40, 5)),
    "empty extension": b"\xc7\x00\x05",
    "float 64": msgpack.packb(1.5),
    "float that is whole": msgpack.packb(1.0),
    "not a number": msgpack.packb(float("nan")),
    "float 32": b"\xca\x00\x00\x00\x00",
    "float inside": msgpack.packb({"a": [0.0]}),
    "key twice": b"\x82\xa1a\x01\xa1a\x02",
    "key that is a number": b"\x81\x01\x01",
    "key that is binary": b"\x81\xc4\x01a\x01",
    "key that is nil": b"\x81\xc0\x01",
    "invalid UTF-8": b"\xa2\xc3\x28",
    "surrogate in UTF-8": b"\xa3\xed\xa0\x80",
    "overlong UTF-8": b"\xa2\xc0\xaf",
    "never used byte": b"\xc1",
    "two values": b"\xc0\xc0",
    "nothing": b"",
}


@pytest.mark.parametrize("name", BOMBS)
def test_refuses(name: str) -> None:
    with pytest.raises(MessageError) as caught:
        codec.unpackb(BOMBS[name])
    assert caught.value.code == "message.malformed"


def test_takes_the_deepest_legal_nesting() -> None:
    codec.unpackb(b"\x91" * codec.MAX_DEPTH + b"\xc0")


def test_refuses_what_is_too_large_before_decoding() -> None:
    with pytest.raises(MessageError) as caught:
        codec.unpackb(b"\xc1" * 11, limit=10)
    assert caught.value.code == "message.too_large"


def test_a_value_without_wire_form_is_our_own_mistake() -> None:
    with pytest.raises(TypeError):
        codec.packb({"a": object()})
