"""Which TCB status a genuine quote has (Intel PCS API version 4; Intel QVL).

Selecting levels:

* Platform: the first level, in Intel's order, of which no SVN is above the platform's:
  16 components and PCESVN of the PCK certificate, for TDX also TEE_TCB_SVN. Component by
  component, never as one number. If TEE_TCB_SVN[1] is not 0, its first two bytes belong
  to the TDX module and are judged there; one implementation compares them here as well.
* TDX module: TEE_TCB_SVN[1] = 0 means the oldest, "tdxModule", which has no levels;
  otherwise the identity "TDX_xx", and the first level with an SVN up to TEE_TCB_SVN[0].
* QE: the first level with an SVN up to the QE report's ISVSVN.

Without a level the TCB is not supported, and the quote is refused.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from atoll.errors import RejectedEvidenceError
from atoll.evidence.dcap.pck import PckExtension
from atoll.evidence.dcap.reports import EnclaveReport, TdReport
from atoll.evidence.dcap.tcb_info import (
    SvnLevel,
    SvnStatus,
    TcbInfo,
    TcbLevel,
    TcbStatus,
    TdxModule,
)

_MODULE_BYTES: Final = 2

_NEEDS_CONFIGURATION: Final = frozenset(
    {
        TcbStatus.CONFIGURATION_NEEDED,
        TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED,
        TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED,
        TcbStatus.TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED,
    }
)
_OUT_OF_DATE: Final = frozenset({TcbStatus.OUT_OF_DATE, TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED})
_RELAUNCHED: Final = frozenset(
    {TcbStatus.TD_RELAUNCH_ADVISED, TcbStatus.TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TcbVerdict:
    """The status of everything that the quote relies on, and what it is made of."""

    status: TcbStatus
    platform: TcbStatus
    tdx_module: SvnStatus | None
    qe: SvnStatus
    advisory_ids: tuple[str, ...]
    tcb_date: datetime
    tcb_evaluation_data_number: int


def combine(platform: TcbStatus, part: SvnStatus) -> TcbStatus:
    """The status of a platform that relies on a part (TDX module or QE) of this status.

    Revoked wins over all; a part that is out of date makes the whole out of date and
    keeps the need for configuration; a part that is up to date changes nothing.
    """
    if TcbStatus.REVOKED is platform or part is SvnStatus.REVOKED:
        return TcbStatus.REVOKED
    if part is SvnStatus.UP_TO_DATE:
        return platform
    if platform in _NEEDS_CONFIGURATION:
        return TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED
    return TcbStatus.OUT_OF_DATE


def judge_tcb(
    info: TcbInfo, pck: PckExtension, report: TdReport | None, qe_level: SvnLevel
) -> TcbVerdict:
    """The verdict for a platform.

    1. The platform's level.
    2. For TDX, the module's level, combined with it.
    3. For TD report 1.5, whether launching the TD anew would make it current.
    4. The QE's level, combined with that.

    Args:
        report: the TD report, or None for SGX.
        qe_level: from `select_svn_level` over the QE identity.

    Raises:
        RejectedEvidenceError: `evidence.tcb_not_supported`, `.tdx_module`,
            `.tdx_module_tcb`.
    """
    # 1
    level = select_level(info, pck, None if report is None else report.tee_tcb_svn)
    status, levels = level.status, [level.advisory_ids, qe_level.advisory_ids]
    # 2
    module_level: SvnLevel | None = None
    if report is not None and report.tee_tcb_svn[1] > 0:
        module = find_module(info, report.tee_tcb_svn)
        module_level = select_svn_level(module.levels, report.tee_tcb_svn[0])
        if module_level is None:
            raise _error(
                "tdx_module_tcb", f"no level of {module.id} for SVN {report.tee_tcb_svn[0]}"
            )
        status = combine(status, module_level.status)
        levels.append(module_level.advisory_ids)
    # 3
    outdated = module_level is not None and module_level.status is SvnStatus.OUT_OF_DATE
    if report is not None and outdated and qe_level.status is SvnStatus.UP_TO_DATE:
        status = _relaunch(status, info, pck, report)
    # 4
    return TcbVerdict(
        status=combine(status, qe_level.status),
        platform=level.status,
        tdx_module=module_level.status if module_level else None,
        qe=qe_level.status,
        advisory_ids=tuple(sorted({advisory for one in levels for advisory in one})),
        tcb_date=level.tcb_date,
        tcb_evaluation_data_number=info.tcb_evaluation_data_number,
    )


def select_level(info: TcbInfo, pck: PckExtension, tee_tcb_svn: bytes | None) -> TcbLevel:
    """The platform's level; without `tee_tcb_svn` the TDX components are left aside.

    Raises:
        RejectedEvidenceError: `evidence.tcb_not_supported`: every level is above it.
    """
    for level in info.tcb_levels:
        if (
            _covers(pck.components, level.sgx_components)
            and pck.pce_svn >= level.pce_svn
            and (tee_tcb_svn is None or _covers_tdx(tee_tcb_svn, level))
        ):
            return level
    raise _error("tcb_not_supported", "the platform is below every level of the TCB info")


def find_module(info: TcbInfo, tee_tcb_svn: bytes) -> TdxModule:
    """The TDX module that these SVNs speak of.

    Raises:
        RejectedEvidenceError: `evidence.tdx_module`: the TCB info does not know it.
    """
    version = tee_tcb_svn[1]
    if version == 0 and info.tdx_module is not None:
        return info.tdx_module
    wanted = f"TDX_{version:02X}"
    for module in info.tdx_module_identities:
        if module.id == wanted:
            return module
    raise _error("tdx_module", f"TCB info has no TDX module identity {wanted}")


def check_module(module: TdxModule, report: TdReport) -> None:
    """Check that the TDX module is Intel's and has no attributes, as debug would be one.

    Raises:
        RejectedEvidenceError: `evidence.tdx_module`.
    """
    if report.mr_signer_seam != module.mr_signer:
        raise _error("tdx_module", f"MRSIGNERSEAM {report.mr_signer_seam.hex()} is not Intel's")
    attributes = report.seam_attributes
    if any(attributes) or _masked(attributes, module.attributes_mask) != module.attributes:
        raise _error("tdx_module", f"SEAMATTRIBUTES {attributes.hex()}, want zero")


def select_svn_level(levels: tuple[SvnLevel, ...], isv_svn: int) -> SvnLevel | None:
    """The first level with an SVN up to this one, or None."""
    return next((level for level in levels if level.isv_svn <= isv_svn), None)


def enclave_mismatch(
    report: EnclaveReport,
    *,
    misc_select: tuple[bytes, bytes],
    attributes: tuple[bytes, bytes],
    mr_signer: bytes,
    isv_prod_id: int,
) -> str | None:
    """The first field in which an enclave differs from its identity, or None.

    Args:
        misc_select: the value under the mask, and the mask; `attributes` likewise.
    """
    if _masked(report.misc_select, misc_select[1]) != misc_select[0]:
        return f"MISCSELECT {report.misc_select.hex()}"
    if _masked(report.attributes, attributes[1]) != attributes[0]:
        return f"ATTRIBUTES {report.attributes.hex()}"
    if report.mr_signer != mr_signer:
        return f"MRSIGNER {report.mr_signer.hex()}"
    if report.isv_prod_id != isv_prod_id:
        return f"ISVPRODID {report.isv_prod_id}"
    return None


def _relaunch(status: TcbStatus, info: TcbInfo, pck: PckExtension, report: TdReport) -> TcbStatus:
    """Advise a relaunch if only the module that launched the TD is out of date.

    The platform without TDX must be good, and the module that is loaded now
    (TEE_TCB_SVN_2) and the SEAM loader (component 2) must be the newest there are.
    """
    loaded = report.tee_tcb_svn_2
    sgx = select_level(info, pck, None).status
    good = sgx not in _OUT_OF_DATE | _RELAUNCHED | {TcbStatus.REVOKED}
    if loaded is None or status not in _OUT_OF_DATE or not good:
        return status
    newest = info.tcb_levels[0].tdx_components or b""
    if loaded[1] == 0:
        current = loaded[0] >= newest[0]
    else:
        levels = find_module(info, loaded).levels
        if not levels:
            raise _error("tdx_module_tcb", "the loaded TDX module has no levels")
        current = loaded[0] >= levels[0].isv_svn
    if not current or loaded[_MODULE_BYTES] < newest[_MODULE_BYTES]:
        return status
    if sgx in _NEEDS_CONFIGURATION or status in _NEEDS_CONFIGURATION:
        return TcbStatus.TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED
    return TcbStatus.TD_RELAUNCH_ADVISED


def _covers(have: bytes, want: bytes) -> bool:
    return all(mine >= least for mine, least in zip(have, want, strict=True))


def _covers_tdx(tee_tcb_svn: bytes, level: TcbLevel) -> bool:
    start = _MODULE_BYTES if tee_tcb_svn[1] > 0 else 0
    # TCB info of another TEE never gets here; without components nothing is covered.
    components = level.tdx_components
    return components is not None and _covers(tee_tcb_svn[start:], components[start:])


def _masked(value: bytes, mask: bytes) -> bytes:
    return bytes(have & keep for have, keep in zip(value, mask, strict=True))


def _error(check: str, message: str) -> RejectedEvidenceError:
    return RejectedEvidenceError(message, code=f"evidence.{check}")
