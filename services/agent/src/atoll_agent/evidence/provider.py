"""What every provider of evidence does, and what a quote is checked for before it leaves."""

from dataclasses import dataclass, field
from typing import Final, Protocol

from atoll.errors import EvidenceError, MalformedEvidenceError
from atoll.evidence.cert_table import CertificateTable
from atoll.evidence.dcap.quote import Quote
from atoll.evidence.document import MAX_REPORT
from atoll.evidence.document import Tee as EvidenceTee
from atoll.evidence.snp import REPORT_SIZE

REPORT_DATA_SIZE: Final = 64

_SNP_REPORT_DATA: Final = 0x50
_SNP: Final = "SEV-SNP report"
_TDX: Final = "TDX quote"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quoted:
    """What the hardware signed, and the certificates that came with it, DER or PEM."""

    report: bytes = field(repr=False)
    certs: tuple[bytes, ...] = field(default=(), repr=False)


class Provider(Protocol):
    """Where quotes come from."""

    @property
    def tee(self) -> EvidenceTee:
        """The kind of evidence that it makes."""

    async def quote(self, report_data: bytes) -> Quoted:
        """A quote over these 64 bytes.

        Raises:
            EvidenceError: it was refused, or the answer is malformed; asking again is no use.
            UnreachableError: who should answer is busy or gone; asking again may help.
        """


def snp_quoted(report: bytes, table: bytes, report_data: bytes) -> Quoted:
    """An SEV-SNP report and the certificate table beside it, which may be empty.

    Raises:
        EvidenceError: not a report's size, a malformed table, or `evidence.other_data`.
    """
    if len(report) != REPORT_SIZE:
        raise MalformedEvidenceError(_SNP, 0, f"is {len(report)} bytes, want {REPORT_SIZE}")
    end = _SNP_REPORT_DATA + REPORT_DATA_SIZE
    _require_over(_SNP, report[_SNP_REPORT_DATA:end], report_data)
    # The kernel gives zeros where the host had no certificates.
    certs = CertificateTable.from_bytes(table).certificates() if any(table) else ()
    return Quoted(report=report, certs=certs)


def tdx_quoted(quote: bytes, report_data: bytes) -> Quoted:
    """A TDX quote; it brings its certificates.

    Raises:
        EvidenceError: not a quote, or `evidence.other_data`.
    """
    if len(quote) > MAX_REPORT:
        raise MalformedEvidenceError(_TDX, 0, f"is {len(quote)} bytes, at most {MAX_REPORT}")
    _require_over(_TDX, Quote.from_bytes(quote).body.report_data, report_data)
    return Quoted(report=quote)


def require_report_data(report_data: bytes) -> None:
    """Return if these are 64 bytes. Raises: ValueError: it is our own mistake."""
    if len(report_data) != REPORT_DATA_SIZE:
        raise ValueError(f"report data is {len(report_data)} bytes, want {REPORT_DATA_SIZE}")


def _require_over(what: str, found: bytes, wanted: bytes) -> None:
    # Whoever appraises it checks this as well. Here it tells a mixed-up answer from a refused job.
    if found != wanted:
        raise EvidenceError(
            f"{what} is over other data than was asked for", code="evidence.other_data"
        )
