"""SGX and TDX quotes: versions 3, 4 and 5 (Intel TDX DCAP Quoting Library API, A.3 and A.4).

All integers little-endian. A quote is header, body, u32 length, signature data.

| off | size | header                                                              |
| 0   | 2    | version: 3 (SGX only), 4, 5                                         |
| 2   | 2    | attestation key type, 2 = ECDSA P-256; nothing else is supported    |
| 4   | 4    | TEE type: 0 SGX, 0x81 TDX; version 3: zero                          |
| 8   | 2    | QE SVN in version 3; reserved later, some name it QE SVN there too  |
| 10  | 2    | PCE SVN in version 3; likewise                                      |
| 12  | 16   | QE vendor id, Intel's                                               |
| 28  | 20   | user data                                                           |

Version 5 goes on with u16 body type and u32 body size; the body is at 54, else at 48.
Body types: 1 SGX enclave report (384), 2 TD report 1.0 (584), 3 TD report 1.5 (648).

The signature covers 0 to the end of the body. Signature data: signature 64, attestation
key 64 (both big-endian), then in version 3 the QE data, in versions 4 and 5 u16 = 6 and
u32 size before the QE data. QE data: QE report 384, its signature 64, u16 size and
authentication data, certification data (`cert_data`).

After the quote only zero bytes may follow: kernels hand out zero-padded buffers.
Implementations disagree there; one ignores whatever follows.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Self

from atoll.errors import UnsupportedEvidenceError
from atoll.evidence._cursor import Cursor
from atoll.evidence._fixed import FixedReader
from atoll.evidence.dcap.cert_data import CertificationData, qe_certification
from atoll.evidence.dcap.reports import (
    ENCLAVE_REPORT_SIZE,
    TD_REPORT_10_SIZE,
    TD_REPORT_15_SIZE,
    EnclaveReport,
    TdReport,
)

MAX_QUOTE: Final = 32 << 10
HEADER_SIZE: Final = 48
V3, V4, V5 = 3, 4, 5
ECDSA_P256: Final = 2
TEE_SGX: Final = 0
TEE_TDX: Final = 0x81
INTEL_QE_VENDOR: Final = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")

_SIGNATURE: Final = 64
_KEY: Final = 64
_BODY_SIZES: Final = {1: ENCLAVE_REPORT_SIZE, 2: TD_REPORT_10_SIZE, 3: TD_REPORT_15_SIZE}
_BODY_SGX, _BODY_TD_10 = 1, 2


class QuoteTee(Enum):
    """What the quote speaks of."""

    SGX = "sgx"
    TDX = "tdx"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteHeader:
    """The 48 bytes in front."""

    version: int
    att_key_type: int
    tee: QuoteTee
    qe_svn: int
    pce_svn: int
    qe_vendor_id: bytes
    user_data: bytes

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Parse and refuse what is not supported.

        Raises:
            MalformedEvidenceError: another size, or a version 3 header with a TEE type.
            UnsupportedEvidenceError: `evidence.quote_version`, `.quote_key_type`,
                `.quote_tee`, `.quote_vendor`.
        """
        reader = FixedReader(raw, structure="quote header", size=HEADER_SIZE)
        version = reader.uint(0, 2)
        key_type = reader.uint(2, 2)
        tee_type = reader.uint(4, 4)
        qe_svn, pce_svn = reader.uint(8, 2), reader.uint(10, 2)
        vendor = reader.octets(12, 16)
        user_data = reader.octets(28, 20)
        reader.finish()
        if version not in (V3, V4, V5):
            raise _unsupported("version", f"quote version {version}, want 3, 4 or 5")
        if version == V3 and tee_type != TEE_SGX:
            raise reader.fail(4, f"is 0x{tee_type:x} in a version 3 quote, want 0")
        if tee_type not in (TEE_SGX, TEE_TDX):
            raise _unsupported("tee", f"TEE type 0x{tee_type:x}, want 0 (SGX) or 0x81 (TDX)")
        if key_type != ECDSA_P256:
            raise _unsupported("key_type", f"attestation key type {key_type}, want 2 (P-256)")
        if vendor != INTEL_QE_VENDOR:
            raise _unsupported("vendor", f"QE vendor {vendor.hex()} is not Intel")
        return cls(
            version=version,
            att_key_type=key_type,
            tee=QuoteTee.SGX if tee_type == TEE_SGX else QuoteTee.TDX,
            qe_svn=qe_svn,
            pce_svn=pce_svn,
            qe_vendor_id=vendor,
            user_data=user_data,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """A parsed quote. Nothing in it is proven; `verify.verify_quote` does that."""

    header: QuoteHeader
    body_type: int
    body: TdReport | EnclaveReport
    signed_bytes: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    attestation_key: bytes = field(repr=False)
    qe_report: EnclaveReport = field(repr=False)
    qe_report_bytes: bytes = field(repr=False)
    qe_report_signature: bytes = field(repr=False)
    qe_auth_data: bytes = field(repr=False)
    certification: CertificationData = field(repr=False)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Parse a whole quote.

        Raises:
            MalformedEvidenceError: not a quote, cut, or followed by more than zeros.
            UnsupportedEvidenceError: a version, key type, TEE, vendor, body type or
                kind of certification data that is not supported.
        """
        if len(raw) > MAX_QUOTE:
            raise Cursor(b"", structure="quote").fail(f"is {len(raw)} bytes, at most {MAX_QUOTE}")
        cursor = Cursor(raw, structure="quote")
        header = QuoteHeader.from_bytes(cursor.octets(HEADER_SIZE))
        body_type, size = _body_kind(cursor, header)
        body_bytes = cursor.octets(size)
        signed_bytes = raw[: cursor.offset]
        body: TdReport | EnclaveReport
        if header.tee is QuoteTee.TDX:
            body = TdReport.from_bytes(body_bytes)
        else:
            body = EnclaveReport.from_bytes(body_bytes)
        data = cursor.nested(cursor.uint(4), structure="signature data")
        cursor.only_zeros()
        signature, key = data.octets(_SIGNATURE), data.octets(_KEY)
        qe_data = qe_certification(data) if header.version > V3 else data
        qe_bytes = qe_data.octets(ENCLAVE_REPORT_SIZE)
        qe_signature = qe_data.octets(_SIGNATURE)
        auth = qe_data.octets(qe_data.uint(2))
        certification = CertificationData.read(qe_data)
        qe_data.finish()
        return cls(
            header=header,
            body_type=body_type,
            body=body,
            signed_bytes=signed_bytes,
            signature=signature,
            attestation_key=key,
            qe_report=EnclaveReport.from_bytes(qe_bytes),
            qe_report_bytes=qe_bytes,
            qe_report_signature=qe_signature,
            qe_auth_data=auth,
            certification=certification,
        )

    @property
    def td_report(self) -> TdReport | None:
        """The body if it is a TD report."""
        return self.body if isinstance(self.body, TdReport) else None


def _body_kind(cursor: Cursor, header: QuoteHeader) -> tuple[int, int]:
    """(body type, size), from the descriptor or implied by the TEE type."""
    if header.version < V5:
        kind = _BODY_SGX if header.tee is QuoteTee.SGX else _BODY_TD_10
        return kind, _BODY_SIZES[kind]
    kind, size = cursor.uint(2), cursor.uint(4)
    if kind not in _BODY_SIZES:
        raise _unsupported("body", f"quote body type {kind}, want 1, 2 or 3")
    if size != _BODY_SIZES[kind]:
        raise cursor.fail(f"body of type {kind} is {size} bytes, want {_BODY_SIZES[kind]}")
    if (kind == _BODY_SGX) != (header.tee is QuoteTee.SGX):
        raise cursor.fail(f"body of type {kind} does not fit TEE type {header.tee.value}")
    return kind, size


def _unsupported(what: str, message: str) -> UnsupportedEvidenceError:
    return UnsupportedEvidenceError(message, code=f"evidence.quote_{what}")
