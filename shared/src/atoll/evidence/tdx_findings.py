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
| tdx.report_data         | report_data                                      |
| tdx.xfam                | xfams                                            |
| tdx.attributes.required | attributes_required                              |
| tdx.attributes.forbidden| attributes_forbidden                             |
| tdx.fmspc               | fmspcs                                           |
"""

from atoll.evidence.comparisons import absent, equal, finding, least, member, unchecked
from atoll.evidence.dcap.reports import TD_UNDER_DEBUG, TdAttributes, TdReport
from atoll.evidence.dcap.verify import VerifiedQuote
from atoll.evidence.findings import Finding
from atoll.evidence.policy_forms import Unchecked
from atoll.evidence.tdx_policy import TdxPolicy


def tdx_findings(verified: VerifiedQuote, policy: TdxPolicy) -> tuple[Finding, ...]:
    """One finding for every field of the policy, whatever the others say.

    Raises:
        TypeError: the quote is an SGX enclave's; ask `Quote.header.tee` before.
    """
    report = verified.quote.td_report
    if report is None:
        raise TypeError("tdx_findings wants a TD's quote")
    tcb = verified.tcb
    debug = bool(report.td_attributes & TdAttributes.DEBUG)
    return (
        absent("tdx.debug", "TDATTRIBUTES.DEBUG", debug, allowed=policy.allow_debug),
        _reserved_debug(report),
        member("tdx.tcb_status", "tcbStatus", policy.tcb_statuses, tcb.status),
        least(
            "tdx.tcb_evaluation",
            "tcbEvaluationDataNumber",
            policy.minimum_tcb_evaluation_data_number,
            tcb.tcb_evaluation_data_number,
        ),
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
        _tee_tcb_svn(policy, report),
        equal("tdx.report_data", "REPORTDATA", policy.report_data, report.report_data),
        member("tdx.xfam", "XFAM", policy.xfams, report.xfam),
        _attributes("tdx.attributes.required", policy.attributes_required, report, want=True),
        _attributes("tdx.attributes.forbidden", policy.attributes_forbidden, report, want=False),
        member("tdx.fmspc", "FMSPC", policy.fmspcs, verified.pck.fmspc),
    )


def _reserved_debug(report: TdReport) -> Finding:
    bits = report.td_attributes & TD_UNDER_DEBUG & ~TdAttributes.DEBUG
    return finding("tdx.reserved_debug", "TDATTRIBUTES", "0x0", f"0x{bits:x}", passed=not bits)


def _tee_tcb_svn(policy: TdxPolicy, report: TdReport) -> Finding:
    name, field, have = "tdx.tee_tcb_svn", "TEE_TCB_SVN", report.tee_tcb_svn
    wanted = policy.minimum_tee_tcb_svn
    if isinstance(wanted, Unchecked):
        return unchecked(name, field, have.hex())
    passed = all(mine >= least_svn for mine, least_svn in zip(have, wanted, strict=True))
    return finding(name, field, f"each byte at least {wanted.hex()}", have.hex(), passed=passed)


def _attributes(
    name: str, bits: TdAttributes | Unchecked, report: TdReport, *, want: bool
) -> Finding:
    field, actual = "TDATTRIBUTES", f"0x{report.td_attributes:x}"
    if isinstance(bits, Unchecked):
        return unchecked(name, field, actual)
    got = report.td_attributes & bits
    expected = f"0x{int(bits):x} {'set' if want else 'clear'}"
    return finding(name, field, expected, actual, passed=got == (bits if want else 0))
