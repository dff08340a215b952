"""Published event logs, and what their policies may say."""

from typing import Any

import pytest

from atoll.errors import InputError
from atoll.evidence.eventlog.ccel import EventLog
from atoll.evidence.eventlog.judge import judge_ccel, judge_rtmr_json_log
from support import judging, vectors
from support.ccel import event, extended, first, sha384

LOG = first() + event(1, b"a")
ZERO = bytes(48).hex()
RTMRS = [extended(sha384(b"a")).hex(), ZERO, ZERO, ZERO]


def ccel(policy: dict[str, Any], files: dict[str, bytes] | None = None) -> tuple[str, str]:
    got = judge_ccel(LOG, files=files or {}, params={}, policy=policy, verify_time=None)
    return got.verdict, got.reason


@pytest.mark.parametrize("case", vectors.of_kind("ccel"), ids=judging.name)
def test_published_ccel_vector_is_judged_as_it_says(case: dict[str, Any]) -> None:
    judging.agrees(judge_ccel, case)


@pytest.mark.parametrize("case", vectors.of_kind("rtmr_json_log"), ids=judging.name)
def test_published_json_vector_is_judged_as_it_says(case: dict[str, Any]) -> None:
    judging.agrees(judge_rtmr_json_log, case)


@pytest.mark.parametrize(
    "case",
    [case for case in vectors.of_kind("ccel") if "rtmr0" in case.get("fields", {})],
    ids=judging.name,
)
def test_published_ccel_vector_replays_to_its_registers(case: dict[str, Any]) -> None:
    values, fields = EventLog.from_bytes(vectors.read(case["path"])).replay(), case["fields"]
    for number in range(4):
        if f"rtmr{number}" in fields:
            assert values[number].hex() == fields[f"rtmr{number}"]


def test_attack_29_the_edited_data_of_the_published_log_is_not_proven() -> None:
    vectors.require()
    genuine = EventLog.from_bytes(vectors.read("ccel/cos113.bin")).events
    edited = EventLog.from_bytes(vectors.read("ccel/cos113-eventdata.bin")).events
    changed = [pair for pair in zip(genuine, edited, strict=True) if pair[0] != pair[1]]
    assert len(changed) == 1
    assert changed[0][0].proven_data == changed[0][0].data
    assert changed[0][1].proven_data is None


def test_registers_are_compared_with_the_policy() -> None:
    assert ccel({"rtmrs": RTMRS}) == ("valid", "")
    assert ccel({"rtmrs": [ZERO, *RTMRS[1:]]}) == ("invalid", "rtmr_mismatch")
    assert ccel({"rtmrs": [*RTMRS[:3], RTMRS[0]]}) == ("invalid", "rtmr_mismatch")
    assert ccel({"rtmrs": ["", *RTMRS[1:]]}) == ("invalid", "rtmr_mismatch")


def test_comparing_nothing_is_not_valid() -> None:
    assert ccel({}) == ("parse-only", "")


def test_a_malformed_quote_is_a_verdict() -> None:
    assert ccel({"match_rtmrs": [0]}, {"quote": b""}) == ("invalid", "malformed")


@pytest.mark.parametrize(
    "policy",
    [
        {"rtmrs": RTMRS[:3]},
        {"rtmrs": ["zz", *RTMRS[1:]]},
        {"rtmrs": [None, *RTMRS[1:]]},
        {"match_rtmrs": [4]},
        {"match_rtmrs": [True]},
        {"match_rtmrs": 0},
        {"match_rtmrs": [0]},
        {"recompute_rtmr3": True},
    ],
)
def test_a_policy_or_files_not_understood_are_an_error_and_not_a_verdict(
    policy: dict[str, Any],
) -> None:
    with pytest.raises(InputError):
        ccel(policy)


def test_rtmr3_of_a_json_log_is_recomputed_unless_the_policy_says_otherwise() -> None:
    entry = '{"imr":3,"event_type":134217729,"digest":"' + "0a" * 48 + '"}'
    raw, wanted = f"[{entry}]".encode(), [ZERO, ZERO, ZERO, extended(b"\x0a" * 48).hex()]

    def judge(**policy: object) -> str:
        got = judge_rtmr_json_log(
            raw, files={}, params={}, policy={"rtmrs": wanted, **policy}, verify_time=None
        )
        return got.reason or got.verdict

    assert judge() == "event_digest_mismatch"
    assert judge(recompute_rtmr3=False) == "valid"


def test_recompute_rtmr3_is_a_boolean() -> None:
    with pytest.raises(InputError):
        judge_rtmr_json_log(
            b"[]", files={}, params={}, policy={"recompute_rtmr3": 1}, verify_time=None
        )


def test_registers_of_an_sgx_quote_cannot_be_compared() -> None:
    vectors.require()
    sgx = vectors.read(vectors.of_kind("sgx_quote")[0]["path"])
    with pytest.raises(InputError):
        ccel({"match_rtmrs": [0]}, {"quote": sgx})
