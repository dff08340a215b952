"""What a relying party accepts of TDX quotes, every field said explicitly.

As `policy` for SEV-SNP: `UNCHECKED` says "do not check", there are no defaults, and an
empty set accepts nothing. A revoked TCB cannot be made acceptable.

No field stands for what verification demands of every quote anyway: MRSIGNERSEAM and
SEAMATTRIBUTES are those of Intel's module, collateral is complete and current, and both
revocation lists were asked.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from atoll.evidence import policy_forms
from atoll.evidence.dcap.reports import TdAttributes
from atoll.evidence.dcap.tcb_info import TcbStatus
from atoll.evidence.policy_forms import (
    BOOL,
    MAX_POLICY,
    VERSION,
    Unchecked,
    blob,
    digests,
    enums,
    flags,
    forms_of,
    invalid,
    number,
)

__all__ = ["MAX_POLICY", "VERSION", "TdxPolicy", "tdx_policy_from_json", "tdx_policy_to_json"]

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
    minimum_tee_tcb_svn_2: bytes | Unchecked
    """Each byte of TEE_TCB_SVN_2, the module that runs now, is at least this one's; a TD
    report 1.0 has none and fails."""
    qe_vendor_ids: frozenset[bytes] | Unchecked
    """The quote's QE vendor id is one of these; no other than Intel's is ever read."""
    minimum_qe_svn: int | Unchecked
    """ISVSVN of the quoting enclave is at least this."""
    report_data: bytes | Unchecked
    """REPORTDATA is this, all 64 bytes."""
    xfams: frozenset[bytes] | Unchecked
    """XFAM, eight bytes as in the report, is one of these."""
    allow_debug: bool
    """False: TDATTRIBUTES has no DEBUG, with which the host could read the TD's memory.
    Other bits of that group are reserved and fail either way."""
    td_attributes: frozenset[bytes] | Unchecked
    """TDATTRIBUTES, eight bytes as in the report, is one of these."""
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
        policy_forms.check(self, _FORMS)
        if TcbStatus.REVOKED in self.tcb_statuses:
            raise invalid("tcb_statuses", "lists Revoked, which is never acceptable")

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical JSON: the name of this policy in results."""
        return hashlib.sha256(tdx_policy_to_json(self)).digest()


def tdx_policy_to_json(policy: TdxPolicy) -> bytes:
    """The canonical JSON form."""
    return policy_forms.write(policy, _FORMS, tee=_TEE)


def tdx_policy_from_json(raw: bytes) -> TdxPolicy:
    """Read the canonical JSON form.

    Raises:
        InputError: `policy.invalid`, or `json.*` if it is not canonical JSON.
    """
    return TdxPolicy(**policy_forms.read(raw, _FORMS, tee=_TEE))


_FORMS: Final = forms_of(
    TdxPolicy,
    {
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
        "minimum_tee_tcb_svn_2": blob(16),
        "qe_vendor_ids": digests(16),
        "minimum_qe_svn": number(0xFFFF),
        "report_data": blob(64),
        "xfams": digests(8),
        "allow_debug": BOOL,
        "td_attributes": digests(8),
        "attributes_required": flags(TdAttributes),
        "attributes_forbidden": flags(TdAttributes),
        "fmspcs": digests(6),
        "tcb_statuses": enums(TcbStatus, always=True),
        "minimum_tcb_evaluation_data_number": number(_MAX_NUMBER),
    },
)
