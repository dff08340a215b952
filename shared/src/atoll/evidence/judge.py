"""The verification API: one function for every kind of evidence, one form of answer.

Kinds have the names of the published vectors; `ALIASES` are shorter ones. `judge` takes
bytes and a moment and gives a `Judgement`. It raises only for what the caller has to
put right: an unknown kind, a policy or parameters that cannot be meant, files that are
missing or that the kind would not look at. Whatever the evidence and the files that
came with it hold becomes a failed check.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from atoll.errors import AtollError, InputError
from atoll.evidence import judge_dcap, judge_other, judge_snp
from atoll.evidence.cert_table import CertificateTable
from atoll.evidence.flat import flat
from atoll.evidence.judgement import Judgement, Request, Roots
from atoll.evidence.snp import REPORT_SIZE
from atoll.evidence.snp_fields import snp_fields
from atoll.evidence.x509 import Certificate, ders
from atoll.measure.ovmf import Firmware

UNSUPPORTED: Final = "unsupported"
"""What a row says of a case that this build cannot judge."""

ALIASES: Final = {"snp": "snp_report", "tdx": "tdx_quote", "keystone": "keystone_report"}

JUDGES: Final[Mapping[str, Callable[[Request], Judgement]]] = {
    "snp_report": judge_snp.judge_report,
    "snp_extended_report": judge_snp.judge_extended_report,
    "snp_parse": judge_snp.judge_parse,
    "snp_cert_chain": judge_snp.judge_cert_chain,
    "snp_crl": judge_snp.judge_crl,
    "snp_id_block": judge_snp.judge_id_block,
    "snp_launch_digest": judge_snp.judge_launch_digest,
    **judge_dcap.JUDGES,
    **judge_other.JUDGES,
}


def _extended_fields(raw: bytes) -> dict[str, str]:
    table = CertificateTable.from_bytes(raw[REPORT_SIZE:])
    entries = {f"cert_table.{guid}": blob.hex() for guid, blob in table.entries}
    return snp_fields(raw[:REPORT_SIZE]) | entries


def _certificate_fields(raw: bytes) -> dict[str, str]:
    return flat([Certificate.from_bytes(der) for der in ders(raw)])


def _firmware_fields(raw: bytes) -> dict[str, str]:
    return flat(Firmware.from_bytes(raw))


FIELDS: Final[Mapping[str, Callable[[bytes], Mapping[str, str]]]] = {
    "snp_report": snp_fields,
    "snp_extended_report": _extended_fields,
    "snp_parse": snp_fields,
    "snp_cert_chain": _certificate_fields,
    "snp_crl": judge_snp.crl_fields,
    "snp_id_block": judge_snp.id_block_fields,
    "snp_launch_digest": _firmware_fields,
    **judge_dcap.FIELDS,
    **judge_other.FIELDS,
}


def judge(
    kind: str,
    evidence: bytes,
    *,
    files: Mapping[str, Sequence[bytes]] | None = None,
    params: Mapping[str, Any] | None = None,
    policy: Mapping[str, Any] | None = None,
    product: str | None = None,
    now: datetime | None = None,
    roots: Roots | None = None,
) -> Judgement:
    """Judge one piece of evidence.

    Args:
        kind: one of `JUDGES` or `ALIASES`.
        evidence: any bytes.
        files: what goes with it, by role; see the tables of `judge_snp` and the others.
        params: how a guest is launched, for `snp_launch_digest`.
        policy: requirements or a whole policy; see `judgement`.
        product: the product line that it must be of. A name that is none is a label.
        now: when to judge; kinds with certificates need it.
        roots: what is believed beside or instead of the pinned roots.

    Raises:
        InputError: `judge.kind`, `judge.files`, `judge.params`, `judge.time`, `policy.invalid`,
            `trust.root`, `measure.*`, `input.*`: the request cannot be meant.
    """
    request = Request(
        kind=kind_of(kind),
        evidence=evidence,
        files={role: tuple(some) for role, some in (files or {}).items() if some},
        params=params or {},
        policy=policy or {},
        product=product,
        now=now,
        roots=roots or Roots(),
    )
    if request.params and request.kind != "snp_launch_digest":
        raise InputError(f"{request.kind} takes no parameters", code="judge.params")
    return JUDGES[request.kind](request)


def parse(kind: str, evidence: bytes) -> dict[str, str]:
    """Every field by the specification's name, as text. Proves nothing.

    Raises:
        InputError: `judge.kind`, or `measure.firmware`.
        EvidenceError: the evidence does not parse.
    """
    return dict(FIELDS[kind_of(kind)](evidence))


def kind_of(name: str) -> str:
    """The kind of this name or alias.

    Raises:
        InputError: `judge.kind`.
    """
    kind = ALIASES.get(name, name)
    if kind not in JUDGES:
        known = ", ".join(sorted(JUDGES))
        raise InputError(f"kind {name[:40]!r} is not one of {known}", code="judge.kind")
    return kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What became of one published vector. `got` is a verdict or `UNSUPPORTED`."""

    id: str
    kind: str
    got: str
    reason: str
    tcb_status: str


