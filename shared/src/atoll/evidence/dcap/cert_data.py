"""Certification data: who vouches for the QE report (Intel SGX ECDSA QuoteLibReference, A.4).

u16 type, u32 size, data:

| type | data                                                                       |
| 1    | PPID in plain text, CPUSVN, PCESVN, PCEID: not supported, proves nothing   |
| 2, 3 | PPID under RSA-2048 or RSA-3072 (256, 384), CPUSVN 16, PCESVN 2, PCEID 2   |
| 4    | PCK certificate alone: not supported                                       |
| 5    | PCK certificate chain, PEM, leaf first, often ended by NUL                 |
| 6    | QE report certification data, in quotes of version 4 and 5 around the rest |
| 7    | platform manifest: not supported                                           |

With types 2 and 3 the PCK chain comes beside the quote, like collateral.
"""

from dataclasses import dataclass, field
from typing import Final, Self

from atoll.errors import UnsupportedEvidenceError
from atoll.evidence._cursor import Cursor
from atoll.evidence.x509 import ders

MAX_CERTIFICATION: Final = 16 << 10

PPID_RSA_2048: Final = 2
PPID_RSA_3072: Final = 3
PCK_CHAIN: Final = 5
QE_REPORT: Final = 6

_PPID_SIZES: Final = {PPID_RSA_2048: 256, PPID_RSA_3072: 384}


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificationData:
    """Either a chain of DER certificates (type 5), or what to look one up by (2, 3)."""

    type: int
    chain: tuple[bytes, ...] = field(repr=False)
    encrypted_ppid: bytes | None = field(repr=False)
    cpu_svn: bytes | None
    pce_svn: int | None
    pce_id: bytes | None

    @classmethod
    def read(cls, cursor: Cursor) -> Self:
        """Read the inner certification data.

        Raises:
            MalformedEvidenceError: cut, oversized, or not what its type says.
            UnsupportedEvidenceError: `evidence.quote_certification`: another type.
        """
        kind, size = cursor.uint(2), cursor.uint(4)
        if size > MAX_CERTIFICATION:
            raise cursor.fail(f"claims {size} bytes of certification data")
        data = cursor.nested(size, structure=f"certification data of type {kind}")
        if kind == PCK_CHAIN:
            pem = data.octets(size)
            if not pem.startswith(b"-----"):
                raise data.fail("is not PEM text")
            return cls(
                type=kind,
                chain=ders(pem),
                encrypted_ppid=None,
                cpu_svn=None,
                pce_svn=None,
                pce_id=None,
            )
        if kind not in _PPID_SIZES:
            raise UnsupportedEvidenceError(
                f"certification data of type {kind}, want 2, 3 or 5",
                code="evidence.quote_certification",
            )
        result = cls(
            type=kind,
            chain=(),
            encrypted_ppid=data.octets(_PPID_SIZES[kind]),
            cpu_svn=data.octets(16),
            pce_svn=data.uint(2),
            pce_id=data.octets(2),
        )
        data.finish()
        return result


def qe_certification(cursor: Cursor) -> Cursor:
    """Open the outer certification data of a version 4 or 5 quote, which must be all that follows.

    Raises:
        MalformedEvidenceError: not type 6, or a size that leaves something over.
    """
    kind, size = cursor.uint(2), cursor.uint(4)
    if kind != QE_REPORT:
        raise cursor.fail(f"outer certification data has type {kind}, want 6")
    inner = cursor.nested(size, structure="QE certification data")
    cursor.finish()
    return inner


def chain_of(raw: bytes) -> tuple[bytes, ...]:
    """DER certificates of a chain that came beside the quote, PEM, leaf first.

    Raises:
        MalformedEvidenceError: not PEM with 1 to 8 certificates, or too large.
    """
    if len(raw) > MAX_CERTIFICATION or not raw.startswith(b"-----"):
        raise Cursor(raw, structure="PCK chain").fail(
            f"is not PEM text of at most {MAX_CERTIFICATION} bytes"
        )
    return ders(raw)
