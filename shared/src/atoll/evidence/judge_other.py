"""Bring the kinds that answer with a verdict and a reason into the form of the API.

| kind                          | evidence              | files                               |
| keystone_report               | report                |                                     |
| ccel, rtmr_json_log           | event log             | quote                               |
| tpm_quote                     | TPMS_ATTEST           | ak_public, tpm_signature, tpm_pcrs  |
| azure_hcl_snp                 | HCL report            | certs and the last two above        |
| azure_hcl_tdx                 | HCL report            | quote and the last two above        |
| ratls_cert                    | certificate           |                                     |
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, Protocol

from atoll.errors import EvidenceError, InputError
from atoll.evidence.comparisons import finding
from atoll.evidence.eventlog.ccel import EventLog
from atoll.evidence.eventlog.judge import judge_ccel, judge_rtmr_json_log
from atoll.evidence.eventlog.registers import COUNT
from atoll.evidence.eventlog.rtmr_json import RtmrLog
from atoll.evidence.flat import flat
from atoll.evidence.judged import Files, Judged
from atoll.evidence.judgement import Judgement, Request, Roots
from atoll.evidence.keystone.judge import judge_keystone_report
from atoll.evidence.keystone.report import KeystoneReport
from atoll.evidence.quote_fields import fields_of
from atoll.evidence.ratls import read_ratls
from atoll.evidence.ratls_judge import judge_ratls_cert
from atoll.evidence.snp_fields import snp_fields
from atoll.evidence.tpm.hcl import HardwareKind, HclReport
from atoll.evidence.tpm.judge import judge_azure_hcl_snp, judge_azure_hcl_tdx, judge_tpm_quote
from atoll.evidence.tpm.quote import Attest
from atoll.evidence.tpm.td_report import TdReport

Parse = Callable[[bytes], Mapping[str, str]]

_MAX_REASON: Final = 48
_TPM: Final = ("tpm_message", "tpm_signature", "tpm_pcrs")


class JudgeFunction(Protocol):
    """What each of these kinds offers."""

    def __call__(
        self,
        evidence: bytes,
        *,
        files: Files,
        params: Mapping[str, Any],
        policy: Mapping[str, Any],
        verify_time: datetime | None,
    ) -> Judged: ...


def keystone_fields(raw: bytes) -> dict[str, str]:
    """The fields of a Keystone report."""
    report = KeystoneReport.from_bytes(raw)
    return {
        "enclave_hash": report.enclave_hash.hex(),
        "data_len": str(len(report.data)),
        "data": report.data.hex(),
        "enclave_signature": report.enclave_signature.hex(),
        "sm_hash": report.sm_hash.hex(),
        "sm_public_key": report.sm_public_key.hex(),
        "sm_signature": report.sm_signature.hex(),
        "dev_public_key": report.device_public_key.hex(),
    }


def ccel_fields(raw: bytes) -> dict[str, str]:
    """The events of a CCEL."""
    log = EventLog.from_bytes(raw)
    replayed = {f"rtmr{number}": value.hex() for number, value in enumerate(log.replay())}
    return {**replayed, **flat(log)}


def rtmr_json_fields(raw: bytes) -> dict[str, str]:
    """The events of a JSON log."""
    log = RtmrLog.from_bytes(raw)
    replayed = {}
    for number in range(COUNT):
        with suppress(EvidenceError):  # a register of which the log is not complete
            replayed[f"rtmr{number}"] = log.replay(number).hex()
    return {**replayed, **flat(log)}


def tpm_fields(raw: bytes) -> dict[str, str]:
    """The fields of a TPM quote."""
    return flat(Attest.from_bytes(raw))


def hcl_fields(raw: bytes) -> dict[str, str]:
    """The fields of an Azure HCL report."""
    report = HclReport.from_bytes(raw)
    fields = {
        "hardware_report_kind": str(report.kind.value),
        "hash_name": report.hash_name,
        "runtime_data": report.runtime_data.hex(),
    }
    if report.kind is HardwareKind.SNP:
        return {**snp_fields(report.hardware_report), **fields}
    return {**flat(TdReport.from_bytes(report.hardware_report)), **fields}


def ratls_fields(raw: bytes) -> dict[str, str]:
    """The fields of an RA-TLS certificate, its claims and its quote."""
    certificate, quote, claims = read_ratls(raw)
    named = {str(name): value for name, value in claims.items()}
    return {**fields_of(quote), **flat({"certificate": certificate, "claims": named})}


def adapted(
    prefix: str, function: JudgeFunction, parse: Parse, *roles: str
) -> Callable[[Request], Judgement]:
    """A judge whose one check is `<prefix>.<reason>`, or `<prefix>.verified`.

    It refuses files with other roles and roots of the caller's, which it would not use.
    """

    def judge(request: Request) -> Judgement:
        request.only(*roles)
        if request.roots != Roots():
            raise InputError(f"{request.kind} takes no roots", code="trust.root")
        result = function(
            request.evidence,
            files=request.files_by_role(),
            params=request.params,
            policy=request.policy,
            verify_time=request.now,
        )
        return _judgement(request, prefix, result, parse)

    return judge


def _judgement(request: Request, prefix: str, result: Judged, parse: Parse) -> Judgement:
    if result.verdict == "invalid":
        reason = result.reason.removeprefix(f"{prefix}.")[:_MAX_REASON]
        failed = finding(f"{prefix}.{reason}", request.kind, "holds", reason.replace("_", " "))
        return Judgement.of(request, (failed,))
    claims = parse(request.evidence)
    if result.verdict == "parse-only":
        read = finding(f"{prefix}.parse", request.kind, "parses", "parses", passed=True)
        return Judgement.parsed(request, read, claims)
    passed = finding(f"{prefix}.verified", request.kind, "verified", "verified", passed=True)
    return Judgement.of(request, (passed,), claims=claims)


def judge_keystone(request: Request) -> Judgement:
    """A Keystone report under the device key that the policy or the roots name.

    There is no vendor whose key could be pinned, so without one nothing is believed.
    """
    request.only()
    roots = request.roots.certificates
    if "device_public_key" not in request.policy and len(roots) != 1:
        expected, actual = "one trusted device key", f"{len(roots)} are configured"
        check = finding("keystone.root", "device_public_key", expected, actual)
        return Judgement.of(request, (check,))
    policy = {"device_public_key": roots[0].hex() if roots else "", **request.policy}
    result = judge_keystone_report(
        request.evidence,
        files=request.files_by_role(),
        params=request.params,
        policy=policy,
        verify_time=request.now,
    )
    return _judgement(request, "keystone", result, keystone_fields)


JUDGES: Final[Mapping[str, Callable[[Request], Judgement]]] = {
    "keystone_report": judge_keystone,
    "ccel": adapted("ccel", judge_ccel, ccel_fields, "quote"),
    "rtmr_json_log": adapted("rtmr_json", judge_rtmr_json_log, rtmr_json_fields, "quote"),
    "tpm_quote": adapted("tpm", judge_tpm_quote, tpm_fields, "ak_public", *_TPM[1:]),
    "azure_hcl_snp": adapted("azure", judge_azure_hcl_snp, hcl_fields, "certs", *_TPM),
    "azure_hcl_tdx": adapted("azure", judge_azure_hcl_tdx, hcl_fields, "quote", *_TPM),
    "ratls_cert": adapted("ratls", judge_ratls_cert, ratls_fields),
}

FIELDS: Final[Mapping[str, Parse]] = {
    "keystone_report": keystone_fields,
    "ccel": ccel_fields,
    "rtmr_json_log": rtmr_json_fields,
    "tpm_quote": tpm_fields,
    "azure_hcl_snp": hcl_fields,
    "azure_hcl_tdx": hcl_fields,
    "ratls_cert": ratls_fields,
}