def judge_vector(case: Mapping[str, Any], read_file: Callable[[str], bytes]) -> Row:
    """Judge one case of a vectors' manifest from its inputs alone.

    What the case expects is not looked at. A request that cannot be meant counts as
    invalid, since a relying party would not get a yes either; only a kind that is not
    known is `UNSUPPORTED`.

    Args:
        case: one object of the manifest's `vectors`.
        read_file: gives the bytes of a path in the manifest; may raise `AtollError`.

    Raises:
        InputError: `vectors.case`: the case is not of the manifest's form.
    """
    name, kind = _text(case, "id"), _text(case, "kind")
    if kind not in JUDGES:
        return Row(id=name, kind=kind, got=UNSUPPORTED, reason="judge.kind", tcb_status="")
    try:
        judgement = _judge_case(case, kind, read_file)
    except AtollError as error:
        return Row(id=name, kind=kind, got="invalid", reason=error.code, tcb_status="")
    return Row(
        id=name,
        kind=kind,
        got=judgement.verdict,
        reason=judgement.reason,
        tcb_status=judgement.tcb_status,
    )


def _judge_case(case: Mapping[str, Any], kind: str, read_file: Callable[[str], bytes]) -> Judgement:
    params = dict(_object(case, "params"))
    named = dict(_object(case, "files"))
    if kind == "snp_launch_digest":
        # Here the kernel's files stand among the parameters; null is "without a kernel".
        named |= {role: params.pop(role, None) for role in ("kernel", "initrd")}
    files = {role: [read_file(path) for path in _paths(value)] for role, value in named.items()}
    return judge(
        kind,
        read_file(_text(case, "path")),
        files=files,
        params=params,
        policy=_object(case, "policy"),
        product=_text(case, "product") if "product" in case else None,
        now=_time(case),
        roots=_roots(case),
    )


def _roots(case: Mapping[str, Any]) -> Roots:
    amd, intel = case.get("trusted_roots"), case.get("trusted_root_spki")
    try:
        return Roots(
            amd_spki_sha256={name: bytes.fromhex(value) for name, value in amd.items()}
            if amd is not None
            else None,
            intel_spki_sha256=frozenset({bytes.fromhex(intel)}) if intel is not None else None,
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise _invalid("trusted_roots") from error


def _time(case: Mapping[str, Any]) -> datetime | None:
    if case.get("verify_time") is None:
        return None
    try:
        moment = datetime.fromisoformat(_text(case, "verify_time"))
    except ValueError as error:
        raise _invalid("verify_time") from error
    if moment.tzinfo is None:
        raise _invalid("verify_time")
    return moment


def _paths(value: object) -> list[str]:
    listed: list[object] = value if isinstance(value, list) else [value]
    paths = [path for path in listed if isinstance(path, str)]
    if value is not None and len(paths) != len(listed):
        raise _invalid("files")
    return paths


def _object(case: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = case.get(key, {})
    if not isinstance(value, dict):
        raise _invalid(key)
    return value


def _text(case: Mapping[str, Any], key: str) -> str:
    value = case.get(key)
    if not isinstance(value, str):
        raise _invalid(key)
    return value


def _invalid(key: str) -> InputError:
    return InputError(f"vector's {key!r} is not of the manifest's form", code="vectors.case")
