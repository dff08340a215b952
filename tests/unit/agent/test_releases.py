"""Key releases: the right ones are taken, the others are told and change nothing."""

from typing import Any

import pytest
from hypothesis import given as with_values
from hypothesis import settings
from hypothesis import strategies as st

from atoll.wire import schema
from atoll_agent.releases import MAX_REFUSALS, MAX_RELEASE, ReleaseCollector
from unit.agent import given

ASSETS = given.assets(iris=b"data")
TASK = given.task(ASSETS)
GOOD = schema.encode(given.release(TASK, "iris", ASSETS))


def collector() -> ReleaseCollector:
    return ReleaseCollector(TASK, given.KEYS.hpke)


def test_a_release_for_each_asset_is_all_that_is_missing() -> None:
    waiting = collector()
    for name in (given.ALGORITHM, given.INVOCATION, "iris"):
        assert name in waiting.missing
        assert waiting.take(schema.encode(given.release(TASK, name, ASSETS))) is None
        assert waiting.keys[name].content_key == ASSETS[name].secrets.content_key
    assert not waiting.missing


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"job_id": "job-2"}, "release.other_job"),
        ({"attempt": 2}, "release.stale_attempt"),
        ({"manifest_digest": bytes(32)}, "release.other_manifest"),
        ({"evidence_digest": bytes(32)}, "release.other_evidence"),
        ({"asset_id": bytes(16)}, "release.other_asset"),
        ({"asset_name": "wine"}, "release.undeclared_asset"),
    ],
)
def test_a_release_for_another_use_is_refused_by_name(changes: dict[str, Any], code: str) -> None:
    waiting = collector()
    refusal = waiting.take(schema.encode(given.release(TASK, "iris", ASSETS, **changes)))
    assert refusal is not None
    assert refusal.code == code
    assert "iris" in waiting.missing


def test_the_first_release_stays() -> None:
    waiting = collector()
    waiting.take(GOOD)
    other = given.release(TASK, "iris", ASSETS, content_key=bytes(32))
    assert waiting.take(schema.encode(other)) is None
    assert waiting.keys["iris"].content_key == ASSETS["iris"].secrets.content_key


def test_refusals_are_told_only_so_often_and_the_wait_goes_on() -> None:
    waiting = collector()
    told = [waiting.take(b"\xc1") for _ in range(MAX_REFUSALS + 5)]
    assert [refusal is not None for refusal in told] == [True] * MAX_REFUSALS + [False] * 5
    assert waiting.refused == MAX_REFUSALS + 5
    assert waiting.take(GOOD) is None
    assert "iris" in waiting.keys


def test_a_release_that_is_too_large_is_refused_before_it_is_read() -> None:
    refusal = collector().take(bytes(MAX_RELEASE + 1))
    assert refusal is not None
    assert refusal.code.startswith("message.")


@settings(max_examples=60, deadline=None)
@with_values(st.integers(0, len(GOOD) * 8 - 1))
def test_no_bit_of_a_release_is_ignored(bit: int) -> None:
    raw = bytearray(GOOD)
    raw[bit // 8] ^= 1 << bit % 8
    waiting = collector()
    assert waiting.take(bytes(raw)) is not None
    assert not waiting.keys


@settings(max_examples=100, deadline=None)
@with_values(st.binary(max_size=300))
def test_arbitrary_bytes_are_a_refusal(raw: bytes) -> None:
    assert collector().take(raw) is not None
