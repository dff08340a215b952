"""A key ring: one key signs, those before it are published as long as they matter."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import KeySet, OKPKey

from atoll import canonical
from atoll.errors import InputError, RefusedError
from atoll.evidence.ear import CLOCK_SKEW_S, MAX_LIFETIME_S
from atoll.evidence.ear_keys import MAX_KEYS, MAX_RING, KeyRing, RingKey, jwks

NOW = 1_800_000_000
DAY = MAX_LIFETIME_S + CLOCK_SKEW_S


def counting() -> Callable[[int], bytes]:
    """Other bytes at each call."""
    numbers = itertools.count(1)
    return lambda size: next(numbers).to_bytes(size, "big")


RANDOM = counting()
ONE = KeyRing.generate(RANDOM, now=NOW)
TWO = ONE.rotated(RANDOM, now=NOW + 10)


def plain(**changes: Any) -> bytes:
    return canonical.dumps({**json.loads(TWO.to_bytes()), **changes})


def key(**changes: Any) -> dict[str, Any]:
    return {"seed": "ab" * 32, "made": NOW, "retired": None, **changes}


def test_rotation_makes_a_fresh_key_and_keeps_the_nonce_secret() -> None:
    assert TWO.nonce_secret == ONE.nonce_secret
    assert TWO.active.kid != ONE.active.kid
    assert [item.kid for item in TWO.published(now=NOW + 10)] == [TWO.active.kid, ONE.active.kid]


def test_a_retired_key_is_published_until_what_it_signed_last_has_expired() -> None:
    last = NOW + 10 + 300 + CLOCK_SKEW_S
    assert len(TWO.published(now=last - 1, ttl_s=300)) == 2
    assert TWO.published(now=last, ttl_s=300) == (TWO.active,)


def test_rotation_forgets_a_key_that_no_result_can_need() -> None:
    early = TWO.rotated(RANDOM, now=NOW + 10 + DAY - 1)
    assert len(early.keys) == 3
    assert len(TWO.rotated(RANDOM, now=NOW + 10 + DAY).keys) == 2


def test_too_many_rotations_in_a_day_are_refused() -> None:
    ring = ONE
    for _ in range(MAX_KEYS - 1):
        ring = ring.rotated(RANDOM, now=NOW)
    assert len(ring.published(now=NOW)) == MAX_KEYS
    with pytest.raises(RefusedError) as caught:
        ring.rotated(RANDOM, now=NOW)
    assert caught.value.code == "keyring.full"
    assert len(ring.rotated(RANDOM, now=NOW + DAY).keys) == 2


def test_a_clock_that_went_back_does_not_break_the_ring() -> None:
    ring = TWO.rotated(RANDOM, now=NOW - 1000)
    assert KeyRing.from_bytes(ring.to_bytes()) == ring


def test_a_ring_reads_back() -> None:
    assert KeyRing.from_bytes(TWO.to_bytes()) == TWO


def test_two_libraries_read_the_key_set() -> None:
    raw = jwks(TWO.published(now=NOW + 10)).decode()
    wanted = {item.kid: item.public for item in TWO.keys}
    pyjwt = jwt.PyJWKSet.from_json(raw)
    assert {item.key_id: item.key.public_bytes_raw() for item in pyjwt.keys} == wanted
    for item in KeySet.import_key_set(json.loads(raw)).keys:
        assert isinstance(item, OKPKey)
        assert item.public_key.public_bytes_raw() == wanted[str(item.kid)]
        assert not item.is_private


def test_no_secret_is_shown() -> None:
    shown = repr(TWO)
    for secret in (TWO.nonce_secret, TWO.active.seed):
        assert secret.hex() not in shown
        assert repr(secret) not in shown


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[]",
        b"[" * 5000,
        b" " + TWO.to_bytes(),
        b"\xff",
        bytes(MAX_RING + 1),
        plain(format="other"),
        plain(format_version=2),
        plain(format_version=True),
        plain(more=1),
        plain(nonce_secret="ab" * 31),
        plain(nonce_secret="AB" * 32),
        plain(nonce_secret=5),
        plain(keys=[]),
        plain(keys={}),
        plain(keys=[5]),
        plain(keys=[key(more=1)]),
        plain(keys=[key(seed="x" * 64)]),
        plain(keys=[key(made=-1)]),
        plain(keys=[key(made=True)]),
        plain(keys=[key(made="1")]),
        plain(keys=[key(retired=NOW)]),
        plain(keys=[key(retired=NOW - 1), key(seed="cd" * 32)]),
        plain(keys=[key(), key(seed="cd" * 32)]),
        plain(keys=[key(retired=NOW), key()]),
        plain(keys=[key(seed=f"{n:064x}", retired=NOW) for n in range(MAX_KEYS)] + [key()]),
    ],
)
def test_what_is_no_ring_is_refused_without_a_word_of_it(raw: bytes) -> None:
    with pytest.raises(InputError) as caught:
        KeyRing.from_bytes(raw)
    assert caught.value.code == "keyring.invalid"
    assert "abab" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_ring_with_too_many_keys_cannot_be_made() -> None:
    keys = [RingKey(seed=n.to_bytes(32, "big"), made=1, retired=1) for n in range(1, 17)]
    with pytest.raises(InputError):
        KeyRing(nonce_secret=bytes(32), keys=(*keys, RingKey(seed=bytes(32), made=1)))


@settings(max_examples=100)
@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_refused_by_code(raw: bytes) -> None:
    with pytest.raises(InputError) as caught:
        KeyRing.from_bytes(raw)
    assert caught.value.code == "keyring.invalid"
