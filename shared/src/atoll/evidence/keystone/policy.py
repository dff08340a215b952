"""What a relying party accepts of a Keystone report, every field said explicitly.

As in `atoll.evidence.policy`: no defaults, `UNCHECKED` is the one way not to check, and an
empty set of acceptable values accepts nothing.
"""

from dataclasses import dataclass
from typing import Final

from atoll.errors import InputError
from atoll.evidence.keystone.report import MAX_DATA
from atoll.evidence.policy_forms import UNCHECKED, Unchecked

HASH_SIZE: Final = 64


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
        for name in ("enclave_hashes", "sm_hashes"):
            hashes = getattr(self, name)
            if hashes is not UNCHECKED and any(len(one) != HASH_SIZE for one in hashes):
                raise InputError(
                    f"policy.{name}: has a hash of another size", code="policy.invalid"
                )
        if not isinstance(self.data, Unchecked) and len(self.data) > MAX_DATA:
            raise InputError(f"policy.data: is over {MAX_DATA} bytes", code="policy.invalid")
