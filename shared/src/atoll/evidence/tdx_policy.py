"""What a relying party accepts of TDX quotes, every field said explicitly.

As `policy` for SEV-SNP: `UNCHECKED` says "do not check", there are no defaults, and an
empty set accepts nothing. A revoked TCB cannot be made acceptable.
"""

import hashlib
from dataclasses import dataclass, fields
from typing import Any, Final

from atoll import canonical
from atoll.errors import InputError
from atoll.evidence.dcap.reports import TdAttributes
from atoll.evidence.dcap.tcb_info import TcbStatus
from atoll.evidence.policy_forms import (
    BOOL,
    UNCHECKED,
    UNCHECKED_TEXT,
    Form,
    Unchecked,
    between,
    blob,
    digests,
    enums,
    flags,
    invalid,
)

VERSION: Final = 1
MAX_POLICY: Final = 256 << 10
_TEE: Final = "tdx"
_MAX_NUMBER: Final = (1 << 31) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TdxPolicy:
    """What a TD's quote must say. The comment under a field is what passes."""

    mr_tds: frozenset[bytes] | Unchecked
    """MRTD is one of these; fields below with a plural name likewise."""
    rtmr0s: frozenset[bytes] | Unchecked
    rtmr1s: frozenset[bytes] | Unchecked
    rtmr2s: frozenset[bytes] | Unchecked
    rtmr3s: frozenset[bytes] | Unchecked
    mr_config_ids: frozenset[bytes] | Unchecked
    mr_owners: frozenset[bytes] | Unchecked
    mr_owner_configs: frozenset[bytes] | Unchecked
    mr_service_tds: frozenset[bytes] | Unchecked
    """MRSERVICETD is one of these; a TD report 1.0 has none and fails."""
    mr_seams: frozenset[bytes] | Unchecked
    """MRSEAM, the TDX module, is one of these."""
    minimum_tee_tcb_svn: bytes | Unchecked
    """Each byte of TEE_TCB_SVN is at least this one's."""
    report_data: bytes | Unchecked
    """REPORTDATA is this, all 64 bytes."""
    xfams: frozenset[bytes] | Unchecked
    """XFAM, eight bytes as in the report, is one of these."""
    allow_debug: bool
    """False: TDATTRIBUTES has no DEBUG, with which the host could read the TD's memory.
    Other bits of that group are reserved and fail either way."""
    attributes_required: TdAttributes | Unchecked
    """TDATTRIBUTES has all these bits."""
    attributes_forbidden: TdAttributes | Unchecked
    """TDATTRIBUTES has none of these bits."""
    fmspcs: frozenset[bytes] | Unchecked
    """The platform is of one of these kinds."""
    tcb_statuses: frozenset[TcbStatus]
    """The TCB status is one of these; `Revoked` cannot be listed."""
    minimum_tcb_evaluation_data_number: int | Unchecked
    """The TCB info is of at least this evaluation, so old collateral does not do."""

    def __post_init__(self) -> None:
        for name, form in _FORMS.items():
            value = getattr(self, name)
            if value is UNCHECKED and name not in _ALWAYS:
                continue
            problem = form.problem(value)
            if problem is not None:
                raise InputError(f"policy.{name}: {problem}", code="policy.invalid")
        if TcbStatus.REVOKED in self.tcb_statuses:
            raise invalid("tcb_statuses", "lists Revoked, which is never acceptable")

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical JSON: the name of this policy in results."""
        return hashlib.sha256(tdx_policy_to_json(self)).digest()


def tdx_policy_to_json(policy: TdxPolicy) -> bytes:
    """The canonical JSON form."""
    value: dict[str, Any] = {"version": VERSION, "tee": _TEE}
    for name, form in _FORMS.items():
        field = getattr(policy, name)
        value[name] = UNCHECKED_TEXT if field is UNCHECKED else form.write(field)
    return canonical.dumps(value)


def tdx_policy_from_json(raw: bytes) -> TdxPolicy:
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
    if value["version"] is True or value["version"] != VERSION or value["tee"] != _TEE:
        raise invalid("policy", "is not version 1 of a tdx policy")
    return TdxPolicy(**{name: form.read(name, value[name]) for name, form in _FORMS.items()})


_ALWAYS: Final = frozenset({"allow_debug", "tcb_statuses"})
"""Fields that have a value in every policy."""

_FORMS: Final[dict[str, Form]] = {
    "mr_tds": digests(48),
    "rtmr0s": digests(48),
    "rtmr1s": digests(48),
    "rtmr2s": digests(48),
    "rtmr3s": digests(48),
    "mr_config_ids": digests(48),
    "mr_owners": digests(48),
    "mr_owner_configs": digests(48),
    "mr_service_tds": digests(48),
    "mr_seams": digests(48),
    "minimum_tee_tcb_svn": blob(16),
    "report_data": blob(64),
    "xfams": digests(8),
    "allow_debug": BOOL,
    "attributes_required": flags(TdAttributes),
    "attributes_forbidden": flags(TdAttributes),
    "fmspcs": digests(6),
    "tcb_statuses": enums(TcbStatus),
    "minimum_tcb_evaluation_data_number": Form(
        kind=int,
        write=lambda value: value,
        parse=lambda value: value,
        item=between(0, _MAX_NUMBER),
    ),
}

if list(_FORMS) != [field.name for field in fields(TdxPolicy)]:
    raise AssertionError("every field of TdxPolicy has one form")
