"""Judge the kinds of Intel TDX and SGX through `dcap.judge`, in the form of the API.

The roles of files are those of `dcap.judge`. Beside them, `tdx_quote` takes `event_log`,
a CCEL or JSON log: then all four RTMRs of the genuine quote must follow from it.
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from atoll.errors import EvidenceError, InputError
from atoll.evidence.comparisons import finding
from atoll.evidence.dcap import judge as dcap
from atoll.evidence.dcap.intel_chain import (
    PCK_CN,
    ROOT_CN,
    TCB_SIGNING_CN,
    IntelRoots,
    read_certificate,
)
from atoll.evidence.dcap.judge import COLLATERAL, Case, CaseResult, CaseVerdict, believed_roots
from atoll.evidence.eventlog.judge import judge_ccel, judge_rtmr_json_log
from atoll.evidence.findings import Finding
from atoll.evidence.flat import flat
from atoll.evidence.judgement import Judgement, Request
from atoll.evidence.quote_fields import quote_fields
from atoll.evidence.x509 import ders

_QUOTE_ROLES: Final = (*COLLATERAL, "pck_chain")
_ROLES: Final[Mapping[str, tuple[str, ...]]] = {
    "tdx_quote": (*_QUOTE_ROLES, "event_log"),
    "sgx_quote": _QUOTE_ROLES,
    "quote_crypto_only": ("pck_chain",),
    "quote_parse": (),
    "intel_pck_chain": ("chain", "root", "root_crl", "pck_crl"),
}
_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "tdx_quote": COLLATERAL,
    "sgx_quote": COLLATERAL,
    "intel_pck_chain": ("root", "root_crl", "pck_crl"),
}
_CHAINS: Final = ("tcb_chain", "qe_chain", "pck_chain")
_PREFIX: Final = {
    "tdx_quote": "tdx",
    "sgx_quote": "sgx",
    "quote_crypto_only": "quote",
    "quote_parse": "quote",
    "intel_pck_chain": "pck",
}


def pck_chain_fields(raw: bytes) -> dict[str, str]:
    """The fields of the certificates of a PCK chain.

    Raises:
        EvidenceError: one does not parse.
    """
    return flat([read_certificate(der) for der in ders(raw)])


def named_roots(request: Request) -> tuple[bytes | None, frozenset[bytes]]:
    """SHA-256 of the root key that stands in for Intel's, if any, and of those beside it.

    Raises:
        InputError: `trust.root`: several instead of one, or no certificate.
    """
    instead = sorted(request.roots.intel_spki_sha256 or ())
    if len(instead) > 1:
        raise InputError("want at most one root instead of Intel's", code="trust.root")
    beside = set(request.roots.intel_more_spki_sha256)
    for raw in request.roots.certificates:
        try:
            beside |= {sha256(read_certificate(der).spki).digest() for der in ders(raw)}
        except EvidenceError as error:
            raise InputError(
                f"root is no certificate: {error.message}", code="trust.root"
            ) from error
    return (instead[0] if instead else None), frozenset(beside)


def intel_roots(request: Request) -> IntelRoots:
    """The roots to believe for what Intel signs.

    Raises:
        InputError: `trust.root`, `case.invalid`: one is no certificate or no digest.
    """
    return believed_roots(*named_roots(request))


def side_file(request: Request, role: str) -> bytes:
    """The one file of a role; of a chain, all its certificates, leaf first.

    A chain that came beside the evidence may be DER or PEM, in any order, in several files:
    Intel's services, caches and people differ, and the names say where each belongs. What
    cannot be read stays as it is, so that the check it belongs to says why. A chain inside
    a quote is another matter: its order is part of the format.

    Raises:
        InputError: `judge.files`: there is none, or several of what is no chain.
    """
    if role not in _CHAINS:
        return request.one(role)
    try:
        found = {der: None for raw in request.some(role) for der in ders(raw)}
        names = {der: read_certificate(der).subject_cn for der in found}
    except EvidenceError:
        return request.one(role)
    order = {PCK_CN: 0, TCB_SIGNING_CN: 0, ROOT_CN: 2}
    return b"".join(_pem(der) for der in sorted(found, key=lambda der: order.get(names[der], 1)))


def _pem(der: bytes) -> bytes:
    text = base64.encodebytes(der)
    return b"-----BEGIN CERTIFICATE-----\n" + text + b"-----END CERTIFICATE-----\n"


def _judge(request: Request) -> Judgement:
    request.only(*_ROLES[request.kind])
    prefix = _PREFIX[request.kind]
    wanted = _NEEDED.get(request.kind, ())
    if missing := [role for role in wanted if not request.some(role)]:
        lacks = f"lacks {', '.join(missing)}"
        check = finding(f"{prefix}.collateral", request.kind, ", ".join(wanted), lacks)
        return Judgement.of(request, (check,))
    instead, beside = named_roots(request)
    case = Case(
        evidence=request.evidence,
        files={role: side_file(request, role) for role in request.files if role != "event_log"},
        policy=request.policy,
        now=request.moment(),
        trusted_root_spki=instead,
        more_root_spkis=beside,
    )
    result = dcap.JUDGES[request.kind](case)
    verified = result.verified
    if result.verdict is CaseVerdict.PARSE_ONLY:
        read = finding(f"{prefix}.parse", request.kind, "parses", "parses", passed=True)
        return Judgement.parsed(request, read, quote_fields(request.evidence))
    checks = (_authenticity(prefix, request.kind, result), *result.findings)
    if request.some("event_log") and verified is not None:
        checks += (_event_log(request),)
    valid = result.verdict is CaseVerdict.VALID
    return Judgement.of(
        request,
        checks,
        claims=_claims(request) if valid or verified else {},
        simulated=result.simulated,
        tcb_status=result.tcb_status.value if result.tcb_status else "",
    )


def _authenticity(prefix: str, kind: str, result: CaseResult) -> Finding:
    if result.verdict is CaseVerdict.VALID or result.verified is not None:
        return finding(f"{prefix}.verified", kind, "verified", "verified", passed=True)
    name = result.reason.removeprefix("evidence.")
    return finding(f"{prefix}.{name}", kind, "holds", name.replace("_", " "))


def _claims(request: Request) -> Mapping[str, str]:
    if request.kind == "intel_pck_chain":
        return pck_chain_fields(request.evidence)
    return quote_fields(request.evidence)


def _event_log(request: Request) -> Finding:
    raw = request.one("event_log")
    judge = judge_rtmr_json_log if raw.lstrip()[:1] in (b"[", b"{") else judge_ccel
    result = judge(
        raw,
        files={"quote": request.evidence},
        params={},
        policy={"match_rtmrs": [0, 1, 2, 3]},
        verify_time=request.now,
    )
    actual = result.reason.replace("_", " ") or "replays"
    passed = result.verdict == "valid"
    return finding("tdx.event_log", "RTMR0 to RTMR3", "replays", actual, passed=passed)


def _parse_only(request: Request) -> Judgement:
    # Parsing looks at no date, but `Case` has one.
    return _judge(replace(request, now=request.now or datetime.min.replace(tzinfo=UTC)))


JUDGES: Final[Mapping[str, Callable[[Request], Judgement]]] = {
    **dict.fromkeys(_ROLES, _judge),
    "quote_parse": _parse_only,
}
FIELDS: Final[Mapping[str, Callable[[bytes], Mapping[str, str]]]] = {
    "tdx_quote": quote_fields,
    "sgx_quote": quote_fields,
    "quote_crypto_only": quote_fields,
    "quote_parse": quote_fields,
    "intel_pck_chain": pck_chain_fields,
}
