"""Judge one published Keystone vector (kind `keystone_report`)."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from atoll import canonical
from atoll.errors import MalformedEvidenceError, RejectedEvidenceError
from atoll.evidence.findings import first_failed
from atoll.evidence.judged import Files, Judged, flag, judged, known, octets
from atoll.evidence.keystone.findings import keystone_findings
from atoll.evidence.keystone.policy import KeystonePolicy, keystone_policy_from_json
from atoll.evidence.keystone.report import DATA_LEN_AT
from atoll.evidence.keystone.verify import (
    DEVELOPMENT_DEVICE_KEY,
    DeviceKeys,
    verify_keystone,
)
from atoll.evidence.policy_forms import UNCHECKED, Unchecked, narrowed

KEYS: Final = ("device_public_key", "enclave_hash", "sm_hash", "data", "allow_derivable_sm_key")


def judge_keystone_report(
    evidence: bytes,
    *,
    files: Files,  # noqa: ARG001 - one shape for every kind
    params: Mapping[str, Any],  # noqa: ARG001
    policy: Mapping[str, Any],
    verify_time: datetime | None,  # noqa: ARG001
) -> Judged:
    """Verify and appraise a report.

    The policy's `device_public_key` is the one trusted key; without it, none is. To name the
    published development key there is to allow it. `enclave_hash`, `sm_hash` and `data` are
    compared if present. A policy with a key "tee" is a whole one, beside which only the device
    key and the enclave's hash may be named.

    An SM key that the reference boot loader derives from two bytes is refused, unless the
    policy has `allow_derivable_sm_key`. Under the development key, with which anybody can
    vouch for any SM key, it makes no difference and is not asked.

    Raises:
        InputError: the policy is not of this form.
    """
    key = octets(policy, "device_public_key")
    keys = frozenset[bytes]() if key is None else frozenset({key})
    trust = DeviceKeys(keys=keys, allow_development=True)
    wanted = _whole(policy) if "tee" in policy else _listed(policy)
    return judged(lambda: _check(evidence, trust, wanted))


def _whole(policy: Mapping[str, Any]) -> KeystonePolicy:
    beside = ("device_public_key", "enclave_hash")
    own = {name: value for name, value in policy.items() if name not in beside}
    whole = keystone_policy_from_json(canonical.dumps(own))
    hashes = narrowed(whole.enclave_hashes, _one(octets(policy, "enclave_hash")))
    return replace(whole, enclave_hashes=hashes)


def _listed(policy: Mapping[str, Any]) -> KeystonePolicy:
    known(policy, *KEYS)
    data = octets(policy, "data")
    worthless = octets(policy, "device_public_key") == DEVELOPMENT_DEVICE_KEY
    return KeystonePolicy(
        enclave_hashes=_one(octets(policy, "enclave_hash")),
        sm_hashes=_one(octets(policy, "sm_hash")),
        data=UNCHECKED if data is None else data,
        allow_derivable_sm_key=worthless or flag(policy, "allow_derivable_sm_key") is True,
    )


def _check(evidence: bytes, trust: DeviceKeys, policy: KeystonePolicy) -> Judged:
    try:
        verified = verify_keystone(evidence, trust)
    except MalformedEvidenceError as error:
        name = "bad_data_len" if error.offset == DATA_LEN_AT else "bad_length"
        raise RejectedEvidenceError(error.message, code=f"evidence.{name}") from error
    if failed := first_failed(keystone_findings(verified, policy)):
        name = failed.removeprefix("keystone.")
        raise RejectedEvidenceError(f"{failed} failed", code=f"evidence.{name}_mismatch")
    return Judged(verdict="valid", simulated=verified.simulated)


def _one(value: bytes | None) -> frozenset[bytes] | Unchecked:
    return UNCHECKED if value is None else frozenset({value})
