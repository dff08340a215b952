"""What a relying party accepts of a Keystone report, every field said explicitly.

As in `atoll.evidence.policy`: no defaults, `UNCHECKED` is the one way not to check, and an
empty set of acceptable values accepts nothing. Which device keys are believed is no
matter of policy but of trust (`verify.DeviceKeys`), since no vendor vouches for any.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Final

from atoll.evidence import policy_forms
from atoll.evidence.keystone.report import MAX_DATA
from atoll.evidence.policy_forms import BOOL, Form, Unchecked, digests, forms_of

HASH_SIZE: Final = 64

_TEE: Final = "keystone"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeystonePolicy:
    """What a report must say. The comment under a field is what passes.

    Raises:
        InputError: `policy.invalid`: a hash is not 64 bytes, or `data` over 1024.
    """

    enclave_hashes: frozenset[bytes] | Unchecked
    """The enclave's hash is one of these."""
    sm_hashes: frozenset[bytes] | Unchecked
    """The security monitor's hash is one of these."""
    data: bytes | Unchecked
    """The data is exactly this, length included; the only thing that shows freshness."""
    allow_derivable_sm_key: bool
    """False: the SM's key is none that the reference boot loader derives from two bytes."""

    def __post_init__(self) -> None:
        policy_forms.check(self, _FORMS)

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical JSON: the name of this policy in results."""
        return hashlib.sha256(keystone_policy_to_json(self)).digest()


def keystone_policy_to_json(policy: KeystonePolicy) -> bytes:
    """The canonical JSON form."""
    return policy_forms.write(policy, _FORMS, tee=_TEE)


def keystone_policy_from_json(raw: bytes) -> KeystonePolicy:
    """Read the canonical JSON form.

    Raises:
        InputError: `policy.invalid`, or `json.*` if it is not canonical JSON.
    """
    return KeystonePolicy(**policy_forms.read(raw, _FORMS, tee=_TEE))


def _data(value: Any) -> str | None:
    return None if len(value) <= MAX_DATA else f"is over {MAX_DATA} bytes"


_FORMS: Final = forms_of(
    KeystonePolicy,
    {
        "enclave_hashes": digests(HASH_SIZE),
        "sm_hashes": digests(HASH_SIZE),
        "data": Form(kind=bytes, write=lambda v: v.hex(), parse=bytes.fromhex, item=_data),
        "allow_derivable_sm_key": BOOL,
    },
)
