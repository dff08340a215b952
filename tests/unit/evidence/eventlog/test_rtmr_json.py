"""The JSON event log: strict reading, replay, and proof of names and payloads."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import EvidenceError, MalformedEvidenceError, RejectedEvidenceError
from atoll.evidence.eventlog.rtmr_json import MAX_EVENTS, MAX_LOG, RUNTIME_EVENT, RtmrLog
from support.ccel import extended


def runtime(name: str, payload: bytes, **changes: Any) -> dict[str, Any]:
    """A run-time event of RTMR3 as the agent writes it."""
    text = b"\x01\x00\x00\x08:" + name.encode() + b":" + payload
    event = {
        "imr": 3,
        "event_type": RUNTIME_EVENT,
        "digest": hashlib.sha384(text).hexdigest(),
        "event": name,
        "event_payload": payload.hex(),
    }
    return {**event, **changes}


def firmware(register: int, digest: bytes) -> dict[str, Any]:
    return runtime("", b"", imr=register, event_type=4, digest=digest.hex())


def log(*events: dict[str, Any]) -> RtmrLog:
    return RtmrLog.from_bytes(json.dumps(events).encode())


def digest(event: dict[str, Any]) -> bytes:
    return bytes.fromhex(event["digest"])


ONE, TWO = runtime("app-id", b"\x01\x02"), runtime("ready", b"")


def mismatch(events: RtmrLog) -> str:
    with pytest.raises(RejectedEvidenceError) as caught:
        events.recompute(3)
    assert caught.value.code == "evidence.event_digest_mismatch"
    return caught.value.message


def test_replays_each_register_in_order() -> None:
    events = log(firmware(0, b"\x0a" * 48), ONE, firmware(1, b"\x0b" * 48), TWO)
    assert events.replay(0) == extended(b"\x0a" * 48)
    assert events.replay(1) == extended(b"\x0b" * 48)
    assert events.replay(2) == bytes(48)
    assert events.replay(3) == extended(digest(ONE), digest(TWO))
    assert events.replay(3) != log(TWO, ONE).replay(3)


def test_a_log_of_genuine_run_time_events_is_recomputed() -> None:
    log(ONE, TWO, firmware(0, bytes(48))).recompute(3)


@pytest.mark.parametrize(
    "change",
    [
        {"event_payload": "0103"},
        {"event_payload": ""},
        {"event": "app-ie"},
        {"event": "app-id:", "event_payload": "02"},
        {"event_type": 5},
        {"digest": ""},
        {"digest": "00" * 48},
    ],
)
def test_attack_29_payload_edited_and_digest_kept(change: dict[str, Any]) -> None:
    mismatch(log({**ONE, **change}, TWO))


def test_a_firmware_event_in_the_run_time_register_proves_nothing() -> None:
    assert "no run-time event" in mismatch(log(firmware(3, bytes(48))))


def test_an_event_without_a_digest_cannot_be_replayed() -> None:
    lite = log(firmware(0, b"\x0a" * 48), {**ONE, "digest": ""})
    assert lite.replay(0) == extended(b"\x0a" * 48)
    with pytest.raises(RejectedEvidenceError):
        lite.replay(3)


def test_unknown_keys_are_ignored_and_texts_may_be_absent() -> None:
    events = log({"imr": 2, "event_type": 4, "digest": "0c" * 48, "comment": "x"})
    assert events.replay(2) == extended(b"\x0c" * 48)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff",
        b"{}",
        b"[1]",
        b"[" * 100_000,
        b'[{"imr":3,"imr":3,"event_type":4}]',
        b'[{"imr":' + b"9" * 5000 + b',"event_type":4}]',
        b'[{"imr":true,"event_type":4}]',
        b'[{"imr":4,"event_type":4}]',
        b'[{"imr":-1,"event_type":4}]',
        b'[{"imr":1.0,"event_type":4}]',
        b'[{"imr":1}]',
        b'[{"imr":1,"event_type":4294967296}]',
        b'[{"imr":1,"event_type":-1}]',
        b'[{"imr":1,"event_type":4,"digest":"00"}]',
        b'[{"imr":1,"event_type":4,"digest":5}]',
        b'[{"imr":1,"event_type":4,"digest":"zz"}]',
        b'[{"imr":1,"event_type":4,"digest":"' + b"00 " * 48 + b'"}]',
        b'[{"imr":1,"event_type":4,"event":null}]',
        b'[{"imr":1,"event_type":4,"event":"\\ud800"}]',
        b'[{"imr":1,"event_type":4,"event_payload":"0"}]',
        b"[]" + b" " * MAX_LOG,
        json.dumps([{"imr": 1, "event_type": 4}] * (MAX_EVENTS + 1)).encode(),
    ],
)
def test_refuses_what_is_not_such_a_log(raw: bytes) -> None:
    with pytest.raises(MalformedEvidenceError):
        RtmrLog.from_bytes(raw)


def test_every_truncation_is_refused() -> None:
    raw = json.dumps([ONE]).encode()
    for size in range(len(raw)):
        with pytest.raises(MalformedEvidenceError):
            RtmrLog.from_bytes(raw[:size])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["imr", "event_type", "digest", "event", "event_payload"]), inner
        )
    ),
    max_leaves=12,
)


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
@settings(max_examples=200)
def test_arbitrary_bytes_and_json_are_a_log_or_an_evidence_error(raw: bytes) -> None:
    try:
        RtmrLog.from_bytes(raw).replay(3)
    except EvidenceError:
        return


@given(st.text(max_size=12), st.binary(max_size=24))
@settings(max_examples=100)
def test_any_name_and_payload_recompute_to_what_the_agent_wrote(name: str, payload: bytes) -> None:
    log(runtime(name, payload)).recompute(3)
