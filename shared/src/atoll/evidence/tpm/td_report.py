"""The TDREPORT: TDREPORT_STRUCT of the Intel TDX module specification, 1024 bytes.

| off | size | field                                                    |
| 0   | 16   | report type (81 = TDX, subtype 0, version 0 or 1), zeros |
| 16  | 16   | CPUSVN                                                   |
| 32  | 48   | TEE_TCB_INFO_HASH: SHA-384 of TEE_TCB_INFO               |
| 80  | 48   | TEE_INFO_HASH: SHA-384 of TDINFO                         |
| 128 | 64   | REPORTDATA                                               |
| 192 | 32   | reserved                                                 |
| 224 | 32   | MAC                                                      |
| 256 | 239  | TEE_TCB_INFO                                             |
| 495 | 17   | reserved                                                 |
| 512 | 512  | TDINFO                                                   |

TDINFO: ATTRIBUTES 8, XFAM 8, MRTD 48, MRCONFIGID 48, MROWNER 48, MROWNERCONFIG 48, RTMR0 to
RTMR3 48 each; the rest depends on the version. The MAC's key never leaves the processor, so a
TDREPORT proves nothing to others: compare it with a quote made from it.
"""

import hashlib
from dataclasses import dataclass
from typing import Final, Self

from atoll.errors import MalformedEvidenceError
from atoll.evidence._fixed import FixedReader

SIZE: Final = 1024
COMMON_SIZE: Final = 400
"""The part of TDINFO that a quote's TD report 1.0 repeats from TDATTRIBUTES to RTMR3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TdReport:
    """A parsed report; authentic only as far as a verified quote says the same."""

    report_data: bytes
    td_info: bytes
    """The first 400 bytes of TDINFO: ATTRIBUTES to RTMR3."""

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Parse one report.

        Raises:
            MalformedEvidenceError: another size or type, or a hash that is not that of its
                structure.
        """
        reader = FixedReader(raw, structure="TDREPORT", size=SIZE)
        kind = reader.octets(0, 4)
        reader.zeros(4, 12)
        if kind[:2] != b"\x81\x00" or kind[2] > 1 or kind[3]:
            raise reader.fail(0, f"has the report type {kind.hex()}")
        reader.octets(16, 16)
        hashes = reader.octets(32, 96)
        report_data = reader.octets(128, 64)
        reader.octets(192, 64)
        tcb_info, info = reader.octets(256, 239), reader.octets(512, 512)
        reader.zeros(495, 17)
        reader.finish()
        if hashes != hashlib.sha384(tcb_info).digest() + hashlib.sha384(info).digest():
            raise MalformedEvidenceError("TDREPORT", 32, "has hashes of other structures")
        return cls(report_data=report_data, td_info=info[:COMMON_SIZE])
