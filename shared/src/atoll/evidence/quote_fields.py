"""Every field of a TDX or SGX quote by the specification's name, as text. Proves nothing.

Names are Intel's words in lower case (`mrtd`, `isvsvn`), those of the quoting enclave's
report with `qe_` in front, those of the PCK certificate with `pck_` or none. Bytes are
hexadecimal as they stand in the quote.
"""

from dataclasses import fields
from typing import Final

from atoll.errors import EvidenceError
from atoll.evidence.dcap.intel_chain import read_certificate
from atoll.evidence.dcap.pck import PckExtension
from atoll.evidence.dcap.quote import Quote
from atoll.evidence.dcap.reports import EnclaveReport, TdReport

_SPACED: Final = ("tee_tcb_svn", "tee_tcb_svn_2", "report_data")
"""Names in which Intel's word has underscores itself."""


def quote_fields(raw: bytes) -> dict[str, str]:
    """The fields of one quote.

    Raises:
        EvidenceError: it does not parse.
    """
    return fields_of(Quote.from_bytes(raw))


def fields_of(quote: Quote) -> dict[str, str]:
    """The fields of a parsed quote."""
    header = quote.header
    chain = quote.certification.chain
    return {
        "quote_version": str(header.version),
        "att_key_type": str(header.att_key_type),
        "tee": header.tee.value,
        "qe_vendor_id": header.qe_vendor_id.hex(),
        "user_data": header.user_data.hex(),
        "body_type": str(quote.body_type),
        **_report(quote.body),
        "signature": quote.signature.hex(),
        "attestation_key": quote.attestation_key.hex(),
        **{f"qe_{name}": value for name, value in _report(quote.qe_report).items()},
        "qe_report_signature": quote.qe_report_signature.hex(),
        "qe_auth_data": quote.qe_auth_data.hex(),
        "certification_data_type": str(quote.certification.type),
        **(_pck(chain[0]) if chain else {}),
    }


def _report(report: TdReport | EnclaveReport) -> dict[str, str]:
    result = {}
    for field in fields(report):
        name = field.name if field.name in _SPACED else field.name.replace("_", "")
        value = getattr(report, field.name)
        if field.name == "td_attributes":
            value = value.to_bytes(8, "little")
        if value is not None:
            result[name] = value.hex() if isinstance(value, bytes) else str(value)
    return result


def _pck(der: bytes) -> dict[str, str]:
    """What the PCK certificate says, or nothing if it cannot be read."""
    try:
        certificate = read_certificate(der)
        extension = PckExtension.of(certificate)
    except EvidenceError:
        return {}
    return {
        "fmspc": extension.fmspc.hex(),
        "pceid": extension.pce_id.hex(),
        "pcesvn": str(extension.pce_svn),
        "pck_cpusvn": extension.cpu_svn.hex(),
        "pck_serial": f"{certificate.serial:x}",
    }
