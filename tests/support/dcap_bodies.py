"""Parsed quotes without signatures, for code that takes a quote as proven."""

from atoll.evidence.dcap.cert_data import CertificationData
from atoll.evidence.dcap.quote import Quote, QuoteHeader, QuoteTee
from atoll.evidence.dcap.reports import EnclaveReport, TdReport

_ENCLAVE = bytes(384)


def td(info: bytes, data: bytes) -> TdReport:
    """A TD report 1.0 with ATTRIBUTES to RTMR3 from `info`."""
    return TdReport.from_bytes(bytes(120) + info + data)


def enclave(data: bytes) -> EnclaveReport:
    """An SGX report with this REPORTDATA."""
    return EnclaveReport.from_bytes(_ENCLAVE[:320] + data)


def quote(body: TdReport | EnclaveReport) -> Quote:
    """A quote around it, as a function that proves quotes would return."""
    tdx = isinstance(body, TdReport)
    return Quote(
        header=QuoteHeader(
            version=4,
            att_key_type=2,
            tee=QuoteTee.TDX if tdx else QuoteTee.SGX,
            qe_svn=0,
            pce_svn=0,
            qe_vendor_id=bytes(16),
            user_data=bytes(20),
        ),
        body_type=2 if tdx else 1,
        body=body,
        signed_bytes=b"",
        signature=bytes(64),
        attestation_key=bytes(64),
        qe_report=EnclaveReport.from_bytes(_ENCLAVE),
        qe_report_bytes=_ENCLAVE,
        qe_report_signature=bytes(64),
        qe_auth_data=b"",
        certification=CertificationData(
            type=5, chain=(), encrypted_ppid=None, cpu_svn=None, pce_svn=None, pce_id=None
        ),
    )
