"""NATS keys: their text, and that nothing else is taken for one."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.credentials.nkey import KeyPair, Kind, decode_public, encode_public, verify
from atoll.errors import InputError

# The example of the nkeys library's own documentation and tests.
SEED = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
KINDS = tuple(kind for kind in Kind)


def flipped(text: str, place: int) -> str:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    return text[:place] + alphabet[(alphabet.index(text[place]) + 1) % 32] + text[place + 1 :]


def test_a_published_seed_is_read_and_written_again() -> None:
    pair = KeyPair.from_seed(SEED, Kind.USER)
    assert pair.seed == SEED
    assert pair.public.startswith("U")
    assert SEED not in repr(pair)


@pytest.mark.parametrize("kind", KINDS)
def test_text_says_what_a_key_is_for(kind: Kind) -> None:
    pair = KeyPair.generate(kind, lambda size: bytes(range(size)))
    letter = {"OPERATOR": "O", "ACCOUNT": "A", "USER": "U", "SERVER": "N"}[kind.name]
    assert pair.public[0] == letter
    assert pair.seed[:2] == "S" + letter
    assert KeyPair.from_seed(pair.seed, kind).public == pair.public
    for other in KINDS:
        if other is not kind:
            with pytest.raises(InputError) as caught:
                decode_public(pair.public, other)
            assert caught.value.code == "nkey.invalid"
            with pytest.raises(InputError):
                KeyPair.from_seed(pair.seed, other)


def test_every_changed_letter_is_noticed() -> None:
    pair = KeyPair.generate(Kind.USER, lambda size: b"\7" * size)
    for text, read in ((pair.public, decode_public), (pair.seed, KeyPair.from_seed)):
        for place in range(len(text)):
            with pytest.raises(InputError):
                read(flipped(text, place), Kind.USER)


@given(st.binary(min_size=32, max_size=32))
def test_a_public_key_comes_back(raw: bytes) -> None:
    assert decode_public(encode_public(Kind.ACCOUNT, raw), Kind.ACCOUNT) == raw


@given(st.text(max_size=70))
def test_other_text_is_no_key(text: str) -> None:
    for read in (decode_public, KeyPair.from_seed):
        with pytest.raises(InputError):
            read(text, Kind.USER)


def test_bits_beyond_the_key_are_not_ignored() -> None:
    public = KeyPair.generate(Kind.USER, lambda size: b"\1" * size).public
    raw = base64.b32decode(public + "=" * (-len(public) % 8))
    assert base64.b32encode(raw).decode().rstrip("=") == public


def test_a_signature_is_by_this_key_over_this_message() -> None:
    one = KeyPair.generate(Kind.USER, lambda size: b"\1" * size)
    other = KeyPair.generate(Kind.USER, lambda size: b"\2" * size)
    signature = one.sign(b"nonce")
    assert verify(one.public, Kind.USER, signature, b"nonce")
    assert not verify(other.public, Kind.USER, signature, b"nonce")
    assert not verify(one.public, Kind.USER, signature, b"another")
    assert not verify(one.public, Kind.USER, signature[:-1], b"nonce")
    assert not verify("no key", Kind.USER, signature, b"nonce")
