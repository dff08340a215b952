"""Messages of Intel's quote generation service. Pure.

intel/SGXDataCenterAttestationPrimitives, QuoteGeneration/quote_wrapper/qgs_msg_lib, version 1.1
(`inc/qgs_msg_lib.h`). Little endian; on a stream each message has its size before it, in 4 bytes,
big endian.

| header   | 00 major u16 | 02 minor u16 | 04 type u32 | 08 size u32 | 0c error u32 | size 10     |
| request  | header, type 0 | 10 report_size u32 | 14 id_list_size u32 | 18 report, then the ids |
| response | header, type 1 | 10 id_size u32     | 14 quote_size u32   | 18 id, then the quote   |

`size` counts the whole message. An error response may end after the header. Another minor version
is compatible. The service runs on the host: nothing it says is believed but what a quote proves.
"""

import struct
from typing import Final

from atoll.errors import EvidenceError, MalformedEvidenceError

FRAME: Final = struct.Struct(">I")
HEADER: Final = struct.Struct("<HHIII")
SIZES: Final = struct.Struct("<II")
MAJOR: Final = 1
MINOR: Final = 1
GET_QUOTE_REQ: Final = 0
GET_QUOTE_RESP: Final = 1
TD_REPORT_SIZE: Final = 1024
MAX_MESSAGE: Final = 16 << 10
"""As large as the buffer of Intel's own library."""

_STRUCTURE: Final = "QGS response"


def encode_request(td_report: bytes) -> bytes:
    """A framed request for a quote over a TDREPORT, by whichever attestation key there is."""
    size = HEADER.size + SIZES.size + len(td_report)
    header = HEADER.pack(MAJOR, MINOR, GET_QUOTE_REQ, size, 0)
    return FRAME.pack(size) + header + SIZES.pack(len(td_report), 0) + td_report


def decode_frame(raw: bytes) -> int:
    """How many bytes the message after this frame has.

    Raises:
        MalformedEvidenceError: over `MAX_MESSAGE`, or less than a header.
    """
    size: int = FRAME.unpack(raw)[0]
    if not HEADER.size <= size <= MAX_MESSAGE:
        raise MalformedEvidenceError(
            _STRUCTURE, 0, f"is {size} bytes, want {HEADER.size} to {MAX_MESSAGE}"
        )
    return size


def decode_response(raw: bytes) -> bytes:
    """The quote in a response without its frame.

    Raises:
        MalformedEvidenceError: it is no response, or its sizes do not add up.
        EvidenceError: `qgs.refused`: the service gives an error.
    """
    if len(raw) < HEADER.size:
        raise MalformedEvidenceError(_STRUCTURE, 0, f"is {len(raw)} bytes")
    major, _, kind, size, error = HEADER.unpack_from(raw)
    if major != MAJOR:
        raise MalformedEvidenceError(_STRUCTURE, 0, f"has major version {major}, want {MAJOR}")
    if kind != GET_QUOTE_RESP:
        raise MalformedEvidenceError(_STRUCTURE, 4, f"has type {kind}, want {GET_QUOTE_RESP}")
    if size != len(raw):
        raise MalformedEvidenceError(_STRUCTURE, 8, f"says {size} bytes and has {len(raw)}")
    if error:
        raise EvidenceError(
            f"the quote generation service answered error 0x{error:x}", code="qgs.refused"
        )
    start = HEADER.size + SIZES.size
    if len(raw) < start:
        raise MalformedEvidenceError(_STRUCTURE, HEADER.size, "ends before its sizes")
    id_size, quote_size = SIZES.unpack_from(raw, HEADER.size)
    if start + id_size + quote_size != len(raw):
        raise MalformedEvidenceError(
            _STRUCTURE, HEADER.size, f"has {id_size} and {quote_size} bytes in {len(raw)}"
        )
    return raw[start + id_size :]
