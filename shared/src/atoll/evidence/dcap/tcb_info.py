"""TCB info: which SVNs a kind of platform has had, and how good each is (PCS API version 4).

Version 3 with id "SGX" or "TDX"; version 2, without id, for SGX only. Versions name the
component SVNs differently: `sgxtcbcomp01svn` to 16, or `sgxtcbcomponents`.

Nothing is authentic yet: `collateral.verify_collateral`.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final, Self, TypeVar

from atoll.errors import MalformedEvidenceError, RejectedEvidenceError
from atoll.evidence.dcap.pck import COMPONENTS
from atoll.evidence.dcap.quote import QuoteTee
from atoll.evidence.dcap.signed_json import JsonObject

S = TypeVar("S", bound=Enum)

_V2, _V3 = 2, 3
_MAX_SVN: Final = 0xFF
_MAX_PCESVN: Final = 0xFFFF
_MAX_NUMBER: Final = (1 << 31) - 1
_IDS: Final = {"SGX": QuoteTee.SGX, "TDX": QuoteTee.TDX}


class TcbStatus(Enum):
    """What Intel says of a TCB (PCS API version 4, "tcbStatus")."""

    UP_TO_DATE = "UpToDate"
    SW_HARDENING_NEEDED = "SWHardeningNeeded"
    CONFIGURATION_NEEDED = "ConfigurationNeeded"
    CONFIGURATION_AND_SW_HARDENING_NEEDED = "ConfigurationAndSWHardeningNeeded"
    OUT_OF_DATE = "OutOfDate"
    OUT_OF_DATE_CONFIGURATION_NEEDED = "OutOfDateConfigurationNeeded"
    TD_RELAUNCH_ADVISED = "TDRelaunchAdvised"
    TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED = "TDRelaunchAdvisedConfigurationNeeded"
    REVOKED = "Revoked"


class SvnStatus(Enum):
    """What Intel says of one SVN of an enclave or of a TDX module."""

    UP_TO_DATE = "UpToDate"
    OUT_OF_DATE = "OutOfDate"
    REVOKED = "Revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class TcbLevel:
    """One level of a platform: at least these SVNs mean this status."""

    sgx_components: bytes
    pce_svn: int
    tdx_components: bytes | None
    tcb_date: datetime
    status: TcbStatus
    advisory_ids: tuple[str, ...]

    @classmethod
    def of(cls, value: JsonObject, tee: QuoteTee) -> Self:
        """Read one item of `tcbLevels`; raises as `TcbInfo.from_bytes`."""
        tcb = value.object("tcb")
        return cls(
            sgx_components=_sgx_components(tcb),
            pce_svn=tcb.number("pcesvn", _MAX_PCESVN),
            tdx_components=_components(tcb, "tdxtcbcomponents") if tee is QuoteTee.TDX else None,
            tcb_date=value.time("tcbDate"),
            status=_status(value, TcbStatus),
            advisory_ids=value.texts("advisoryIDs"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SvnLevel:
    """One level of an enclave or of a TDX module: at least this SVN means this status."""

    isv_svn: int
    tcb_date: datetime
    status: SvnStatus
    advisory_ids: tuple[str, ...]

    @classmethod
    def of(cls, value: JsonObject) -> Self:
        """Read one item of an identity's `tcbLevels`; raises as `TcbInfo.from_bytes`."""
        return cls(
            isv_svn=value.object("tcb").number("isvsvn", _MAX_PCESVN),
            tcb_date=value.time("tcbDate"),
            status=_status(value, SvnStatus),
            advisory_ids=value.texts("advisoryIDs"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TdxModule:
    """A TDX module: who signed it, and its levels (none for the oldest, "tdxModule")."""

    id: str
    mr_signer: bytes
    attributes: bytes
    attributes_mask: bytes
    levels: tuple[SvnLevel, ...]

    @classmethod
    def of(cls, value: JsonObject, *, identity: bool) -> Self:
        """Read `tdxModule`, or an item of `tdxModuleIdentities`."""
        levels = value.objects("tcbLevels") if identity else ()
        return cls(
            id=value.text("id").upper() if identity else "",
            mr_signer=value.octets("mrsigner", 48),
            attributes=value.octets("attributes", 8),
            attributes_mask=value.octets("attributesMask", 8),
            levels=tuple(map(SvnLevel.of, levels)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TcbInfo:
    """A parsed TCB info. `tcb_levels` stay in Intel's order, newest first."""

    tee: QuoteTee
    version: int
    issue_date: datetime
    next_update: datetime
    fmspc: bytes
    pce_id: bytes
    tcb_evaluation_data_number: int
    tdx_module: TdxModule | None
    tdx_module_identities: tuple[TdxModule, ...]
    tcb_levels: tuple[TcbLevel, ...]

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Parse the value of "tcbInfo".

        Raises:
            MalformedEvidenceError: not strict JSON, or a field is missing or illegal.
            RejectedEvidenceError: `evidence.tcb_info_type`: an id or version that is
                not one of SGX 2, SGX 3 and TDX 3, or another tcbType.
        """
        value = JsonObject.parse(raw, structure="TCB info")
        version = value.number("version", _MAX_NUMBER)
        tee = _tee(value, version)
        if value.number("tcbType", _MAX_NUMBER) != 0:
            raise _type_error("tcbType is not 0, which is all that is defined")
        tdx = tee is QuoteTee.TDX
        has_identities = tdx and value.has("tdxModuleIdentities")
        modules = value.objects("tdxModuleIdentities") if has_identities else ()
        return cls(
            tee=tee,
            version=version,
            issue_date=value.time("issueDate"),
            next_update=value.time("nextUpdate"),
            fmspc=value.octets("fmspc", 6),
            pce_id=value.octets("pceId", 2),
            tcb_evaluation_data_number=value.number("tcbEvaluationDataNumber", _MAX_NUMBER),
            tdx_module=TdxModule.of(value.object("tdxModule"), identity=False) if tdx else None,
            tdx_module_identities=tuple(TdxModule.of(one, identity=True) for one in modules),
            tcb_levels=tuple(TcbLevel.of(one, tee) for one in value.objects("tcbLevels")),
        )


def _status(value: JsonObject, kind: type[S]) -> S:
    # A status that is not known is refused, never skipped: the next level would be worse.
    text = value.text("tcbStatus")
    try:
        return kind(text)
    except ValueError as error:
        raise MalformedEvidenceError("TCB level", 0, f"status {text[:40]!r} is unknown") from error


def _tee(value: JsonObject, version: int) -> QuoteTee:
    if version == _V2 and not value.has("id"):
        return QuoteTee.SGX
    name = value.text("id") if value.has("id") else "none"
    if version != _V3 or name not in _IDS:
        raise _type_error(f"TCB info version {version} with id {name[:20]}")
    return _IDS[name]


def _type_error(message: str) -> RejectedEvidenceError:
    return RejectedEvidenceError(message, code="evidence.tcb_info_type")


def _sgx_components(tcb: JsonObject) -> bytes:
    if tcb.has("sgxtcbcomponents"):
        return _components(tcb, "sgxtcbcomponents")
    names = (f"sgxtcbcomp{number:02}svn" for number in range(1, COMPONENTS + 1))
    return bytes(tcb.number(name, _MAX_SVN) for name in names)


def _components(tcb: JsonObject, key: str) -> bytes:
    svns = bytes(item.number("svn", _MAX_SVN) for item in tcb.objects(key))
    if len(svns) != COMPONENTS:
        tcb.fail(key, f"has {len(svns)} components, want {COMPONENTS}")
    return svns
