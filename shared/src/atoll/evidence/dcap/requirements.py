"""Requirements on a TDX or SGX quote, as a relying party lists them in JSON.

| key                                         | what passes                                     |
| mrtd rtmr0 rtmr1 rtmr2 rtmr3 mrseam         | the field is exactly this, over its whole       |
| mrconfigid mrowner mrownerconfig            | length                                          |
| mrservicetd xfam tdattributes report_data   | likewise                                        |
| mrenclave mrsigner isvprodid                | likewise, of an enclave                         |
| min_isvsvn                                  | ISVSVN is at least this                         |
| require_sept_ve_disable                     | TDATTRIBUTES has SEPT_VE_DISABLE                |
| accept_tcb_status                           | the TCB status is one of these, never Revoked   |
| min_tcb_eval                                | tcbEvaluationDataNumber is at least this        |
| allow_debug                                 | a TD or enclave under debug is not refused      |

A key that is absent is not checked, except that debug is refused and only UpToDate accepted;
one that is not known refuses. With a key "tee" it is a whole policy, beside which only the
measurement may be named once more.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from atoll import canonical
from atoll.errors import InputError
from atoll.evidence.dcap.quote import QuoteTee
from atoll.evidence.dcap.reports import TdAttributes
from atoll.evidence.dcap.tcb_info import TcbStatus
from atoll.evidence.dcap.verify import VerifiedQuote
from atoll.evidence.findings import Finding
from atoll.evidence.policy_forms import UNCHECKED, Unchecked, narrowed
from atoll.evidence.sgx_policy import SgxPolicy, sgx_findings, sgx_policy_from_json
from atoll.evidence.tdx_findings import tdx_findings
from atoll.evidence.tdx_policy import TdxPolicy, tdx_policy_from_json

_COMMON_KEYS: Final = frozenset({"accept_tcb_status", "allow_debug", "min_tcb_eval", "report_data"})
_TDX_KEYS: Final = _COMMON_KEYS | {
    "mrtd",
    "rtmr0",
    "rtmr1",
    "rtmr2",
    "rtmr3",
    "mrconfigid",
    "mrowner",
    "mrownerconfig",
    "mrservicetd",
    "mrseam",
    "tdattributes",
    "xfam",
    "require_sept_ve_disable",
}
_SGX_KEYS: Final = _COMMON_KEYS | {"mrenclave", "mrsigner", "isvprodid", "min_isvsvn"}


def quote_findings(verified: VerifiedQuote, policy: Mapping[str, Any]) -> tuple[Finding, ...]:
    """What the requirements say of an authentic quote.

    Raises:
        InputError: `case.invalid`, `policy.invalid`: they are not of this form.
    """
    if verified.quote.header.tee is QuoteTee.TDX:
        return tdx_findings(verified, tdx_requirements(policy))
    return sgx_findings(verified, sgx_requirements(policy))


def tdx_requirements(policy: Mapping[str, Any]) -> TdxPolicy:
    """The policy that says the same of a TD, every field of it.

    Raises:
        InputError: as `quote_findings`.
    """
    if "tee" in policy:
        whole = tdx_policy_from_json(_without(policy, "mrtd"))
        return replace(whole, mr_tds=narrowed(whole.mr_tds, _one(policy, "mrtd")))
    _known(policy, _TDX_KEYS)
    return _tdx(policy)


def sgx_requirements(policy: Mapping[str, Any]) -> SgxPolicy:
    """Likewise of an enclave.

    Raises:
        InputError: as `quote_findings`.
    """
    if "tee" in policy:
        whole = sgx_policy_from_json(_without(policy, "mrenclave"))
        return replace(whole, mr_enclaves=narrowed(whole.mr_enclaves, _one(policy, "mrenclave")))
    _known(policy, _SGX_KEYS)
    return _sgx(policy)


def _known(policy: Mapping[str, Any], keys: frozenset[str]) -> None:
    if unknown := policy.keys() - keys:
        raise InputError(f"case policy has unknown {sorted(unknown)}"[:400], code="case.invalid")


def _without(policy: Mapping[str, Any], key: str) -> bytes:
    return canonical.dumps({name: value for name, value in policy.items() if name != key})


def _tdx(policy: Mapping[str, Any]) -> TdxPolicy:
    ve = TdAttributes.SEPT_VE_DISABLE
    return TdxPolicy(
        mr_tds=_one(policy, "mrtd"),
        rtmr0s=_one(policy, "rtmr0"),
        rtmr1s=_one(policy, "rtmr1"),
        rtmr2s=_one(policy, "rtmr2"),
        rtmr3s=_one(policy, "rtmr3"),
        mr_config_ids=_one(policy, "mrconfigid"),
        mr_owners=_one(policy, "mrowner"),
        mr_owner_configs=_one(policy, "mrownerconfig"),
        mr_service_tds=_one(policy, "mrservicetd"),
        mr_seams=_one(policy, "mrseam"),
        minimum_tee_tcb_svn=UNCHECKED,
        minimum_tee_tcb_svn_2=UNCHECKED,
        qe_vendor_ids=UNCHECKED,
        minimum_qe_svn=UNCHECKED,
        report_data=_octets(policy, "report_data"),
        xfams=_one(policy, "xfam"),
        allow_debug=_flag(policy, "allow_debug"),
        td_attributes=_one(policy, "tdattributes"),
        attributes_required=ve if _flag(policy, "require_sept_ve_disable") else UNCHECKED,
        attributes_forbidden=UNCHECKED,
        fmspcs=UNCHECKED,
        tcb_statuses=_statuses(policy),
        minimum_tcb_evaluation_data_number=_number(policy, "min_tcb_eval"),
    )


def _sgx(policy: Mapping[str, Any]) -> SgxPolicy:
    product = _number(policy, "isvprodid")
    return SgxPolicy(
        mr_enclaves=_one(policy, "mrenclave"),
        mr_signers=_one(policy, "mrsigner"),
        isv_prod_ids=product if isinstance(product, Unchecked) else frozenset({product}),
        minimum_isv_svn=_number(policy, "min_isvsvn"),
        report_data=_octets(policy, "report_data"),
        allow_debug=_flag(policy, "allow_debug"),
        tcb_statuses=_statuses(policy),
        minimum_tcb_evaluation_data_number=_number(policy, "min_tcb_eval"),
    )


def _one(policy: Mapping[str, Any], key: str) -> frozenset[bytes] | Unchecked:
    value = _octets(policy, key)
    return value if isinstance(value, Unchecked) else frozenset({value})


def _octets(policy: Mapping[str, Any], key: str) -> bytes | Unchecked:
    if key not in policy:
        return UNCHECKED
    try:
        return bytes.fromhex(policy[key])
    except (ValueError, TypeError) as error:
        raise InputError(f"case policy {key} is not hex", code="case.invalid") from error


def _number(policy: Mapping[str, Any], key: str) -> int | Unchecked:
    if key not in policy:
        return UNCHECKED
    value = policy[key]
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"case policy {key} is not a number", code="case.invalid")
    return value


def _flag(policy: Mapping[str, Any], key: str) -> bool:
    value = policy.get(key, False)
    if not isinstance(value, bool):
        raise InputError(f"case policy {key} is not a boolean", code="case.invalid")
    return value


def _statuses(policy: Mapping[str, Any]) -> frozenset[TcbStatus]:
    names = policy.get("accept_tcb_status", [TcbStatus.UP_TO_DATE.value])
    try:
        statuses = frozenset(TcbStatus(name) for name in names)
    except (ValueError, TypeError) as error:
        raise InputError("case policy accept_tcb_status is unknown", code="case.invalid") from error
    # Revoked keys may be anybody's: whoever lists them anyway is not followed.
    return statuses - {TcbStatus.REVOKED}
