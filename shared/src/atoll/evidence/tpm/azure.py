"""Azure's confidential VMs: hardware evidence for a virtual TPM, and the TPM's quote.

The hardware report commits to the HCL runtime data, in which the attestation key stands; that
key signed a TPM quote over the nonce and the boot registers. The hardware report is made at
boot and knows no nonce: freshness is the TPM quote's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from atoll.errors import RejectedEvidenceError, UnsupportedEvidenceError
from atoll.evidence.chain import verify_chain
from atoll.evidence.dcap.quote import Quote
from atoll.evidence.dcap.reports import TdReport as QuotedTd
from atoll.evidence.policy_forms import Unchecked
from atoll.evidence.snp import AttestationReport
from atoll.evidence.tpm import pcrs
from atoll.evidence.tpm.hcl import HardwareKind, HclReport
from atoll.evidence.tpm.pcrs import Registers
from atoll.evidence.tpm.quote import VerifiedTpmQuote, check_nonce, verify_tpm_quote
from atoll.evidence.tpm.td_report import TdReport
from atoll.evidence.trust import TrustStore
from atoll.evidence.verify import VerifiedReport, verify_report

ProveQuote = Callable[[bytes], Quote]
"""Verifies a quote as the relying party wants it, and gives it back parsed.

Raises `EvidenceError` otherwise.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TpmEvidence:
    """What the virtual TPM said. `pcrs` is the JSON of the register values, if there is one."""

    message: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    pcrs: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedTpm:
    """A quote by the attestation key that the hardware report commits to.

    `registers` has the proven values by bank and number; it is empty if none were given.
    """

    quote: VerifiedTpmQuote
    registers: Registers
    runtime_data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedAzureSnp:
    """An SNP VM with its virtual TPM; what either says is policy's affair."""

    report: VerifiedReport
    tpm: VerifiedTpm


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedAzureTdx:
    """A TDX VM with its virtual TPM; what either says is policy's affair."""

    quote: Quote
    td: QuotedTd
    """The body of the quote."""
    tpm: VerifiedTpm


def verify_azure_snp(
    hcl: bytes,
    tpm: TpmEvidence,
    certs: Sequence[bytes],
    trust: TrustStore,
    *,
    nonce: bytes | Unchecked,
    now: datetime,
    crls: Sequence[bytes] = (),
) -> VerifiedAzureSnp:
    """Verify an HCL report with an SNP report in it, and the TPM quote.

    1. Parse the HCL report and the SNP report.
    2. REPORT_DATA commits to the runtime data.
    3. The report is genuine (`chain.verify_chain`, `verify.verify_report`).
    4. The TPM quote is (see `_verify_tpm`).

    Raises:
        MalformedEvidenceError, UnsupportedEvidenceError: something does not parse.
        RejectedEvidenceError: any step; `code` names the check.
    """
    # 1
    parsed = _parse(hcl, HardwareKind.SNP)
    report = AttestationReport.from_bytes(parsed.hardware_report)
    # 2
    parsed.check_binding(report.body.report_data)
    # 3
    verified = verify_report(report, verify_chain(certs, trust, now=now, crls=crls), now=now)
    # 4
    return VerifiedAzureSnp(report=verified, tpm=_verify_tpm(parsed, tpm, nonce))


def verify_azure_tdx(
    hcl: bytes, tpm: TpmEvidence, quote: bytes, prove: ProveQuote, *, nonce: bytes | Unchecked
) -> VerifiedAzureTdx:
    """Verify an HCL report with a TDREPORT in it, the TD quote made from it, and the TPM quote.

    1. Parse the HCL report and the TDREPORT.
    2. REPORTDATA commits to the runtime data.
    3. `prove` accepts the TD quote; at what time and with what collateral is its affair.
    4. The quote is of the same TD: REPORTDATA, and ATTRIBUTES to RTMR3 are the TDREPORT's.
    5. The TPM quote is (see `_verify_tpm`).

    Raises:
        MalformedEvidenceError, UnsupportedEvidenceError: something does not parse.
        RejectedEvidenceError: any step; `code` names the check.
    """
    # 1
    parsed = _parse(hcl, HardwareKind.TDX)
    report = TdReport.from_bytes(parsed.hardware_report)
    # 2
    parsed.check_binding(report.report_data)
    # 3
    proven = prove(quote)
    # 4
    body = proven.td_report
    if body is None or body.report_data != report.report_data or _td_info(body) != report.td_info:
        raise RejectedEvidenceError(
            "TD quote is not of the TD that the HCL report is of",
            code="evidence.td_quote_mismatch",
        )
    # 5
    return VerifiedAzureTdx(quote=proven, td=body, tpm=_verify_tpm(parsed, tpm, nonce))


def _parse(raw: bytes, kind: HardwareKind) -> HclReport:
    parsed = HclReport.from_bytes(raw)
    if parsed.kind is not kind:
        raise UnsupportedEvidenceError(
            f"HCL report is of {parsed.kind.name}, want {kind.name}", code="evidence.hcl_kind"
        )
    return parsed


def _verify_tpm(hcl: HclReport, tpm: TpmEvidence, nonce: bytes | Unchecked) -> VerifiedTpm:
    """1. The key of the runtime data signed a quote. 2. It answers the nonce, unless that is
    UNCHECKED. 3. The register values, if there are any, are those that it has a digest of."""
    # 1
    quote = verify_tpm_quote(tpm.message, tpm.signature, hcl.attestation_key())
    # 2
    if not isinstance(nonce, Unchecked):
        check_nonce(quote, nonce)
    # 3
    registers: Registers = {}
    if tpm.pcrs is not None:
        registers = pcrs.check(quote, pcrs.parse(tpm.pcrs))
    return VerifiedTpm(quote=quote, registers=registers, runtime_data=hcl.runtime_data)


def _td_info(body: QuotedTd) -> bytes:
    return b"".join(
        (
            body.td_attributes.to_bytes(8, "little"),
            body.xfam,
            body.mr_td,
            body.mr_config_id,
            body.mr_owner,
            body.mr_owner_config,
            body.rtmr0,
            body.rtmr1,
            body.rtmr2,
            body.rtmr3,
        )
    )
