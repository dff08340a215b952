"""Bring the kinds that answer with a verdict and a reason into the form of the API.

| kind                          | evidence              | files                               |
| keystone_report               | report                |                                     |
| ccel, rtmr_json_log           | event log             | quote                               |
| tpm_quote                     | TPMS_ATTEST           | ak_public, tpm_signature, tpm_pcrs  |
| azure_hcl_snp                 | HCL report            | certs, crls, tpm_message and the    |
|                               |                       | last two above                      |
| azure_hcl_tdx                 | HCL report            | quote, the same three, collateral   |
| ratls_cert                    | certificate           | collateral                          |

Collateral is that of `judge_dcap`, all of it or none: the published cases have none.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, Protocol

from atoll.errors import EvidenceError, InputError
from atoll.evidence.comparisons import finding
from atoll.evidence.dcap.judge import COLLATERAL
from atoll.evidence.eventlog.ccel import EventLog
from atoll.evidence.eventlog.judge import judge_ccel, judge_rtmr_json_log
from atoll.evidence.eventlog.registers import COUNT
from atoll.evidence.eventlog.rtmr_json import RtmrLog
from atoll.evidence.flat import flat
from atoll.evidence.judge_dcap import intel_roots, side_file
from atoll.evidence.judge_snp import amd_trust
from atoll.evidence.judged import Files, Judged, flag
from atoll.evidence.judgement import Judgement, Request, Roots
from atoll.evidence.keystone.judge import judge_keystone_report
from atoll.evidence.keystone.report import KeystoneReport
from atoll.evidence.keystone.verify import DEVELOPMENT_DEVICE_KEY
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
    """A judge that stands on no certificates.

    It refuses files with other roles and roots of the caller's, which it would not use.
    """

    def judge(request: Request) -> Judgement:
        request.only(*roles)
        if request.roots != Roots():
            raise InputError(f"{request.kind} takes no roots", code="trust.root")
        return _judgement(request, prefix, function(**_inputs(request)), parse)

    return judge


def judge_azure_snp(request: Request) -> Judgement:
    """An SNP VM of Azure's under AMD's roots, or the caller's."""
    request.only("certs", "crls", *_TPM)
    result = judge_azure_hcl_snp(**_inputs(request), trust=amd_trust(request.roots))
    return _judgement(request, "azure", result, hcl_fields)


def judge_azure_tdx(request: Request) -> Judgement:
    """A TDX VM of Azure's under Intel's root, or the caller's."""
    request.only("quote", *_TPM, *COLLATERAL)
    result = judge_azure_hcl_tdx(**_inputs(request), roots=intel_roots(request))
    return _judgement(request, "azure", result, hcl_fields)


def judge_ratls(request: Request) -> Judgement:
    """An RA-TLS certificate with a quote under Intel's root, or the caller's."""
    request.only(*COLLATERAL)
    result = judge_ratls_cert(**_inputs(request), roots=intel_roots(request))
    return _judgement(request, "ratls", result, ratls_fields)


def _inputs(request: Request) -> dict[str, Any]:
    chains = {role: side_file(request, role) for role in COLLATERAL if request.some(role)}
    return {
        "evidence": request.evidence,
        "files": {**request.files_by_role(), **chains},
        "params": request.params,
        "policy": request.policy,
        "verify_time": request.now,
    }


def _judgement(request: Request, prefix: str, result: Judged, parse: Parse) -> Judgement:
    passed = finding(f"{prefix}.verified", request.kind, "verified", "verified", passed=True)
    if result.findings:
        checks = (passed, *result.findings)
        claims = parse(request.evidence)
        return Judgement.of(request, checks, claims=claims, simulated=result.simulated)
    if result.verdict == "invalid":
        reason = result.reason.removeprefix(f"{prefix}.")[:_MAX_REASON]
        failed = finding(f"{prefix}.{reason}", request.kind, "holds", reason.replace("_", " "))
        return Judgement.of(request, (failed,))
    claims = parse(request.evidence)
    if result.verdict == "parse-only":
        read = finding(f"{prefix}.parse", request.kind, "parses", "parses", passed=True)
        return Judgement.parsed(request, read, claims)
    return Judgement.of(request, (passed,), claims=claims, simulated=result.simulated)


def judge_keystone(request: Request) -> Judgement:
    """A Keystone report under the device key that the policy or the roots name.

    There is no vendor whose key could be pinned, so without one nothing is believed. The
    published development key counts only if the policy names it, as `device_public_key`, or
    says `allow_development_key`: a file that came with the source code is no decision.
    """
    request.only()
    roots = request.roots.certificates
    policy = dict(request.policy)
    allowed = flag(policy, "allow_development_key") is True
    policy.pop("allow_development_key", None)
    if "device_public_key" not in policy:
        if len(roots) != 1:
            actual = f"{len(roots)} are configured"
            return _no_device_key(request, "keystone.root", "one trusted device key", actual)
        if roots[0] == DEVELOPMENT_DEVICE_KEY and not allowed:
            expected = "a device's own key, or policy's allow_development_key"
            actual = "the published development key, with which anybody can sign"
            return _no_device_key(request, "keystone.development_key", expected, actual)
        policy["device_public_key"] = roots[0].hex()
    inputs = {**_inputs(request), "policy": policy}
    return _judgement(request, "keystone", judge_keystone_report(**inputs), keystone_fields)


def _no_device_key(request: Request, name: str, expected: str, actual: str) -> Judgement:
    return Judgement.of(request, (finding(name, "device_public_key", expected, actual),))


JUDGES: Final[Mapping[str, Callable[[Request], Judgement]]] = {
    "keystone_report": judge_keystone,
    "ccel": adapted("ccel", judge_ccel, ccel_fields, "quote"),
    "rtmr_json_log": adapted("rtmr_json", judge_rtmr_json_log, rtmr_json_fields, "quote"),
    "tpm_quote": adapted("tpm", judge_tpm_quote, tpm_fields, "ak_public", *_TPM[1:]),
    "azure_hcl_snp": judge_azure_snp,
    "azure_hcl_tdx": judge_azure_tdx,
    "ratls_cert": judge_ratls,
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
