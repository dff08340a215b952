"""A challenge is known by every replica, for its time, and by nobody else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import RejectedEvidenceError
from atoll_attestor.nonces import MAX_SKEW_MS, NONCE_SIZE, NonceIssuer

NOW = 1_800_000_000_000
TTL = 120_000
ISSUER = NonceIssuer(b"secret", TTL)
NONCE, EXPIRES = ISSUER.issue(now_ms=NOW, random=bytes(8))


def refused(nonce: bytes, now_ms: int, issuer: NonceIssuer = ISSUER) -> str:
    with pytest.raises(RejectedEvidenceError) as caught:
        issuer.require_fresh(nonce, now_ms=now_ms)
    return caught.value.code


def test_a_nonce_is_32_bytes_and_says_until_when_it_holds() -> None:
    assert len(NONCE) == NONCE_SIZE
    assert EXPIRES == NOW + TTL


@pytest.mark.parametrize("now_ms", [NOW, NOW + TTL, NOW - MAX_SKEW_MS])
def test_any_replica_knows_it_for_its_time(now_ms: int) -> None:
    NonceIssuer(b"secret", TTL).require_fresh(NONCE, now_ms=now_ms)


@pytest.mark.parametrize("now_ms", [NOW + TTL + 1, NOW - MAX_SKEW_MS - 1, 0])
def test_outside_its_time_it_is_stale(now_ms: int) -> None:
    assert refused(NONCE, now_ms) == "evidence.stale"


def test_an_attestor_with_another_key_does_not_know_it() -> None:
    assert refused(NONCE, NOW, NonceIssuer(b"other", TTL)) == "evidence.nonce"


def test_two_nonces_of_one_moment_differ_by_their_random_part() -> None:
    other, _ = ISSUER.issue(now_ms=NOW, random=b"\1" * 8)
    assert other != NONCE


@given(st.integers(0, NONCE_SIZE * 8 - 1))
def test_no_bit_of_a_nonce_is_ignored(bit: int) -> None:
    raw = bytearray(NONCE)
    raw[bit // 8] ^= 1 << bit % 8
    assert refused(bytes(raw), NOW) == "evidence.nonce"


@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_no_nonce(raw: bytes) -> None:
    assert refused(raw, NOW) == "evidence.nonce"


@pytest.mark.parametrize("size", [0, 7, 9])
def test_a_nonce_takes_exactly_8_random_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="8 random bytes"):
        ISSUER.issue(now_ms=NOW, random=bytes(size))
