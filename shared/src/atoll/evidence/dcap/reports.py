"""The bodies of quotes: TD reports 1.0 and 1.5, and the SGX enclave report.

TD report (Intel TDX DCAP Quoting Library API, A.3.2 and A.4.2), 584 or 648 bytes:

| off | size | field            | off | size | field                               |
| 0   | 16   | TEE_TCB_SVN      | 280 | 48   | MROWNERCONFIG                       |
| 16  | 48   | MRSEAM           | 328 | 48   | RTMR0                               |
| 64  | 48   | MRSIGNERSEAM     | 376 | 48   | RTMR1                               |
| 112 | 8    | SEAMATTRIBUTES   | 424 | 48   | RTMR2                               |
| 120 | 8    | TDATTRIBUTES     | 472 | 48   | RTMR3                               |
| 128 | 8    | XFAM             | 520 | 64   | REPORTDATA                          |
| 136 | 48   | MRTD             | 584 | 16   | TEE_TCB_SVN_2, report 1.5 only      |
| 184 | 48   | MRCONFIGID       | 600 | 48   | MRSERVICETD, report 1.5 only        |
| 232 | 48   | MROWNER          |                                                   |

Enclave report (Intel SDM volume 3D, table 39-22), 384 bytes:

| off | size | field            | off | size | field                               |
| 0   | 16   | CPUSVN           | 192 | 64   | CONFIGID                            |
| 16  | 4    | MISCSELECT       | 256 | 2    | ISVPRODID                           |
| 20  | 12   | zero             | 258 | 2    | ISVSVN                              |
| 32  | 16   | ISVEXTPRODID     | 260 | 2    | CONFIGSVN                           |
| 48  | 16   | ATTRIBUTES       | 262 | 42   | zero                                |
| 64  | 32   | MRENCLAVE        | 304 | 16   | ISVFAMILYID                         |
| 96  | 32   | zero             | 320 | 64   | REPORTDATA                          |
| 128 | 32   | MRSIGNER         |                                                   |
| 160 | 32   | zero             |                                                   |
"""

from dataclasses import dataclass
from enum import IntFlag
from typing import Final, Self

from atoll.evidence._fixed import FixedReader

ENCLAVE_REPORT_SIZE: Final = 384
TD_REPORT_10_SIZE: Final = 584
TD_REPORT_15_SIZE: Final = 648

_SGX_DEBUG: Final = 0x02


class TdAttributes(IntFlag):
    """TDATTRIBUTES (Intel TDX module ABI, 3.4.1); the low byte is the "TD under debug" group."""

    DEBUG = 1 << 0
    SEPT_VE_DISABLE = 1 << 28
    MIGRATABLE = 1 << 29
    PKS = 1 << 30
    KL = 1 << 31
    PERFMON = 1 << 63


TD_UNDER_DEBUG: Final = 0xFF
"""Any of these bits means that the TD is not production (DEBUG, or reserved for more)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TdReport:
    """A TD report as it stands in a quote; the last two fields only in version 1.5."""

    tee_tcb_svn: bytes
    mr_seam: bytes
    mr_signer_seam: bytes
    seam_attributes: bytes
    td_attributes: int
    xfam: bytes
    mr_td: bytes
    mr_config_id: bytes
    mr_owner: bytes
    mr_owner_config: bytes
    rtmr0: bytes
    rtmr1: bytes
    rtmr2: bytes
    rtmr3: bytes
    report_data: bytes
    tee_tcb_svn_2: bytes | None
    mr_service_td: bytes | None

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Parse 584 bytes as version 1.0, 648 as version 1.5.

        Raises:
            MalformedEvidenceError: another size.
        """
        newer = len(raw) == TD_REPORT_15_SIZE
        size = TD_REPORT_15_SIZE if newer else TD_REPORT_10_SIZE
        reader = FixedReader(raw, structure="TD report", size=size)
        report = cls(
            tee_tcb_svn=reader.octets(0, 16),
            mr_seam=reader.octets(16, 48),
            mr_signer_seam=reader.octets(64, 48),
            seam_attributes=reader.octets(112, 8),
            td_attributes=reader.uint(120, 8),
            xfam=reader.octets(128, 8),
            mr_td=reader.octets(136, 48),
            mr_config_id=reader.octets(184, 48),
            mr_owner=reader.octets(232, 48),
            mr_owner_config=reader.octets(280, 48),
            rtmr0=reader.octets(328, 48),
            rtmr1=reader.octets(376, 48),
            rtmr2=reader.octets(424, 48),
            rtmr3=reader.octets(472, 48),
            report_data=reader.octets(520, 64),
            tee_tcb_svn_2=reader.octets(584, 16) if newer else None,
            mr_service_td=reader.octets(600, 48) if newer else None,
        )
        reader.finish()
        return report


@dataclass(frozen=True, slots=True, kw_only=True)
class EnclaveReport:
    """An SGX enclave's report: the body of an SGX quote, and of every quote's QE."""

    cpu_svn: bytes
    misc_select: bytes
    isv_ext_prod_id: bytes
    attributes: bytes
    mr_enclave: bytes
    mr_signer: bytes
    config_id: bytes
    isv_prod_id: int
    isv_svn: int
    config_svn: int
    isv_family_id: bytes
    report_data: bytes

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Parse 384 bytes.

        Raises:
            MalformedEvidenceError: another size, or a reserved byte is not zero.
        """
        reader = FixedReader(raw, structure="enclave report", size=ENCLAVE_REPORT_SIZE)
        report = cls(
            cpu_svn=reader.octets(0, 16),
            misc_select=reader.octets(16, 4),
            isv_ext_prod_id=reader.octets(32, 16),
            attributes=reader.octets(48, 16),
            mr_enclave=reader.octets(64, 32),
            mr_signer=reader.octets(128, 32),
            config_id=reader.octets(192, 64),
            isv_prod_id=reader.uint(256, 2),
            isv_svn=reader.uint(258, 2),
            config_svn=reader.uint(260, 2),
            isv_family_id=reader.octets(304, 16),
            report_data=reader.octets(320, 64),
        )
        for at, size in ((20, 12), (96, 32), (160, 32), (262, 42)):
            reader.zeros(at, size)
        reader.finish()
        return report

    @property
    def debug(self) -> bool:
        """ATTRIBUTES.DEBUG: the host can read and write the enclave's memory."""
        return bool(self.attributes[0] & _SGX_DEBUG)
