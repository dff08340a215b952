"""Several values become one byte string that can be read in only one way."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.framing import commitment, lp, transcript

blobs = st.lists(st.binary(max_size=8), max_size=4)


def test_a_length_is_four_bytes_big_endian() -> None:
    assert lp(b"abc") == b"\x00\x00\x00\x03abc"
    assert lp(b"") == bytes(4)


def test_a_transcript_is_the_label_then_each_value_behind_its_length() -> None:
    assert transcript("x v1", b"a", b"") == b"x v1\x00\x00\x00\x01a\x00\x00\x00\x00"


@given(blobs, blobs)
def test_other_values_give_another_transcript(left: list[bytes], right: list[bytes]) -> None:
    assert (transcript("x v1", *left) == transcript("x v1", *right)) == (left == right)


def test_moving_a_byte_between_values_shows() -> None:
    assert transcript("x", b"ab", b"c") != transcript("x", b"a", b"bc")


def test_a_label_is_ascii() -> None:
    with pytest.raises(UnicodeEncodeError):
        transcript("é", b"")


def test_a_commitment_is_over_salt_and_digest() -> None:
    salt, digest = bytes(range(32)), hashlib.sha256(b"data").digest()
    framed = b"atoll commitment v1" + b"\0\0\0\x20" + salt + b"\0\0\0\x20" + digest
    assert commitment(salt, digest) == hashlib.sha256(framed).digest()


@given(st.binary(min_size=32, max_size=32), st.integers(0, 255))
def test_every_bit_of_the_salt_counts(salt: bytes, bit: int) -> None:
    flipped = (int.from_bytes(salt, "big") ^ (1 << bit)).to_bytes(32, "big")
    digest = bytes(32)
    assert commitment(salt, digest) != commitment(flipped, digest)


@pytest.mark.parametrize(("salt", "digest"), [(31, 32), (32, 31), (0, 0), (33, 32)])
def test_another_length_is_our_own_mistake(salt: int, digest: int) -> None:
    with pytest.raises(ValueError, match="32-byte"):
        commitment(bytes(salt), bytes(digest))
