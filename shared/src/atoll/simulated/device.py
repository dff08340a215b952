"""The simulated guest device: what passes between an enclave and its simulated processor.

It stands where `/dev/sev-guest` stands on hardware (SNP_GET_EXT_REPORT: 64 bytes of
report data and a VMPL in; a status, a report and a certificate table out) and runs
over a stream socket that the host hands the guest at launch. Pure: bytes and values.

    request    0x00  64  report_data
               0x40   4  vmpl, little-endian
    reply      0x00   4  status, little-endian: 0, or 0x16 (invalid parameters)
               0x04   4  size of the report
               0x08   4  size of the certificate table
               0x0c      the report, then the table
"""

import struct
from dataclasses import dataclass
from typing import Final

from atoll.errors import MalformedEvidenceError

REQUEST_SIZE: Final = 68
REPLY_HEADER_SIZE: Final = 12
MAX_REPORT: Final = 1184
MAX_TABLE: Final = 32 << 10
STATUS_OK: Final = 0
STATUS_INVALID: Final = 0x16
_REPLY: Final = struct.Struct("<III")


@dataclass(frozen=True, slots=True)
class DeviceReply:
    status: int
    report: bytes
    table: bytes


def encode_request(report_data: bytes, vmpl: int) -> bytes:
    if len(report_data) != 64:  # noqa: PLR2004
        raise ValueError("report data is 64 bytes")
    return report_data + vmpl.to_bytes(4, "little")


def decode_request(raw: bytes) -> tuple[bytes, int]:
    """Report data and VMPL from exactly `REQUEST_SIZE` bytes."""
    if len(raw) != REQUEST_SIZE:
        raise MalformedEvidenceError("device request", 0, f"is {len(raw)} bytes")
    return raw[:64], int.from_bytes(raw[64:], "little")


def encode_reply(reply: DeviceReply) -> bytes:
    header = _REPLY.pack(reply.status, len(reply.report), len(reply.table))
    return header + reply.report + reply.table


def decode_reply_header(raw: bytes) -> tuple[int, int, int]:
    """Status, report size and table size, within limits.

    Raises:
        MalformedEvidenceError: short, or a size beyond what the host may send.
    """
    if len(raw) != REPLY_HEADER_SIZE:
        raise MalformedEvidenceError("device reply", 0, f"header is {len(raw)} bytes")
    status, report_size, table_size = _REPLY.unpack(raw)
    if report_size > MAX_REPORT or table_size > MAX_TABLE:
        raise MalformedEvidenceError("device reply", 4, "report or table too large")
    return status, report_size, table_size
