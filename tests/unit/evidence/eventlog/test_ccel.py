"""The firmware's event log: parsed within limits, replayed exactly."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import EvidenceError, MalformedEvidenceError, UnsupportedEvidenceError
from atoll.evidence.eventlog import ccel
from atoll.evidence.eventlog.ccel import EV_NO_ACTION, Event, EventLog
from support.ccel import SHA1, SHA256, SHA384, SHA512, event, extended, first, sha384

A, B, C = event(1, b"a"), event(2, b"b"), event(1, b"c")
GOOD = first() + A + B + C
EMPTY = bytes(48)


def refused(raw: bytes) -> str:
    with pytest.raises(MalformedEvidenceError) as caught:
        EventLog.from_bytes(raw)
    return caught.value.reason


def test_reads_events_in_order() -> None:
    log = EventLog.from_bytes(GOOD)
    assert log.events == (
        Event(register=1, type=0x0D, digest=sha384(b"a"), data=b"a"),
        Event(register=2, type=0x0D, digest=sha384(b"b"), data=b"b"),
        Event(register=1, type=0x0D, digest=sha384(b"c"), data=b"c"),
    )


def test_attack_29_register_index_off_by_one() -> None:
    log = EventLog.from_bytes(first() + b"".join(event(at, bytes((at,))) for at in (1, 2, 3, 4)))
    assert log.replay() == tuple(extended(sha384(bytes((at,)))) for at in (1, 2, 3, 4))


def test_replays_in_order_and_each_register_for_itself() -> None:
    log = EventLog.from_bytes(GOOD)
    assert log.replay() == (
        extended(sha384(b"a"), sha384(b"c")),
        extended(sha384(b"b")),
        EMPTY,
        EMPTY,
    )


def test_attack_29_no_action_is_never_extended() -> None:
    quiet = event(1, b"quiet", kind=EV_NO_ACTION)
    expected = EventLog.from_bytes(first() + A).replay()
    assert EventLog.from_bytes(first() + quiet + A).replay() == expected


def test_attack_29_event_data_trusted_unhashed() -> None:
    edited = event(1, b"b", digests={SHA384: sha384(b"a")})
    log = EventLog.from_bytes(first() + edited)
    assert log.replay() == EventLog.from_bytes(first() + A).replay()
    assert log.events[0].proven_data is None
    assert EventLog.from_bytes(first() + A).events[0].proven_data == b"a"


def test_an_event_for_mrtd_is_refused_unless_it_extends_nothing() -> None:
    assert "MRTD" in refused(first() + event(0, b"x"))
    log = EventLog.from_bytes(first() + event(0, b"x", kind=EV_NO_ACTION))
    assert log.replay() == (EMPTY,) * 4


@pytest.mark.parametrize("register", [5, 24, 0xFFFFFFFE])
def test_refuses_a_register_that_does_not_exist(register: int) -> None:
    assert "register" in refused(first() + event(register, b"x"))


@pytest.mark.parametrize("padding", [b"", b"\xff", b"\xff" * 4, b"\xff" * 999, bytes(3), bytes(64)])
def test_padding_of_one_kind_ends_the_log(padding: bytes) -> None:
    assert EventLog.from_bytes(GOOD + padding) == EventLog.from_bytes(GOOD)


@pytest.mark.parametrize("tail", [b"\xff" * 8 + A, bytes(8) + A, b"\xff" * 8 + bytes(8), b"\x01"])
def test_nothing_may_hide_behind_padding(tail: bytes) -> None:
    refused(GOOD + tail)


def test_other_algorithms_are_carried_but_not_replayed() -> None:
    digests = {SHA256: bytes(32), SHA384: sha384(b"a"), SHA1: bytes(20), SHA512: bytes(64)}
    raw = first(SHA256, SHA384, SHA1, SHA512) + event(1, b"a", digests=digests)
    assert EventLog.from_bytes(raw).replay() == EventLog.from_bytes(first() + A).replay()


@pytest.mark.parametrize(
    "digests",
    [
        {},
        {SHA384: bytes(48)},
        {SHA256: bytes(32), SHA512: bytes(64)},
        {SHA256: bytes(32), SHA384: bytes(48), SHA1: bytes(20)},
    ],
)
def test_each_event_has_exactly_the_announced_digests(digests: dict[int, bytes]) -> None:
    assert "digest" in refused(first(SHA256, SHA384) + event(1, b"a", digests=digests))


def test_attack_two_sha384_digests_in_one_event() -> None:
    twice = struct.pack("<IIIH48sH48sI", 1, 13, 2, SHA384, bytes(48), SHA384, bytes(48), 0)
    assert "repeated" in refused(first(SHA256, SHA384) + twice)


def test_refuses_a_log_without_sha384_or_with_an_unknown_algorithm() -> None:
    for raw in (first(SHA256), first(SHA384, 0x7777)):
        with pytest.raises(UnsupportedEvidenceError):
            EventLog.from_bytes(raw)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (4, b"\x04"),  # not EV_NO_ACTION
        (8, b"\x01"),  # a SHA-1 digest
        (32, b"s"),  # another signature
        (56, b"\x00"),  # no algorithms
        (56, b"\x09"),  # too many
        (62, b"\x20"),  # SHA-384 with 32 bytes
    ],
)
def test_refuses_a_first_event_that_is_not_spec_id(at: int, value: bytes) -> None:
    raw = first()
    refused(raw[:at] + value + raw[at + 1 :] + A)


def test_refuses_an_algorithm_named_twice() -> None:
    assert "repeats" in refused(first(SHA384, SHA384))


def test_vendor_information_is_skipped() -> None:
    assert EventLog.from_bytes(first(vendor=b"vendor") + A).events


def test_every_truncation_is_malformed_or_a_shorter_log() -> None:
    whole = EventLog.from_bytes(GOOD).events
    ends = {len(first()), len(first() + A), len(first() + A + B)}
    for size in range(len(GOOD)):
        if size in ends:
            events = EventLog.from_bytes(GOOD[:size]).events
            assert events == whole[: len(events)] != whole
        else:
            refused(GOOD[:size])


def test_a_flip_of_any_bit_of_a_digest_changes_the_registers() -> None:
    at, expected = len(first()) + 14, EventLog.from_bytes(GOOD).replay()
    for bit in range(48 * 8):
        changed = bytearray(GOOD)
        changed[at + bit // 8] ^= 1 << bit % 8
        assert EventLog.from_bytes(bytes(changed)).replay() != expected


def test_a_claimed_size_is_not_believed() -> None:
    head = struct.pack("<IIIH48s", 1, 13, 1, SHA384, bytes(48))
    for size in (1, ccel.MAX_DATA, ccel.MAX_DATA + 1, 0xFFFFFFFF):
        refused(first() + head + struct.pack("<I", size))


def test_limits_are_refused_before_anything_is_read() -> None:
    assert "at most" in refused(first().ljust(ccel.MAX_LOG + 1, b"\xff"))
    small = event(1, b"")
    assert "events" in refused(first() + small * (ccel.MAX_EVENTS + 1))


@given(st.binary(max_size=400), st.booleans())
@settings(max_examples=300)
def test_arbitrary_bytes_are_a_log_or_an_evidence_error(raw: bytes, after_first: bool) -> None:  # noqa: FBT001
    try:
        log = EventLog.from_bytes((first() if after_first else b"") + raw)
    except EvidenceError:
        return
    assert [len(value) for value in log.replay()] == [48] * 4


@given(
    st.lists(st.tuples(st.integers(min_value=1, max_value=4), st.binary(max_size=20)), max_size=12)
)
@settings(max_examples=100)
def test_replay_is_the_extension_of_each_register_in_order(events: list[tuple[int, bytes]]) -> None:
    log = EventLog.from_bytes(first() + b"".join(event(at, data) for at, data in events))
    for number in range(4):
        digests = [sha384(data) for at, data in events if at == number + 1]
        assert log.replay()[number] == extended(*digests)
