"""What a relying party accepts of SEV-SNP evidence, every field said explicitly.

A field that shall not be checked carries `UNCHECKED`. There are no defaults: leaving
a field out is an error, and an empty set of acceptable values accepts nothing.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from atoll.evidence import policy_forms
from atoll.evidence.certs import MAX_TEXT, Signer
from atoll.evidence.policy_forms import (
    BOOL,
    MAX_POLICY,
    UNCHECKED,
    VERSION,
    Form,
    Unchecked,
    anything,
    blob,
    digests,
    enums,
    flags,
    forms_of,
    number,
    numbers,
    texts,
)
from atoll.evidence.products import Product, TcbVersion
from atoll.evidence.snp import MAX_VMPL, AbiVersion, GuestPolicy, PlatformInfo

__all__ = [
    "MAX_POLICY",
    "UNCHECKED",
    "VERSION",
    "SnpPolicy",
    "Unchecked",
    "policy_from_json",
    "policy_to_json",
]

_TEE: Final = "sev-snp"
_MAX_BYTE: Final = 0xFF
_MAX_U32: Final = (1 << 32) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SnpPolicy:
    """What a report must say. The comment under a field is what passes."""

    measurements: frozenset[bytes] | Unchecked
    """MEASUREMENT is one of these."""
    minimum_tcb: TcbVersion | Unchecked
    """Each component of REPORTED_TCB is at least this."""
    minimum_launch_tcb: TcbVersion | Unchecked
    """Each component of LAUNCH_TCB is at least this: firmware when the guest was launched."""
    minimum_committed_tcb: TcbVersion | Unchecked
    """Each component of COMMITTED_TCB is at least this: nothing older can be loaded again."""
    minimum_current_tcb: TcbVersion | Unchecked
    """Each component of CURRENT_TCB is at least this."""
    minimum_current_version: AbiVersion | Unchecked
    """CURRENT_MAJOR and CURRENT_MINOR, as one version, are at least this."""
    minimum_committed_version: AbiVersion | Unchecked
    """COMMITTED_MAJOR and COMMITTED_MINOR, as one version, are at least this."""
    minimum_current_build: int | Unchecked
    """CURRENT_BUILD is at least this; builds are counted within one version."""
    minimum_committed_build: int | Unchecked
    """COMMITTED_BUILD is at least this."""
    allow_provisional_firmware: bool
    """False: COMMITTED_TCB is CURRENT_TCB, so the firmware cannot be rolled back."""
    products: frozenset[Product] | Unchecked
    """The product line is one of these."""
    steppings: frozenset[int] | Unchecked
    """CPUID_STEP is one of these; a version 2 report has none and fails."""
    signers: frozenset[Signer] | Unchecked
    """The report is signed by one of these kinds of key."""
    csp_ids: frozenset[str] | Unchecked
    """CSP_ID of the VLEK's certificate, the cloud and region that it was made for, is one of
    these; a VCEK has none and fails."""
    minimum_report_version: int | Unchecked
    """VERSION of the report is at least this."""
    vmpls: frozenset[int] | Unchecked
    """The requester's privilege level is one of these."""
    allow_debug: bool
    """False: POLICY has no DEBUG, with which the host could read the guest's memory."""
    allow_migrate_ma: bool
    """False: POLICY has no MIGRATE_MA, so no migration agent can take the guest away."""
    allow_smt: bool
    """False: POLICY does not allow hyper-threads of others on the same core."""
    guest_policy_required: GuestPolicy | Unchecked
    """POLICY has all these bits, as SINGLE_SOCKET."""
    guest_policy_forbidden: GuestPolicy | Unchecked
    """POLICY has none of these bits."""
    minimum_guest_abi: AbiVersion | Unchecked
    """POLICY demands firmware of at least this version."""
    host_data: bytes | Unchecked
    """HOST_DATA is this."""
    require_id_block: bool
    """True: ID_KEY_DIGEST is not zero, so some owner signed the launch."""
    id_key_digests: frozenset[bytes] | Unchecked
    """ID_KEY_DIGEST is one of these."""
    require_author_key: bool
    """True: AUTHOR_KEY_EN is set, so some author vouched for the owner's key."""
    author_key_digests: frozenset[bytes] | Unchecked
    """AUTHOR_KEY_EN is set and AUTHOR_KEY_DIGEST is one of these."""
    family_id: bytes | Unchecked
    image_id: bytes | Unchecked
    chip_ids: frozenset[bytes] | Unchecked
    """CHIP_ID is one of these."""
    report_ids: frozenset[bytes] | Unchecked
    """REPORT_ID is one of these: the guest is one that was met before."""
    report_id_mas: frozenset[bytes] | Unchecked
    """REPORT_ID_MA is one of these; all ones without a migration agent."""
    minimum_guest_svn: int | Unchecked
    platform_info_required: PlatformInfo | Unchecked
    """PLATFORM_INFO has all these bits."""
    platform_info_forbidden: PlatformInfo | Unchecked
    """PLATFORM_INFO has none of these bits."""
    launch_mitigations_required: bytes | Unchecked
    """LAUNCH_MIT_VECTOR, eight bytes as in the report, has all these bits."""
    current_mitigations_required: bytes | Unchecked
    """CURRENT_MIT_VECTOR likewise; before version 5 a report has neither."""
    require_crl: bool
    """True: the chain was checked against a current revocation list."""

    def __post_init__(self) -> None:
        policy_forms.check(self, _FORMS)

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical JSON: the name of this policy in results."""
        return _digest(self)


@lru_cache(maxsize=64)
def _digest(policy: SnpPolicy) -> bytes:
    return hashlib.sha256(policy_to_json(policy)).digest()


def policy_to_json(policy: SnpPolicy) -> bytes:
    """The canonical JSON form."""
    return policy_forms.write(policy, _FORMS, tee=_TEE)


def policy_from_json(raw: bytes) -> SnpPolicy:
    """Read the canonical JSON form.

    Raises:
        InputError: `policy.invalid`, or `json.*` if it is not canonical JSON.
    """
    return SnpPolicy(**policy_forms.read(raw, _FORMS, tee=_TEE))


def _tcb(value: dict[str, Any]) -> TcbVersion:
    # true is 1 for Python, but it is another text.
    if any(type(part) is not int for part in value.values()):
        raise TypeError("want numbers")
    return TcbVersion(**value)


_TCB: Final = Form(
    kind=TcbVersion, write=lambda value: dict(value.components()), parse=_tcb, item=anything
)
_ABI: Final = Form(
    kind=AbiVersion,
    write=lambda value: {"major": value.major, "minor": value.minor},
    parse=lambda value: AbiVersion(**value),
    item=anything,
)
_FORMS: Final = forms_of(
    SnpPolicy,
    {
        "measurements": digests(48),
        "minimum_tcb": _TCB,
        "minimum_launch_tcb": _TCB,
        "minimum_committed_tcb": _TCB,
        "minimum_current_tcb": _TCB,
        "minimum_current_version": _ABI,
        "minimum_committed_version": _ABI,
        "minimum_current_build": number(_MAX_BYTE),
        "minimum_committed_build": number(_MAX_BYTE),
        "allow_provisional_firmware": BOOL,
        "products": enums(Product),
        "steppings": numbers(_MAX_BYTE),
        "signers": enums(Signer),
        "csp_ids": texts(MAX_TEXT),
        "minimum_report_version": number(_MAX_U32),
        "vmpls": numbers(MAX_VMPL),
        "allow_debug": BOOL,
        "allow_migrate_ma": BOOL,
        "allow_smt": BOOL,
        "guest_policy_required": flags(GuestPolicy),
        "guest_policy_forbidden": flags(GuestPolicy),
        "minimum_guest_abi": _ABI,
        "host_data": blob(32),
        "require_id_block": BOOL,
        "id_key_digests": digests(48),
        "require_author_key": BOOL,
        "author_key_digests": digests(48),
        "family_id": blob(16),
        "image_id": blob(16),
        "chip_ids": digests(64),
        "report_ids": digests(32),
        "report_id_mas": digests(32),
        "minimum_guest_svn": number(_MAX_U32),
        "platform_info_required": flags(PlatformInfo),
        "platform_info_forbidden": flags(PlatformInfo),
        "launch_mitigations_required": blob(8),
        "current_mitigations_required": blob(8),
        "require_crl": BOOL,
    },
)
