"""A policy about virtual TPMs says every field, and has one form."""

from dataclasses import replace
from typing import Any

import pytest

from atoll import canonical
from atoll.errors import InputError
from atoll.evidence.policy_forms import UNCHECKED
from atoll.evidence.vtpm.policy import vtpm_policy_from_json, vtpm_policy_to_json
from support import vtpm


@pytest.mark.parametrize(
    "policy", [vtpm.policy(), vtpm.policy(pcr9s=UNCHECKED, pcr_values=UNCHECKED)]
)
def test_it_is_read_as_it_was_written(policy: Any) -> None:
    assert vtpm_policy_from_json(vtpm_policy_to_json(policy)) == policy


def test_its_digest_names_it() -> None:
    assert vtpm.policy().digest != vtpm.policy(require_secure_boot=False).digest


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pcr9s", ["00"]),
        ("pcr_values", {}),
        ("pcr_values", {"16": "00" * 32}),
        ("pcr_values", {"09": "00" * 32}),
        ("pcr_values", {"9": "00"}),
        ("pcr_values", []),
        ("allow_host_tpm", "unchecked"),
        ("hosts", ["a" * 65]),
    ],
)
def test_what_no_field_can_be_is_refused(name: str, value: Any) -> None:
    plain = canonical.loads(vtpm_policy_to_json(vtpm.policy()))

    with pytest.raises(InputError) as caught:
        vtpm_policy_from_json(canonical.dumps({**plain, name: value}))

    assert (caught.value.code, name in caught.value.message) == ("policy.invalid", True)


def test_a_register_has_32_bytes() -> None:
    with pytest.raises(InputError, match="pcr_values"):
        replace(vtpm.policy(), pcr_values={9: "text"})  # type: ignore[dict-item]
