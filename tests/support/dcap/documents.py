"""TCB info and QE identity of our vendor, and collateral made of them."""

import json
from datetime import datetime
from typing import Any

from atoll.evidence.dcap.collateral import Collateral
from atoll.evidence.dcap.signed_json import SignedJson
from support.dcap import signing
from support.dcap.certificates import pck_crl, root_crl, tcb_chain
from support.dcap.platform import (
    ADVISORY,
    COMPONENTS,
    FMSPC,
    MONTH,
    NOW,
    PCE_ID,
    PCE_SVN,
    QE_MR_SIGNER,
    TEE_TCB_SVN,
    YEAR,
)


def moment(when: datetime) -> str:
    """As in collateral."""
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def components(svns: bytes) -> list[dict[str, Any]]:
    """Component SVNs as version 3 writes them."""
    return [{"svn": svn} for svn in svns]


def level(
    status: str,
    *,
    sgx: bytes = COMPONENTS,
    pce_svn: int = PCE_SVN,
    tdx: bytes | None = bytes(2) + TEE_TCB_SVN[2:],
    advisories: tuple[str, ...] = (),
) -> dict[str, Any]:
    """One level of a TCB info."""
    tcb: dict[str, Any] = {"sgxtcbcomponents": components(sgx), "pcesvn": pce_svn}
    if tdx is not None:
        tcb["tdxtcbcomponents"] = components(tdx)
    return {
        "tcb": tcb,
        "tcbDate": moment(NOW - YEAR),
        "tcbStatus": status,
        "advisoryIDs": list(advisories),
    }


def svn_level(status: str, isv_svn: int, *advisories: str) -> dict[str, Any]:
    """One level of an identity."""
    result: dict[str, Any] = {
        "tcb": {"isvsvn": isv_svn},
        "tcbDate": moment(NOW - YEAR),
        "tcbStatus": status,
    }
    return result | ({"advisoryIDs": list(advisories)} if advisories else {})


def module(version: int, *levels: dict[str, Any]) -> dict[str, Any]:
    """One TDX module identity."""
    return {
        "id": f"TDX_{version:02X}",
        "mrsigner": bytes(48).hex(),
        "attributes": bytes(8).hex(),
        "attributesMask": "FF" * 8,
        "tcbLevels": list(levels),
    }


def tcb_info(tee: str = "TDX", **changes: Any) -> dict[str, Any]:
    """A TCB info under which our platform is up to date; a change to None drops a key."""
    oldest = {
        "mrsigner": bytes(48).hex(),
        "attributes": bytes(8).hex(),
        "attributesMask": "FF" * 8,
    }
    value: dict[str, Any] = {
        "id": tee,
        "version": 3,
        "issueDate": moment(NOW - MONTH),
        "nextUpdate": moment(NOW + MONTH),
        "fmspc": FMSPC.upper(),
        "pceId": PCE_ID,
        "tcbType": 0,
        "tcbEvaluationDataNumber": 17,
        "tdxModule": oldest,
        "tdxModuleIdentities": [module(1, svn_level("UpToDate", 5), svn_level("OutOfDate", 3))],
        "tcbLevels": [
            level("UpToDate"),
            level("OutOfDate", sgx=bytes(16), pce_svn=5, tdx=bytes(16), advisories=(ADVISORY,)),
        ],
    }
    value |= changes
    return {name_: item for name_, item in value.items() if item is not None}


def qe_identity(id_: str = "TD_QE", **changes: Any) -> dict[str, Any]:
    """The identity of our QE."""
    value: dict[str, Any] = {
        "id": id_,
        "version": 2,
        "issueDate": moment(NOW - MONTH),
        "nextUpdate": moment(NOW + MONTH),
        "tcbEvaluationDataNumber": 17,
        "miscselect": "00000000",
        "miscselectMask": "FFFFFFFF",
        "attributes": "11" + "00" * 15,
        "attributesMask": "FB" + "FF" * 7 + "00" * 8,
        "mrsigner": QE_MR_SIGNER.hex(),
        "isvprodid": 2 if id_ == "TD_QE" else 1,
        "tcbLevels": [svn_level("UpToDate", 4), svn_level("OutOfDate", 2, "OWN-SA-QE")],
    }
    return value | changes


def signed(value: dict[str, Any], signer: str = "tcb") -> SignedJson:
    """JSON under the signature of the TCB signing key, or of another."""
    raw = json.dumps(value, separators=(",", ":")).encode()
    return SignedJson(raw=raw, signature=signing.sign(signing.key(signer), raw))


def collateral(tee: str = "TDX", **changes: Any) -> Collateral:
    """Good collateral, with changed fields of `Collateral`."""
    parts: dict[str, Any] = {
        "tcb_info": signed(tcb_info(tee)),
        "tcb_info_chain": tcb_chain(),
        "qe_identity": signed(qe_identity("TD_QE" if tee == "TDX" else "QE")),
        "qe_identity_chain": tcb_chain(),
        "root_crl": root_crl(),
        "pck_crl": pck_crl(),
    }
    return Collateral(**(parts | changes))
