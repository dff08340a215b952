"""A policy's JSON says which kind it is of."""

import pytest

from atoll import canonical
from atoll.errors import InputError
from atoll.evidence.policy_forms import MAX_POLICY
from atoll.policy.sections import SECTIONS, read_policy
from support.policies import document


@pytest.mark.parametrize("tee", SECTIONS)
def test_a_policy_is_read_as_the_kind_that_it_says(tee: str) -> None:
    policy = document().sections[tee]

    assert read_policy(SECTIONS[tee].to_json(policy)) == policy


@pytest.mark.parametrize(
    "raw",
    [
        b"[]",
        b"{}",
        canonical.dumps({"tee": 1}),
        canonical.dumps({"tee": "sgx"}),
        b" " * (MAX_POLICY + 1),
    ],
)
def test_what_says_no_kind_is_refused(raw: bytes) -> None:
    with pytest.raises(InputError) as caught:
        read_policy(raw)

    assert caught.value.code == "policy.invalid"
