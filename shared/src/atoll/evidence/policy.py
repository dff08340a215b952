"""What a relying party accepts of SEV-SNP evidence, every field said explicitly.

A field that shall not be checked carries `UNCHECKED`. There are no defaults: leaving
a field out is an error, and an empty set of acceptable values accepts nothing.
"""

import hashlib
from dataclasses import dataclass, fields
from typing import Any, Final

from atoll import canonical
from atoll.errors import InputError
from atoll.evidence.certs import Signer
from atoll.evidence.policy_forms import (
    BOOL,
    UNCHECKED,
    UNCHECKED_TEXT,
    Form,
    Unchecked,
    anything,
    array,
    between,
    blob,
    digests,
    enums,
    flags,
    invalid,
)
from atoll.evidence.products import Product, TcbVersion
from atoll.evidence.snp import MAX_VMPL, PlatformInfo

__all__ = [
    "MAX_POLICY",
    "UNCHECKED",
    "VERSION",
    "SnpPolicy",
    "Unchecked",
    "policy_from_json",
    "policy_to_json",
]

VERSION: Final = 1
MAX_POLICY: Final = 256 << 10
_MAX_SVN: Final = (1 << 32) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SnpPolicy:
    """What a report must say. The comment under a field is what passes."""

    measurements: frozenset[bytes] | Unchecked
    """MEASUREMENT is one of these."""
    minimum_tcb: TcbVersion | Unchecked
    """Each component of REPORTED_TCB is at least this."""
    allow_provisional_firmware: bool
    """False: COMMITTED_TCB is CURRENT_TCB, so the firmware cannot be rolled back."""
    products: frozenset[Product] | Unchecked
    """The product line is one of these."""
    signers: frozenset[Signer] | Unchecked
    """The report is signed by one of these kinds of key."""
    vmpls: frozenset[int] | Unchecked
    """The requester's privilege level is one of these."""
    allow_debug: bool
    """False: POLICY has no DEBUG, with which the host could read the guest's memory."""
    allow_migrate_ma: bool
    """False: POLICY has no MIGRATE_MA, so no migration agent can take the guest away."""
    allow_smt: bool
    """False: POLICY does not allow hyper-threads of others on the same core."""
    host_data: bytes | Unchecked
    """HOST_DATA is this."""
    id_key_digests: frozenset[bytes] | Unchecked
    """ID_KEY_DIGEST is one of these."""
    author_key_digests: frozenset[bytes] | Unchecked
    """AUTHOR_KEY_EN is set and AUTHOR_KEY_DIGEST is one of these."""
    family_id: bytes | Unchecked
    image_id: bytes | Unchecked
    chip_ids: frozenset[bytes] | Unchecked
    """CHIP_ID is one of these."""
    minimum_guest_svn: int | Unchecked
    platform_info_required: PlatformInfo | Unchecked
    """PLATFORM_INFO has all these bits."""
    platform_info_forbidden: PlatformInfo | Unchecked
    """PLATFORM_INFO has none of these bits."""
    require_crl: bool
    """True: the chain was checked against a current revocation list."""

    def __post_init__(self) -> None:
        for name, form in _FORMS.items():
            value = getattr(self, name)
            if form.kind is not bool and value is UNCHECKED:
                continue
            problem = form.problem(value)
            if problem is not None:
                raise InputError(f"policy.{name}: {problem}", code="policy.invalid")

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical JSON: the name of this policy in results."""
        return hashlib.sha256(policy_to_json(self)).digest()


def policy_to_json(policy: SnpPolicy) -> bytes:
    """The canonical JSON form."""
    value: dict[str, Any] = {"version": VERSION, "tee": "sev-snp"}
    for name, form in _FORMS.items():
        field = getattr(policy, name)
        value[name] = UNCHECKED_TEXT if field is UNCHECKED else form.write(field)
    return canonical.dumps(value)


def policy_from_json(raw: bytes) -> SnpPolicy:
    """Read the canonical JSON form.

    Raises:
        InputError: `policy.invalid`, or `json.*` if it is not canonical JSON.
    """
    if len(raw) > MAX_POLICY:
        raise invalid("policy", f"is {len(raw)} bytes, at most {MAX_POLICY}")
    value = canonical.loads(raw)
    if not isinstance(value, dict):
        raise invalid("policy", "is not an object")
    missing = {"version", "tee", *_FORMS} - value.keys()
    unknown = value.keys() - {"version", "tee", *_FORMS}
    if missing or unknown:
        names = f"lacks {sorted(missing)}" if missing else f"has unknown {sorted(unknown)}"
        raise invalid("policy", names[:400])
    if value["version"] is True or value["version"] != VERSION or value["tee"] != "sev-snp":
        raise invalid("policy", "is not version 1 of a sev-snp policy")
    return SnpPolicy(**{name: form.read(name, value[name]) for name, form in _FORMS.items()})


_FORMS: Final[dict[str, Form]] = {
    "measurements": digests(48),
    "minimum_tcb": Form(
        kind=TcbVersion,
        write=lambda value: dict(value.components()),
        parse=lambda value: TcbVersion(**value),
        item=anything,
    ),
    "allow_provisional_firmware": BOOL,
    "products": enums(Product),
    "signers": enums(Signer),
    "vmpls": Form(
        kind=frozenset,
        write=sorted,
        parse=lambda value: frozenset(array(value)),
        item=between(0, MAX_VMPL),
    ),
    "allow_debug": BOOL,
    "allow_migrate_ma": BOOL,
    "allow_smt": BOOL,
    "host_data": blob(32),
    "id_key_digests": digests(48),
    "author_key_digests": digests(48),
    "family_id": blob(16),
    "image_id": blob(16),
    "chip_ids": digests(64),
    "minimum_guest_svn": Form(
        kind=int, write=lambda value: value, parse=lambda value: value, item=between(0, _MAX_SVN)
    ),
    "platform_info_required": flags(PlatformInfo),
    "platform_info_forbidden": flags(PlatformInfo),
    "require_crl": BOOL,
}

if list(_FORMS) != [field.name for field in fields(SnpPolicy)]:
    raise AssertionError("every field of SnpPolicy has one form")
