"""The identity of a quoting enclave: what its report must say (PCS API version 4).

Nothing is authentic yet: `collateral.verify_collateral`.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final, Self

from atoll.errors import RejectedEvidenceError
from atoll.evidence.dcap.signed_json import JsonObject
from atoll.evidence.dcap.tcb_info import SvnLevel

_VERSION: Final = 2
_MAX_NUMBER: Final = (1 << 31) - 1
_MAX_ID: Final = 0xFFFF


class EnclaveId(Enum):
    """Which of Intel's enclaves; QVE is a verifier and never signs quotes."""

    QE = "QE"
    TD_QE = "TD_QE"
    QVE = "QVE"


@dataclass(frozen=True, slots=True, kw_only=True)
class QeIdentity:
    """A parsed identity. Masks say which bits of the report count."""

    id: EnclaveId
    issue_date: datetime
    next_update: datetime
    tcb_evaluation_data_number: int
    misc_select: bytes
    misc_select_mask: bytes
    attributes: bytes
    attributes_mask: bytes
    mr_signer: bytes
    isv_prod_id: int
    levels: tuple[SvnLevel, ...]

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Parse the value of "enclaveIdentity".

        Hex strings are in the byte order of the report, MISCSELECT too.

        Raises:
            MalformedEvidenceError: not strict JSON, or a field is missing or illegal.
            RejectedEvidenceError: `evidence.qe_identity_type`: another version or id.
        """
        value = JsonObject.parse(raw, structure="QE identity")
        version, name = value.number("version", _MAX_NUMBER), value.text("id")
        if version != _VERSION or name not in (item.value for item in EnclaveId):
            raise RejectedEvidenceError(
                f"QE identity version {version} with id {name[:20]}, want version 2",
                code="evidence.qe_identity_type",
            )
        return cls(
            id=EnclaveId(name),
            issue_date=value.time("issueDate"),
            next_update=value.time("nextUpdate"),
            tcb_evaluation_data_number=value.number("tcbEvaluationDataNumber", _MAX_NUMBER),
            misc_select=value.octets("miscselect", 4),
            misc_select_mask=value.octets("miscselectMask", 4),
            attributes=value.octets("attributes", 16),
            attributes_mask=value.octets("attributesMask", 16),
            mr_signer=value.octets("mrsigner", 32),
            isv_prod_id=value.number("isvprodid", _MAX_ID),
            levels=tuple(map(SvnLevel.of, value.objects("tcbLevels"))),
        )
