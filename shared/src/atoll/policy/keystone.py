"""The JSON form of a Keystone policy, like those of SEV-SNP and TDX."""

from dataclasses import fields
from typing import Any, Final

from atoll import canonical
from atoll.evidence.keystone.policy import HASH_SIZE, KeystonePolicy
from atoll.evidence.policy_forms import (
    BOOL,
    UNCHECKED,
    UNCHECKED_TEXT,
    Form,
    anything,
    digests,
    invalid,
)

TEE: Final = "keystone"
VERSION: Final = 1
MAX_POLICY: Final = 256 << 10

_FORMS: Final[dict[str, Form]] = {
    "enclave_hashes": digests(HASH_SIZE),
    "sm_hashes": digests(HASH_SIZE),
    # The length is the policy's own check.
    "data": Form(kind=bytes, write=lambda v: v.hex(), parse=bytes.fromhex, item=anything),
    "allow_derivable_sm_key": BOOL,
}

if list(_FORMS) != [field.name for field in fields(KeystonePolicy)]:
    raise AssertionError("every field of KeystonePolicy has one form")


def keystone_policy_to_json(policy: KeystonePolicy) -> bytes:
    """The canonical JSON form."""
    value: dict[str, Any] = {"version": VERSION, "tee": TEE}
    for name, form in _FORMS.items():
        field = getattr(policy, name)
        value[name] = UNCHECKED_TEXT if field is UNCHECKED else form.write(field)
    return canonical.dumps(value)


def keystone_policy_from_json(raw: bytes) -> KeystonePolicy:
    """Read the canonical JSON form.

    Raises:
        InputError: `policy.invalid`, or `json.*` if it is not canonical JSON.
    """
    if len(raw) > MAX_POLICY:
        raise invalid("policy", f"is {len(raw)} bytes, at most {MAX_POLICY}")
    value = canonical.loads(raw)
    if not isinstance(value, dict) or value.keys() != {"version", "tee", *_FORMS}:
        raise invalid("policy", f"has not exactly version, tee, {', '.join(_FORMS)}")
    if value["version"] is True or value["version"] != VERSION or value["tee"] != TEE:
        raise invalid("policy", "is not version 1 of a keystone policy")
    read = {name: form.read(name, value[name]) for name, form in _FORMS.items()}
    for name, form in _FORMS.items():
        if read[name] is UNCHECKED and form is not BOOL:
            continue
        problem = form.problem(read[name])
        if problem is not None:
            raise invalid(name, problem)
    return KeystonePolicy(**read)
