"""What a relying party accepts of a VM with a virtual TPM, every field said explicitly.

As in `atoll.evidence.policy`: no defaults, `UNCHECKED` is the one way not to check, and an
empty set of acceptable values accepts nothing. The values are predicted from an image by
`atoll.measure`, save those of the firmware.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from atoll.evidence import policy_forms
from atoll.evidence.eventlog.pcr_log import COUNT
from atoll.evidence.policy_forms import BOOL, Form, Unchecked, digests, forms_of, texts

DIGEST_SIZE: Final = 32
MAX_HOST: Final = 64

TEE: Final = "vtpm"


@dataclass(frozen=True, slots=True, kw_only=True)
class VtpmPolicy:
    """What evidence must say. The comment under a field is what passes.

    Raises:
        InputError: `policy.invalid`: a digest is not 32 bytes, a register is none of 0 to 15.
    """

    allow_host_tpm: bool
    """True: it is accepted that the host owns this TPM, which protects nothing from it."""
    pcr9s: frozenset[bytes] | Unchecked
    """PCR 9 is one of these: the command line and the initrd."""
    kernel_digests: frozenset[bytes] | Unchecked
    """The firmware started exactly one image, and its Authenticode SHA-256 is one of these."""
    pcr0s: frozenset[bytes] | Unchecked
    """PCR 0 is one of these: the firmware."""
    pcr_values: Mapping[int, bytes] | Unchecked
    """Each register named here is quoted and has this value."""
    require_secure_boot: bool
    """True: the log proves that Secure Boot was on."""
    hosts: frozenset[str] | Unchecked
    """The attestation key's certificate is of one of these hosts."""

    def __post_init__(self) -> None:
        policy_forms.check(self, _FORMS)

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical JSON: the name of this policy in results."""
        return hashlib.sha256(vtpm_policy_to_json(self)).digest()


def vtpm_policy_to_json(policy: VtpmPolicy) -> bytes:
    """The canonical JSON form."""
    return policy_forms.write(policy, _FORMS, tee=TEE)


def vtpm_policy_from_json(raw: bytes) -> VtpmPolicy:
    """Read the canonical JSON form.

    Raises:
        InputError: `policy.invalid`, or `json.*` if it is not canonical JSON.
    """
    return VtpmPolicy(**policy_forms.read(raw, _FORMS, tee=TEE))


def _values(value: Mapping[Any, Any]) -> str | None:
    if not value or not value.keys() <= set(range(COUNT)):
        return f"names no register, or one that is none of 0 to {COUNT - 1}"
    if any(not isinstance(one, bytes) or len(one) != DIGEST_SIZE for one in value.values()):
        return f"has a value that is not {DIGEST_SIZE} bytes"
    return None


_FORMS: Final = forms_of(
    VtpmPolicy,
    {
        "allow_host_tpm": BOOL,
        "pcr9s": digests(DIGEST_SIZE),
        "kernel_digests": digests(DIGEST_SIZE),
        "pcr0s": digests(DIGEST_SIZE),
        "pcr_values": Form(
            kind=dict,
            write=lambda value: {str(number): one.hex() for number, one in value.items()},
            parse=lambda value: {int(number): bytes.fromhex(one) for number, one in value.items()},
            item=_values,
        ),
        "require_secure_boot": BOOL,
        "hosts": texts(MAX_HOST),
    },
)
