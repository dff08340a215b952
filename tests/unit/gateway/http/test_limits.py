"""Token buckets and counts, by a clock that the tests turn."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll_gateway.http.faults import TooManyError
from atoll_gateway.http.limits import Buckets, Rate, Slots, address_key

RATE = Rate(burst=3, per_s=2.0)


def test_a_burst_is_let_through_and_then_the_rate() -> None:
    buckets = Buckets("p", RATE)
    assert [buckets.take("a", 0.0).ok for _ in range(5)] == [True] * 3 + [False] * 2
    assert buckets.take("a", 0.4).wait_s == pytest.approx(0.1)
    assert buckets.take("a", 0.5).ok
    assert not buckets.take("a", 0.5).ok


def test_a_refusal_costs_nothing() -> None:
    buckets = Buckets("p", RATE)
    for _ in range(3 + 100):
        buckets.take("a", 0.0)
    assert buckets.take("a", 0.5).ok


def test_each_key_has_its_own() -> None:
    buckets = Buckets("p", RATE)
    for _ in range(4):
        buckets.take("a", 0.0)
    assert buckets.take("b", 0.0).ok


def test_a_clock_that_goes_back_gives_nothing() -> None:
    buckets = Buckets("p", RATE)
    for _ in range(3):
        buckets.take("a", 10.0)
    assert not buckets.take("a", 9.0).ok


def test_the_headers_say_what_is_left() -> None:
    buckets = Buckets("p", RATE)
    first = buckets.take("a", 0.0)
    assert first.headers() == {"RateLimit-Policy": '"p";q=3;w=2', "RateLimit": '"p";r=2;t=1'}
    for _ in range(2):
        buckets.take("a", 0.0)
    assert buckets.take("a", 0.0).headers()["RateLimit"] == '"p";r=0;t=2'


def test_keys_are_bounded_and_the_oldest_goes() -> None:
    buckets = Buckets("p", Rate(burst=1, per_s=0.001), max_keys=2)
    assert buckets.take("a", 0.0).ok
    assert buckets.take("b", 0.0).ok
    assert buckets.take("c", 0.0).ok
    assert len(buckets) == 2
    assert not buckets.take("c", 0.0).ok
    assert buckets.take("a", 0.0).ok


@given(st.lists(st.floats(0, 0.3), max_size=200))
def test_no_more_passes_than_burst_and_rate_allow(pauses: list[float]) -> None:
    buckets, now, passed = Buckets("p", RATE), 0.0, 0
    for pause in pauses:
        now += pause
        passed += buckets.take("a", now).ok
    assert passed <= RATE.burst + RATE.per_s * now + 1e-6


def test_slots_are_given_back() -> None:
    slots = Slots(2)
    refusal = TooManyError("x", code="http.busy", retry_after_s=1)
    with slots.held("a", refusal), slots.held("a", refusal), slots.held("b", refusal):
        assert len(slots) == 3
        with pytest.raises(TooManyError), slots.held("a", refusal):
            pass
    assert len(slots) == 0


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("x" * 100, "x" * 64),
    ],
)
def test_an_address_counts_as_the_network_that_one_subscriber_has(host: str, key: str) -> None:
    assert address_key(host) == key
