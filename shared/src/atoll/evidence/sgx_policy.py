"""What a relying party accepts of SGX quotes, and the findings of a comparison with it.

As `tdx_policy`: `UNCHECKED` says "do not check", there are no defaults, and a revoked
TCB cannot be made acceptable. Ids are those of the fields: `sgx.mr_enclave` and so on.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from atoll.evidence import policy_forms
from atoll.evidence.comparisons import absent, equal, least, member
from atoll.evidence.dcap.reports import EnclaveReport
from atoll.evidence.dcap.tcb_info import TcbStatus
from atoll.evidence.dcap.verify import VerifiedQuote
from atoll.evidence.findings import Finding
from atoll.evidence.policy_forms import (
    BOOL,
    Unchecked,
    blob,
    digests,
    enums,
    forms_of,
    invalid,
    number,
    numbers,
)

_TEE: Final = "sgx"
_MAX_U16: Final = 0xFFFF
_MAX_NUMBER: Final = (1 << 31) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SgxPolicy:
    """What an enclave's quote must say. The comment under a field is what passes."""

    mr_enclaves: frozenset[bytes] | Unchecked
    """MRENCLAVE is one of these."""
    mr_signers: frozenset[bytes] | Unchecked
    """MRSIGNER is one of these."""
    isv_prod_ids: frozenset[int] | Unchecked
    """ISVPRODID is one of these; means something only together with MRSIGNER."""
    minimum_isv_svn: int | Unchecked
    """ISVSVN is at least this."""
    report_data: bytes | Unchecked
    """REPORTDATA is this, all 64 bytes."""
    allow_debug: bool
    """False: ATTRIBUTES has no DEBUG, with which the host could read the enclave."""
    tcb_statuses: frozenset[TcbStatus]
    """The TCB status is one of these; `Revoked` cannot be listed."""
    minimum_tcb_evaluation_data_number: int | Unchecked
    """The TCB info is of at least this evaluation."""

    def __post_init__(self) -> None:
        policy_forms.check(self, _FORMS)
        if TcbStatus.REVOKED in self.tcb_statuses:
            raise invalid("tcb_statuses", "lists Revoked, which is never acceptable")

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical JSON: the name of this policy in results."""
        return hashlib.sha256(sgx_policy_to_json(self)).digest()


def sgx_policy_to_json(policy: SgxPolicy) -> bytes:
    """The canonical JSON form."""
    return policy_forms.write(policy, _FORMS, tee=_TEE)


def sgx_policy_from_json(raw: bytes) -> SgxPolicy:
    """Read the canonical JSON form.

    Raises:
        InputError: `policy.invalid`, or `json.*` if it is not canonical JSON.
    """
    return SgxPolicy(**policy_forms.read(raw, _FORMS, tee=_TEE))


_FORMS: Final = forms_of(
    SgxPolicy,
    {
        "mr_enclaves": digests(32),
        "mr_signers": digests(32),
        "isv_prod_ids": numbers(_MAX_U16),
        "minimum_isv_svn": number(_MAX_U16),
        "report_data": blob(64),
        "allow_debug": BOOL,
        "tcb_statuses": enums(TcbStatus, always=True),
        "minimum_tcb_evaluation_data_number": number(_MAX_NUMBER),
    },
)


def sgx_findings(verified: VerifiedQuote, policy: SgxPolicy) -> tuple[Finding, ...]:
    """One finding for every field of the policy, whatever the others say.

    Raises:
        TypeError: the quote is a TD's; ask `Quote.header.tee` before.
    """
    report = verified.quote.body
    if not isinstance(report, EnclaveReport):
        raise TypeError("sgx_findings wants an SGX enclave's quote")
    tcb = verified.tcb
    return (
        absent("sgx.debug", "ATTRIBUTES.DEBUG", report.debug, allowed=policy.allow_debug),
        member("sgx.tcb_status", "tcbStatus", policy.tcb_statuses, tcb.status),
        least(
            "sgx.tcb_evaluation",
            "tcbEvaluationDataNumber",
            policy.minimum_tcb_evaluation_data_number,
            tcb.tcb_evaluation_data_number,
        ),
        member("sgx.mr_enclave", "MRENCLAVE", policy.mr_enclaves, report.mr_enclave),
        member("sgx.mr_signer", "MRSIGNER", policy.mr_signers, report.mr_signer),
        member("sgx.isv_prod_id", "ISVPRODID", policy.isv_prod_ids, report.isv_prod_id),
        least("sgx.isv_svn", "ISVSVN", policy.minimum_isv_svn, report.isv_svn),
        equal("sgx.report_data", "REPORTDATA", policy.report_data, report.report_data),
    )
