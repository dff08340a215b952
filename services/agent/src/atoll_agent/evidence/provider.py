"""What every provider of evidence does, and what a quote is checked for before it leaves."""

from dataclasses import dataclass, field
from typing import Final, Protocol

from atoll.errors import EvidenceError, MalformedEvidenceError
from atoll.evidence.cert_table import CertificateTable
from atoll.evidence.dcap.quote import Quote
from atoll.evidence.dcap.reports import TdReport
from atoll.evidence.document import MAX_REPORT
from atoll.evidence.document import Tee as EvidenceTee
from atoll.evidence.snp import REPORT_SIZE
from atoll.measure.launch_settings import HOST_DATA_SIZE, LaunchSettings

REPORT_DATA_SIZE: Final = 64

_SNP_REPORT_DATA: Final = 0x50
_SNP_HOST_DATA: Final = 0xC0
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


def require_settings(tee: EvidenceTee, report: bytes, settings: LaunchSettings) -> None:
    """Return if the launch was made for these settings.

    Args:
        tee: SEV-SNP or TDX.
        report: what a provider of it gave.
        settings: the digests of those that this guest was given.

    Raises:
        EvidenceError: `evidence.settings`: for others, or for none; or it is not a quote.
    """
    if tee is EvidenceTee.SNP:
        name, wanted = "SEV-SNP HOST_DATA", settings.host_data
        found = report[_SNP_HOST_DATA : _SNP_HOST_DATA + HOST_DATA_SIZE]
    else:
        name, wanted = "TDX MRCONFIGID", settings.mr_config_id
        body = Quote.from_bytes(report).body
        found = body.mr_config_id if isinstance(body, TdReport) else b""
    if found != wanted:
        raise EvidenceError(
            f"{name} is {found.hex() or 'not there'}, and the settings that this guest was given "
            f"hash to {wanted.hex()}",
            code="evidence.settings",
            hint="whoever launches the guest puts the digest of its settings there (docs/image.md)",
        )


class SettingsBound:
    """A provider of SEV-SNP reports or TDX quotes that gives none but those of a launch that was
    made for the settings which this guest was given."""

    def __init__(self, provider: Provider, settings: LaunchSettings) -> None:
        self._provider = provider
        self._settings = settings

    @property
    def tee(self) -> EvidenceTee:
        return self._provider.tee

    async def quote(self, report_data: bytes) -> Quoted:
        """As that provider's.

        Raises:
            EvidenceError: its errors, and `evidence.settings`.
            UnreachableError: its errors.
        """
        quoted = await self._provider.quote(report_data)
        require_settings(self.tee, quoted.report, self._settings)
        return quoted


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
