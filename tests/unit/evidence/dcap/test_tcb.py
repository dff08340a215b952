"""TCB: the truth table of statuses, and which level applies."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import RejectedEvidenceError
from atoll.evidence.dcap.pck import PckExtension
from atoll.evidence.dcap.reports import TdReport
from atoll.evidence.dcap.tcb import TcbVerdict, combine, judge_tcb, select_level
from atoll.evidence.dcap.tcb_info import SvnLevel, SvnStatus, TcbInfo, TcbStatus
from support import dcap
from support.dcap import COMPONENTS, TEE_TCB_SVN, level, module, svn_level

PLATFORM = PckExtension.from_bytes(dcap.pck_extension())

# Rows: the platform's status. Columns: a part that is up to date, out of date, revoked.
TABLE = {
    "UpToDate": ("UpToDate", "OutOfDate", "Revoked"),
    "SWHardeningNeeded": ("SWHardeningNeeded", "OutOfDate", "Revoked"),
    "ConfigurationNeeded": ("ConfigurationNeeded", "OutOfDateConfigurationNeeded", "Revoked"),
    "ConfigurationAndSWHardeningNeeded": (
        "ConfigurationAndSWHardeningNeeded",
        "OutOfDateConfigurationNeeded",
        "Revoked",
    ),
    "OutOfDate": ("OutOfDate", "OutOfDate", "Revoked"),
    "OutOfDateConfigurationNeeded": (
        "OutOfDateConfigurationNeeded",
        "OutOfDateConfigurationNeeded",
        "Revoked",
    ),
    "TDRelaunchAdvised": ("TDRelaunchAdvised", "OutOfDate", "Revoked"),
    "TDRelaunchAdvisedConfigurationNeeded": (
        "TDRelaunchAdvisedConfigurationNeeded",
        "OutOfDateConfigurationNeeded",
        "Revoked",
    ),
    "Revoked": ("Revoked", "Revoked", "Revoked"),
}


@pytest.mark.parametrize("platform", TcbStatus)
@pytest.mark.parametrize("part", SvnStatus)
def test_combines_every_status_with_every_part(platform: TcbStatus, part: SvnStatus) -> None:
    column = list(SvnStatus).index(part)
    assert combine(platform, part).value == TABLE[platform.value][column]


def _info(**changes: Any) -> TcbInfo:
    return TcbInfo.from_bytes(json.dumps(dcap.tcb_info(**changes)).encode())


def _qe(status: str = "UpToDate", *advisories: str) -> SvnLevel:
    return SvnLevel(isv_svn=4, tcb_date=dcap.NOW, status=SvnStatus(status), advisory_ids=advisories)


def _report(svn: bytes = TEE_TCB_SVN, loaded: bytes | None = None) -> TdReport:
    if loaded is None:
        return TdReport.from_bytes(dcap.td_report(tee_tcb_svn=svn))
    return TdReport.from_bytes(dcap.td_report(newer=True, tee_tcb_svn=svn, tee_tcb_svn_2=loaded))


def _judge(
    info: TcbInfo | None = None,
    report: TdReport | None = None,
    pck: PckExtension = PLATFORM,
    qe: SvnLevel | None = None,
) -> TcbVerdict:
    return judge_tcb(info or _info(), pck, report or _report(), qe or _qe())


def _svn(*first: int) -> bytes:
    return bytes(first).ljust(16, b"\x00")


def test_component_trap_one_lower_component_is_not_outweighed_by_a_higher_one() -> None:
    trap = bytes([200]) + COMPONENTS[1:7] + bytes([COMPONENTS[7] - 1]) + bytes(8)
    tcb = _judge(pck=replace(PLATFORM, components=trap))
    assert tcb.status is TcbStatus.OUT_OF_DATE


@pytest.mark.parametrize("index", range(16))
def test_every_component_counts(index: int) -> None:
    levels = [level("UpToDate", sgx=bytes([1] * 16)), level("OutOfDate", sgx=bytes(16))]
    info = _info(tcbLevels=levels)
    have = bytes(0 if at == index else 1 for at in range(16))
    assert _judge(info, pck=replace(PLATFORM, components=have)).status is TcbStatus.OUT_OF_DATE
    same = replace(PLATFORM, components=bytes([1] * 16))
    assert _judge(info, pck=same).status is TcbStatus.UP_TO_DATE


@pytest.mark.parametrize("index", range(2, 16))
def test_every_tdx_component_from_the_third_counts(index: int) -> None:
    levels = [level("UpToDate", tdx=bytes([1] * 16)), level("OutOfDate", tdx=bytes(16))]
    svn = bytes(0 if at == index else 5 if at == 0 else 1 for at in range(16))
    tcb = _judge(_info(tcbLevels=levels), _report(svn))
    assert tcb.platform is TcbStatus.OUT_OF_DATE


def test_first_two_tdx_components_count_only_for_the_oldest_module() -> None:
    levels = [level("UpToDate", tdx=_svn(9, 9)), level("OutOfDate", tdx=bytes(16))]
    info = _info(tcbLevels=levels)
    assert _judge(info, _report(_svn(5, 1))).platform is TcbStatus.UP_TO_DATE
    assert _judge(info, _report(_svn(9, 0))).platform is TcbStatus.OUT_OF_DATE
    levels[0] = level("UpToDate", tdx=_svn(9))
    assert _judge(_info(tcbLevels=levels), _report(_svn(9, 0))).status is TcbStatus.UP_TO_DATE
    assert _judge(_info(tcbLevels=levels), _report(_svn(8, 0))).status is TcbStatus.OUT_OF_DATE


def test_pce_svn_counts() -> None:
    tcb = _judge(pck=replace(PLATFORM, pce_svn=dcap.PCE_SVN - 1))
    assert (tcb.status, tcb.advisory_ids) == (TcbStatus.OUT_OF_DATE, (dcap.ADVISORY,))


def test_a_platform_below_every_level_is_not_supported() -> None:
    with pytest.raises(RejectedEvidenceError) as caught:
        _judge(pck=replace(PLATFORM, pce_svn=4))
    assert caught.value.code == "evidence.tcb_not_supported"


def test_without_levels_nothing_is_supported() -> None:
    with pytest.raises(RejectedEvidenceError, match="below every level"):
        _judge(_info(tcbLevels=[]))


def test_sgx_levels_cover_no_td() -> None:
    info = replace(_info(id="SGX"), tdx_module_identities=_info().tdx_module_identities)
    with pytest.raises(RejectedEvidenceError, match="below every level"):
        select_level(info, PLATFORM, TEE_TCB_SVN)


def test_sgx_verdict_has_no_module() -> None:
    tcb = judge_tcb(_info(id="SGX"), PLATFORM, None, _qe("OutOfDate"))
    assert (tcb.tdx_module, tcb.status) == (None, TcbStatus.OUT_OF_DATE)


def test_advisories_are_the_union_of_platform_module_and_qe() -> None:
    info = _info(
        tdxModuleIdentities=[module(1, svn_level("OutOfDate", 5, "M", "B"))],
        tcbLevels=[level("SWHardeningNeeded", advisories=("P", "B"))],
    )
    assert _judge(info, qe=_qe("OutOfDate", "Q")).advisory_ids == ("B", "M", "P", "Q")


@pytest.mark.parametrize("where", ["platform", "module", "qe"])
def test_revoked_anywhere_is_revoked(where: str) -> None:
    info = _info(
        tdxModuleIdentities=[
            module(1, svn_level("Revoked" if where == "module" else "UpToDate", 5))
        ],
        tcbLevels=[level("Revoked" if where == "platform" else "UpToDate")],
    )
    qe = _qe("Revoked" if where == "qe" else "UpToDate")
    assert _judge(info, qe=qe).status is TcbStatus.REVOKED


# Relaunch: the TD was launched by module SVN 4, which is out of date; SVN 5 is current.


def _relaunch(
    loaded: bytes = TEE_TCB_SVN,
    platform: str = "UpToDate",
    qe: str = "UpToDate",
    modules: list[dict[str, Any]] | None = None,
    launched: bytes = bytes([4]) + TEE_TCB_SVN[1:],
) -> TcbStatus:
    changes: dict[str, Any] = {"tcbLevels": [level(platform)]}
    if modules is not None:
        changes["tdxModuleIdentities"] = modules
    return _judge(_info(**changes), _report(launched, loaded), qe=_qe(qe)).status


@pytest.mark.parametrize(
    ("platform", "status"),
    [
        ("UpToDate", "TDRelaunchAdvised"),
        ("SWHardeningNeeded", "TDRelaunchAdvised"),
        ("ConfigurationNeeded", "TDRelaunchAdvisedConfigurationNeeded"),
        ("ConfigurationAndSWHardeningNeeded", "TDRelaunchAdvisedConfigurationNeeded"),
        ("OutOfDate", "OutOfDate"),
        ("OutOfDateConfigurationNeeded", "OutOfDateConfigurationNeeded"),
        ("TDRelaunchAdvised", "OutOfDate"),
        ("Revoked", "Revoked"),
    ],
)
def test_advises_a_relaunch_only_on_a_good_platform(platform: str, status: str) -> None:
    assert _relaunch(platform=platform).value == status


def test_no_relaunch_helps_an_outdated_or_revoked_qe() -> None:
    assert _relaunch(qe="OutOfDate") is TcbStatus.OUT_OF_DATE
    assert _relaunch(qe="Revoked") is TcbStatus.REVOKED


def test_no_relaunch_is_advised_for_a_report_that_does_not_tell_what_is_loaded() -> None:
    launched = bytes([4]) + TEE_TCB_SVN[1:]
    assert _judge(report=_report(launched)).status is TcbStatus.OUT_OF_DATE


@pytest.mark.parametrize(
    "loaded", [_svn(4, 1, 6), _svn(5, 1, 5)], ids=["old module", "old SEAM loader"]
)
def test_no_relaunch_helps_if_what_is_loaded_is_old_too(loaded: bytes) -> None:
    assert _relaunch(loaded) is TcbStatus.OUT_OF_DATE


def test_the_oldest_module_loaded_is_compared_with_the_platform_level() -> None:
    assert _relaunch(_svn(0, 0, 6)) is TcbStatus.TD_RELAUNCH_ADVISED
    newest = level("UpToDate", tdx=_svn(7, 0, 6))
    older = level("UpToDate", tdx=_svn(0, 0, 6))
    info = _info(tcbLevels=[newest, older])
    report = _report(_svn(4, 1, 6), _svn(6, 0, 6))
    assert _judge(info, report).status is TcbStatus.OUT_OF_DATE


def test_a_loaded_module_without_identity_or_levels_is_refused() -> None:
    with pytest.raises(RejectedEvidenceError) as caught:
        _relaunch(_svn(5, 2, 6))
    assert caught.value.code == "evidence.tdx_module"
    current = module(1, svn_level("UpToDate", 5), svn_level("OutOfDate", 3))
    with pytest.raises(RejectedEvidenceError) as caught:
        _relaunch(_svn(5, 2, 6), modules=[current, module(2)])
    assert caught.value.code == "evidence.tdx_module_tcb"


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=16, max_size=16), st.integers(0, 20), st.integers(0, 15))
def test_a_higher_svn_never_gives_a_later_level(components: bytes, pce: int, at: int) -> None:
    info = _info(
        tcbLevels=[
            level("UpToDate", sgx=bytes([128] * 16), pce_svn=12),
            level("SWHardeningNeeded", sgx=bytes([64] * 8) + bytes(8), pce_svn=10),
            level("OutOfDate", sgx=bytes(16), pce_svn=0),
        ]
    )
    raised = bytes(min(255, svn + 40) if n == at else svn for n, svn in enumerate(components))
    lower, higher = (
        info.tcb_levels.index(
            select_level(info, replace(PLATFORM, components=one, pce_svn=pce), None)
        )
        for one in (components, raised)
    )
    assert higher <= lower
