"""What a policy says of a virtual TPM: a nonce and registers, all of it or explicitly nothing."""

from typing import Any

import pytest

from atoll import canonical
from atoll.errors import InputError
from atoll.evidence.findings import Outcome
from atoll.evidence.policy_forms import UNCHECKED
from atoll.evidence.tpm.policy import (
    TpmPolicy,
    pcr_findings,
    tpm_policy_from_json,
    tpm_policy_to_json,
    tpm_requirements,
)

ZERO, ONE = bytes(32), b"\x01" * 48
VALUES = {"sha256": {0: ZERO}, "sha384": {23: ONE}}
PLAIN = {"sha256": {"0": ZERO.hex()}, "sha384": {"23": ONE.hex()}}


@pytest.mark.parametrize(
    "policy",
    [
        TpmPolicy(nonce=b"fresh", pcr_values=VALUES),
        TpmPolicy(nonce=b"", pcr_values=UNCHECKED),
        TpmPolicy(nonce=UNCHECKED, pcr_values=VALUES),
    ],
)
def test_a_whole_policy_reads_back(policy: TpmPolicy) -> None:
    raw = tpm_policy_to_json(policy)
    assert tpm_policy_from_json(raw) == policy
    assert tpm_requirements(canonical.loads(raw)) == policy


def test_a_whole_policy_without_a_field_is_refused() -> None:
    whole = canonical.loads(tpm_policy_to_json(TpmPolicy(nonce=b"", pcr_values=UNCHECKED)))
    for name in ("nonce", "pcr_values", "version"):
        with pytest.raises(InputError):
            tpm_requirements({key: value for key, value in whole.items() if key != name})


def test_requirements_check_only_what_they_name() -> None:
    assert tpm_requirements({}) == TpmPolicy(nonce=UNCHECKED, pcr_values=UNCHECKED)
    assert tpm_requirements({"pcr_values": PLAIN}).pcr_values == VALUES


@pytest.mark.parametrize(
    "values",
    [
        {},
        [],
        {"sha1": {"0": "00" * 20}},
        {"sha256": {}},
        {"sha256": []},
        {"sha256": {"24": "00" * 32}},
        {"sha256": {"-1": "00" * 32}},
        {"sha256": {"x": "00" * 32}},
        {"sha256": {"0": "00" * 31}},
        {"sha256": {"0": "zz"}},
        {"sha256": {"0": 0}},
    ],
)
def test_register_values_in_another_form_are_an_error_and_not_a_verdict(values: Any) -> None:
    with pytest.raises(InputError) as caught:
        tpm_requirements({"pcr_values": values})
    assert caught.value.code == "policy.invalid"


def test_a_nonce_that_no_tpm_can_answer_is_an_error() -> None:
    with pytest.raises(InputError):
        tpm_requirements({"nonce": "00" * 129})


@pytest.mark.parametrize(
    ("proven", "passed"),
    [
        (VALUES, [True, True]),
        ({"sha256": {0: ZERO, 1: ZERO}, "sha384": {23: bytes(48)}}, [True, False]),
        ({"sha256": {1: ZERO}}, [False, False]),
        ({}, [False, False]),
    ],
)
def test_each_register_is_compared_and_an_unproven_one_fails(
    proven: dict[str, dict[int, bytes]], passed: list[bool]
) -> None:
    found = list(pcr_findings(TpmPolicy(nonce=UNCHECKED, pcr_values=VALUES), proven))
    assert [one.id for one in found] == ["tpm.pcr.sha256.0", "tpm.pcr.sha384.23"]
    assert [one.outcome is Outcome.PASS for one in found] == passed
    assert not list(pcr_findings(TpmPolicy(nonce=UNCHECKED, pcr_values=UNCHECKED), proven))
