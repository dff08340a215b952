"""Compare a verified TDX quote with a policy: one finding for every field, always all.

| id                      | field of the policy                              |
| tdx.debug               | allow_debug                                      |
| tdx.reserved_debug      | none: the other "TD under debug" bits are clear  |
| tdx.tcb_status          | tcb_statuses                                     |
| tdx.tcb_evaluation      | minimum_tcb_evaluation_data_number               |
| tdx.mr_td               | mr_tds                                           |
| tdx.rtmr0 to tdx.rtmr3  | rtmr0s to rtmr3s                                 |
| tdx.mr_config_id        | mr_config_ids                                    |
| tdx.mr_owner            | mr_owners                                        |
| tdx.mr_owner_config     | mr_owner_configs                                 |
| tdx.mr_service_td       | mr_service_tds                                   |
| tdx.mr_seam             | mr_seams                                         |
| tdx.tee_tcb_svn         | minimum_tee_tcb_svn                              |
| tdx.tee_tcb_svn_2       | minimum_tee_tcb_svn_2                            |
| tdx.qe_vendor_id        | qe_vendor_ids                                    |
| tdx.qe_svn              | minimum_qe_svn                                   |
| tdx.report_data         | report_data                                      |
| tdx.xfam                | xfams                                            |
| tdx.td_attributes       | td_attributes                                    |
| tdx.attributes.required | attributes_required                              |
| tdx.attributes.forbidden| attributes_forbidden                             |
| tdx.fmspc               | fmspcs                                           |
"""

from atoll.evidence.comparisons import (
    absent,
    equal,
    finding,
    least,
    masked,
    member,
    show,
    unchecked,
)
from atoll.evidence.dcap.pck import PckExtension
from atoll.evidence.dcap.quote import Quote
from atoll.evidence.dcap.reports import TD_UNDER_DEBUG, TdAttributes, TdReport
from atoll.evidence.dcap.tcb import TcbVerdict
from atoll.evidence.dcap.verify import VerifiedQuote
from atoll.evidence.findings import Finding
from atoll.evidence.policy_forms import Unchecked
from atoll.evidence.tdx_policy import TdxPolicy


def tdx_findings(verified: VerifiedQuote, policy: TdxPolicy) -> tuple[Finding, ...]:
    """One finding for every field of the policy, whatever the others say.

    Raises:
        TypeError: the quote is an SGX enclave's; ask `Quote.header.tee` before.
    """
    return _findings(verified.quote, policy, verified.tcb, verified.pck)


def claimed_tdx_findings(quote: Quote, policy: TdxPolicy) -> tuple[Finding, ...]:
    """The same of a quote that did not verify: what it merely says, and no TCB.

    Raises:
        TypeError: as above.
    """
    return _findings(quote, policy, None, None)


def _findings(
    quote: Quote, policy: TdxPolicy, tcb: TcbVerdict | None, pck: PckExtension | None
) -> tuple[Finding, ...]:
    report = quote.td_report
    if report is None:
        raise TypeError("tdx_findings wants a TD's quote")
    field = "TDATTRIBUTES"
    debug = bool(report.td_attributes & TdAttributes.DEBUG)
    return (
        absent("tdx.debug", "TDATTRIBUTES.DEBUG", debug, allowed=policy.allow_debug),
        _reserved_debug(report),
        member("tdx.tcb_status", "tcbStatus", policy.tcb_statuses, tcb and tcb.status),
        _evaluation(policy, tcb),
        member("tdx.mr_td", "MRTD", policy.mr_tds, report.mr_td),
        member("tdx.rtmr0", "RTMR0", policy.rtmr0s, report.rtmr0),
        member("tdx.rtmr1", "RTMR1", policy.rtmr1s, report.rtmr1),
        member("tdx.rtmr2", "RTMR2", policy.rtmr2s, report.rtmr2),
        member("tdx.rtmr3", "RTMR3", policy.rtmr3s, report.rtmr3),
        member("tdx.mr_config_id", "MRCONFIGID", policy.mr_config_ids, report.mr_config_id),
        member("tdx.mr_owner", "MROWNER", policy.mr_owners, report.mr_owner),
        member(
            "tdx.mr_owner_config", "MROWNERCONFIG", policy.mr_owner_configs, report.mr_owner_config
        ),
        member("tdx.mr_service_td", "MRSERVICETD", policy.mr_service_tds, report.mr_service_td),
        member("tdx.mr_seam", "MRSEAM", policy.mr_seams, report.mr_seam),
        _svns("tdx.tee_tcb_svn", "TEE_TCB_SVN", policy.minimum_tee_tcb_svn, report.tee_tcb_svn),
        _svns(
            "tdx.tee_tcb_svn_2",
            "TEE_TCB_SVN_2",
            policy.minimum_tee_tcb_svn_2,
            report.tee_tcb_svn_2,
        ),
        member("tdx.qe_vendor_id", "QEVENDORID", policy.qe_vendor_ids, quote.header.qe_vendor_id),
        least("tdx.qe_svn", "QE ISVSVN", policy.minimum_qe_svn, quote.qe_report.isv_svn),
        equal("tdx.report_data", "REPORTDATA", policy.report_data, report.report_data),
        member("tdx.xfam", "XFAM", policy.xfams, report.xfam),
        member(
            "tdx.td_attributes",
            field,
            policy.td_attributes,
            report.td_attributes.to_bytes(8, "little"),
        ),
        masked(
            "tdx.attributes.required",
            field,
            policy.attributes_required,
            report.td_attributes,
            want=True,
        ),
        masked(
            "tdx.attributes.forbidden",
            field,
            policy.attributes_forbidden,
            report.td_attributes,
            want=False,
        ),
        member("tdx.fmspc", "FMSPC", policy.fmspcs, pck and pck.fmspc),
    )


def _evaluation(policy: TdxPolicy, tcb: TcbVerdict | None) -> Finding:
    name, field = "tdx.tcb_evaluation", "tcbEvaluationDataNumber"
    minimum = policy.minimum_tcb_evaluation_data_number
    if tcb is not None:
        return least(name, field, minimum, tcb.tcb_evaluation_data_number)
    if isinstance(minimum, Unchecked):
        return unchecked(name, field, "not verified")
    return finding(name, field, f"at least {minimum}", "not verified")


def _reserved_debug(report: TdReport) -> Finding:
    bits = report.td_attributes & TD_UNDER_DEBUG & ~TdAttributes.DEBUG
    return finding("tdx.reserved_debug", "TDATTRIBUTES", "0x0", f"0x{bits:x}", passed=not bits)


def _svns(name: str, field: str, wanted: bytes | Unchecked, have: bytes | None) -> Finding:
    if isinstance(wanted, Unchecked):
        return unchecked(name, field, show(have))
    passed = have is not None and all(
        mine >= least_svn for mine, least_svn in zip(have, wanted, strict=True)
    )
    return finding(name, field, f"each byte at least {wanted.hex()}", show(have), passed=passed)
