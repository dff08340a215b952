"""Published Keystone vectors, and what their policies may say."""

import json
from typing import Any

import pytest

from atoll.errors import InputError
from atoll.evidence.judged import Judged
from atoll.evidence.keystone.judge import judge_keystone_report
from atoll.evidence.keystone.policy import keystone_policy_to_json
from atoll.evidence.keystone.report import KeystoneReport
from atoll.policy.templates import strict_keystone
from support import judging, vectors
from support.keystone import DEVICE, ENCLAVE_HASH, Content


def judge(raw: bytes, **policy: Any) -> Judged:
    return judge_keystone_report(raw, files={}, params={}, policy=policy, verify_time=None)


@pytest.mark.parametrize("case", vectors.of_kind("keystone_report"), ids=judging.name)
def test_published_vector_is_judged_as_it_says(case: dict[str, Any]) -> None:
    judging.agrees(judge_keystone_report, case)


@pytest.mark.parametrize(
    "case",
    [case for case in vectors.of_kind("keystone_report") if case.get("fields")],
    ids=judging.name,
)
def test_published_vector_parses_to_its_fields(case: dict[str, Any]) -> None:
    report, fields = KeystoneReport.from_bytes(vectors.read(case["path"])), case["fields"]
    assert report.enclave_hash.hex() == fields["enclave_hash"]
    assert len(report.data) == fields["data_len"]
    assert report.data.hex() == fields["data"]
    assert report.sm_hash.hex() == fields["sm_hash"]
    assert report.sm_public_key.hex() == fields["sm_public_key"]
    assert report.device_public_key.hex() == fields["dev_public_key"]


def test_an_own_report_is_judged_by_the_same_policy() -> None:
    raw, key = Content().report(), DEVICE.public.hex()
    assert judge(raw, device_public_key=key, data=b"nonce".hex()).verdict == "valid"
    assert judge(raw, device_public_key=key, data="").reason == "data_mismatch"
    assert judge(raw[:-1], device_public_key=key).reason == "bad_length"


def test_attack_30_without_a_configured_key_the_one_in_the_report_is_not_used() -> None:
    assert judge(Content().report()).reason == "untrusted_device_key"


@pytest.mark.parametrize(
    "policy",
    [
        {"device_public_key": "zz"},
        {"device_public_key": 5},
        {"device_public_key": "00"},
        {"device_public_key": "00" * 32, "minimum_svn": 1},
        {"device_public_key": "00" * 32, "sm_hash": "00"},
    ],
)
def test_a_policy_that_is_not_understood_is_an_error_and_not_a_verdict(
    policy: dict[str, Any],
) -> None:
    with pytest.raises(InputError):
        judge(Content().report(), **policy)


def test_attack_30_a_derivable_sm_key_is_refused_unless_the_policy_allows_it() -> None:
    raw, key = Content().with_derivable_sm_key().report(), DEVICE.public.hex()
    assert judge(raw, device_public_key=key).reason == "sm_key_mismatch"
    for allowed, verdict in ((False, "invalid"), (True, "valid")):
        got = judge(raw, device_public_key=key, allow_derivable_sm_key=allowed)
        assert got.verdict == verdict
    with pytest.raises(InputError):
        judge(raw, device_public_key=key, allow_derivable_sm_key="yes")


def test_a_whole_policy_counts_with_every_field() -> None:
    key = DEVICE.public.hex()
    whole: dict[str, Any] = json.loads(
        keystone_policy_to_json(strict_keystone(frozenset({ENCLAVE_HASH})))
    )
    raw = Content().report()
    assert judge(raw, device_public_key=key, **whole).verdict == "valid"
    narrow = judge(raw, device_public_key=key, enclave_hash="00" * 64, **whole)
    assert narrow.reason == "enclave_hash_mismatch"
    derivable = Content().with_derivable_sm_key().report()
    assert judge(derivable, device_public_key=key, **whole).verdict == "invalid"
    del whole["data"]
    with pytest.raises(InputError):
        judge(raw, device_public_key=key, **whole)
