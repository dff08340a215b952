"""What a policy document can hold: one section for each TEE, each with its own policy type.

To register a TEE is to add its `Section` to `SECTIONS`. A section brings the JSON form of its
policy; `policy_from_json` must refuse missing and unknown fields, so that absence refuses. A
TEE without a section in a document is not accepted by it at all.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from atoll import canonical
from atoll.evidence.keystone.policy import (
    KeystonePolicy,
    keystone_policy_from_json,
    keystone_policy_to_json,
)
from atoll.evidence.policy import SnpPolicy, policy_from_json, policy_to_json
from atoll.evidence.policy_forms import MAX_POLICY, invalid
from atoll.evidence.tdx_policy import TdxPolicy, tdx_policy_from_json, tdx_policy_to_json
from atoll.evidence.vtpm.policy import VtpmPolicy, vtpm_policy_from_json, vtpm_policy_to_json

SNP: Final = "sev-snp"
TDX: Final = "tdx"
KEYSTONE: Final = "keystone"
VTPM: Final = "vtpm"

Policy = SnpPolicy | TdxPolicy | KeystonePolicy | VtpmPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """How one TEE's policy stands in a document."""

    tee: str
    kind: type
    to_json: Callable[[Any], bytes]
    from_json: Callable[[bytes], Any]
    identity: tuple[str, ...]
    """The fields that say which code runs; if all of them are unchecked, any code passes."""
    fresh: tuple[str, ...] = ()
    """Fields that are about one run and do not belong into a document for many."""


SECTIONS: Final[Mapping[str, Section]] = {
    SNP: Section(
        tee=SNP,
        kind=SnpPolicy,
        to_json=policy_to_json,
        from_json=policy_from_json,
        identity=("measurements", "id_key_digests", "author_key_digests"),
    ),
    TDX: Section(
        tee=TDX,
        kind=TdxPolicy,
        to_json=tdx_policy_to_json,
        from_json=tdx_policy_from_json,
        identity=("mr_tds",),
        fresh=("report_data",),
    ),
    KEYSTONE: Section(
        tee=KEYSTONE,
        kind=KeystonePolicy,
        to_json=keystone_policy_to_json,
        from_json=keystone_policy_from_json,
        identity=("enclave_hashes",),
        fresh=("data",),
    ),
    VTPM: Section(
        tee=VTPM,
        kind=VtpmPolicy,
        to_json=vtpm_policy_to_json,
        from_json=vtpm_policy_from_json,
        # A kernel alone runs whatever initrd it is given, so its digest is no identity.
        identity=("pcr9s",),
    ),
}


def read_policy(raw: bytes) -> Policy:
    """A policy of any kind from its canonical JSON, which says its TEE.

    Raises:
        InputError: `policy.invalid`, or `json.*` if it is not canonical JSON.
    """
    if len(raw) > MAX_POLICY:
        raise invalid("policy", f"is {len(raw)} bytes, at most {MAX_POLICY}")
    value = canonical.loads(raw)
    tee = value.get("tee") if isinstance(value, dict) else None
    section = SECTIONS.get(tee) if isinstance(tee, str) else None
    if section is None:
        raise invalid("tee", f"is none of {', '.join(SECTIONS)}")
    policy: Policy = section.from_json(raw)
    return policy
