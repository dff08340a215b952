"""`atoll attest verify|parse|explain EVIDENCE --kind K`: any evidence, offline."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from atoll.client.files import read_private
from atoll.errors import InputError
from atoll.evidence import judge as judging
from atoll.evidence.findings import Finding, Outcome
from atoll.evidence.judgement import Judgement, Roots
from atoll.evidence.policy_forms import UNCHECKED_TEXT
from atoll.evidence.products import Product
from atoll.policy.document import FORMAT, MAX_DOCUMENT, PolicyDocument
from atoll.policy.sections import KEYSTONE, SNP, TDX
from atoll_cli import evidence_files
from atoll_cli.explanations import sentence
from atoll_cli.options import FILE, json_option, pass_session
from atoll_cli.session import Session
from atoll_cli.text import painted, printable, table

F = TypeVar("F", bound=Callable[..., Any])

_STYLE: Final = {Outcome.PASS: "32", Outcome.FAIL: "1;31", Outcome.UNCHECKED: "33"}
_DCAP: Final = ("tdx_quote", "sgx_quote", "quote_crypto_only")
_MEASUREMENT: Final = {
    "tdx_quote": "mrtd",
    "sgx_quote": "mrenclave",
    "keystone_report": "enclave_hash",
}
_SECTIONS: Final = {
    "snp_report": SNP,
    "snp_extended_report": SNP,
    "tdx_quote": TDX,
    "keystone_report": KEYSTONE,
}
_WITH_PRODUCT: Final = ("snp_report", "snp_extended_report", "snp_cert_chain", "snp_crl")
_REPORT_DATA: Final = {"keystone_report": "data"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """What the command line says, before any of it was read."""

    evidence: Path
    kind: str
    product: str | None
    certs: tuple[Path, ...]
    crls: tuple[Path, ...]
    collateral: Path | None
    event_log: Path | None
    roots: tuple[Path, ...]
    extra: tuple[tuple[str, Path], ...]
    params: tuple[tuple[str, str], ...]
    policy: Path | None
    report_data: bytes | None
    measurement: bytes | None
    now: datetime


def _kind(context: click.Context, parameter: click.Parameter, value: str) -> str:
    try:
        return judging.kind_of(value)
    except InputError as error:
        raise click.BadParameter(error.message, ctx=context, param=parameter) from error


def _hex(context: click.Context, parameter: click.Parameter, value: str | None) -> bytes | None:
    if value is None:
        return None
    try:
        return bytes.fromhex(value)
    except ValueError as error:
        raise click.BadParameter("want hex digits", ctx=context, param=parameter) from error


def _moment(context: click.Context, parameter: click.Parameter, value: str | None) -> datetime:
    if value is None:
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None or "T" not in value.upper():
            raise ValueError("no time zone")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(
            "want a time such as 2026-01-31T12:00:00Z", ctx=context, param=parameter
        ) from error


def _pairs(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    pairs = [value.partition("=") for value in values]
    if not all(name and middle for name, middle, _ in pairs):
        raise click.BadParameter("want NAME=VALUE", ctx=context, param=parameter)
    return tuple((name, value) for name, _, value in pairs)


def _files(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, Path], ...]:
    pairs = _pairs(context, parameter, values)
    return tuple((name, FILE.convert(value, parameter, context)) for name, value in pairs)


kind_option: Final = click.option(
    "--kind",
    metavar="KIND",
    required=True,
    callback=_kind,
    help="snp, tdx, keystone, or a kind of the vectors' manifest.",
)
_OPTIONS: Final = (
    click.argument("evidence", type=FILE),
    kind_option,
    click.option(
        "--product",
        type=click.Choice([item.value for item in Product], case_sensitive=False),
        help="The product line that it must be of (SEV-SNP).",
    ),
    click.option(
        "--certs",
        multiple=True,
        type=FILE,
        help="Certificates, PEM or DER, in any order, several in a file.",
    ),
    click.option("--crl", "crls", multiple=True, type=FILE, help="Revocation list, PEM or DER."),
    click.option("--collateral", type=FILE, help="Intel's collateral in one JSON file."),
    click.option("--event-log", type=FILE, help="CCEL or JSON log that the RTMRs follow from."),
    click.option(
        "--root",
        "roots",
        multiple=True,
        type=FILE,
        help="Trust this root certificate too, or this device key for Keystone.",
    ),
    click.option(
        "--with",
        "extra",
        metavar="ROLE=FILE",
        multiple=True,
        callback=_files,
        help="Any other file of a kind, by the role that the vectors' manifest gives it.",
    ),
    click.option(
        "--param",
        "params",
        metavar="NAME=VALUE",
        multiple=True,
        callback=_pairs,
        help="A parameter of the kind, such as vcpus=4.",
    ),
    click.option(
        "--policy",
        type=FILE,
        help="What the evidence must say, as JSON: requirements, a policy, or a policy document.",
    ),
    click.option("--report-data", metavar="HEX", callback=_hex, help="What REPORT_DATA must be."),
    click.option("--measurement", metavar="HEX", callback=_hex, help="What must have launched."),
    click.option(
        "--at", "now", metavar="RFC3339", callback=_moment, help="Judge as of then (default: now)."
    ),
)


def _evidence_options(command: F) -> F:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command()
@_evidence_options
@json_option
@pass_session
@click.pass_context
def verify(context: click.Context, session: Session, /, **options: Any) -> None:
    """Verify evidence and show every check by name.

    Without --policy it is checked that the evidence is authentic, that certificates and
    lists are current, and that it is of a production guest, not one under debugging.
    Exit status 0 if it passes, 1 if a check fails, also because the evidence is malformed.
    """
    judgement = _judge(_Options(**options))
    _show(session, judgement)
    _finish(context, session, judgement)


@click.command()
@_evidence_options
@json_option
@pass_session
@click.pass_context
def explain(context: click.Context, session: Session, /, **options: Any) -> None:
    """Verify evidence as `verify` does, and explain the verdict step by step."""
    judgement = _judge(_Options(**options))
    _explain(session, judgement)
    _finish(context, session, judgement)


@click.command()
@click.argument("evidence", type=FILE)
@kind_option
@json_option
@pass_session
def parse(session: Session, evidence: Path, kind: str) -> None:
    """Show every field of evidence by the specification's name, without a verdict.

    Nothing that is shown is authentic: anybody can write such a file.
    """
    fields = judging.parse(kind, read_private(evidence, limit=evidence_files.MAX_EVIDENCE))
    for line in table(fields.items(), indent=""):
        session.print(line)
    session.document({"kind": kind, "fields": fields})


def _judge(options: _Options) -> Judgement:
    if options.product is not None and options.kind not in _WITH_PRODUCT:
        raise click.UsageError(f"--product does not apply to {options.kind}")
    try:
        return judging.judge(
            options.kind,
            read_private(options.evidence, limit=evidence_files.MAX_EVIDENCE),
            files=_side_files(options),
            params={name: _param(value) for name, value in options.params},
            policy=_policy(options),
            product=options.product,
            now=options.now,
            roots=Roots(certificates=_roots(options)),
        )
    except InputError as error:
        raise click.UsageError(f"{error.message} [{error.code}]") from error


def _side_files(options: _Options) -> dict[str, list[bytes]]:
    files: dict[str, list[bytes]] = {}
    dcap = options.kind in _DCAP
    certs = list(evidence_files.certificates(options.certs))
    if certs:
        files["pck_chain" if dcap else "certs"] = [b"\n".join(certs)] if dcap else certs
    for raw in evidence_files.revocation_lists(options.crls):
        role = evidence_files.intel_crl_role(raw) if dcap else "crls"
        files.setdefault(role, []).append(raw)
    if options.collateral is not None:
        for role, raw in evidence_files.collateral(options.collateral).items():
            files.setdefault(role, []).append(raw)
    if options.event_log is not None:
        files["event_log"] = [_side_file(options.event_log)]
    for role, path in options.extra:
        files.setdefault(role, []).append(_side_file(path))
    return files


def _side_file(path: Path) -> bytes:
    return read_private(path, limit=evidence_files.MAX_EVIDENCE)


def _roots(options: _Options) -> tuple[bytes, ...]:
    if options.kind == "keystone_report":
        return tuple(evidence_files.device_key(_side_file(path)) for path in options.roots)
    return evidence_files.certificates(options.roots)


def _policy(options: _Options) -> dict[str, Any]:
    policy: dict[str, Any] = {}
    if options.policy is not None:
        policy = _policy_file(options.policy, options.kind)
    for value, names, default in (
        (options.report_data, _REPORT_DATA, "report_data"),
        (options.measurement, _MEASUREMENT, "measurement"),
    ):
        key = names.get(options.kind, default)
        if value is not None and policy.get(key, value.hex()) not in (value.hex(), UNCHECKED_TEXT):
            raise click.UsageError(f"--policy says another {key} than the option does")
        if value is not None:
            policy[key] = value.hex()
    return policy


def _policy_file(path: Path, kind: str) -> dict[str, Any]:
    """Requirements, a whole policy, or the section about this kind of a policy document."""
    value = evidence_files.json_object(path, limit=MAX_DOCUMENT, code="policy.invalid")
    if value.get("format") != FORMAT:
        return value
    sections: dict[str, dict[str, Any]] = PolicyDocument.from_plain(value).to_plain()["sections"]
    tee = _SECTIONS.get(kind, "")
    if tee not in sections:
        known = ", ".join(sections) or "none"
        raise click.UsageError(f"--policy has no section about {kind}; its sections: {known}")
    return sections[tee]


def _param(value: str) -> int | str:
    try:
        return int(value, 0)
    except ValueError:
        return value


def _finish(context: click.Context, session: Session, judgement: Judgement) -> None:
    if judgement.simulated:
        session.banner(answer=True)
    session.document(_document(judgement))
    if not _passed(judgement):
        context.exit(1)


def _passed(judgement: Judgement) -> bool:
    return judgement.verdict == "valid"


def _reason(judgement: Judgement) -> str:
    # Where nothing can be proven, the answer to "does it verify" is no.
    unproven = judgement.verdict == "parse-only"
    return "not_verifiable" if unproven else judgement.reason


def _document(judgement: Judgement) -> Mapping[str, Any]:
    return {
        "verdict": "pass" if _passed(judgement) else "fail",
        "kind": judgement.kind,
        "product": judgement.product,
        "simulated": judgement.simulated,
        "reason": _reason(judgement),
        "tcb_status": judgement.tcb_status or None,
        "checks": [
            {
                "id": item.id,
                "outcome": item.outcome.value,
                "expected": item.expected,
                "actual": item.actual,
            }
            for item in judgement.checks
        ],
        "claims": dict(judgement.claims),
    }


def _head(session: Session, judgement: Judgement) -> None:
    product = f" of {judgement.product}" if judgement.product else ""
    simulated = ", SIMULATED" if judgement.simulated else ""
    if _passed(judgement):
        session.print(printable(f"PASS: {judgement.kind}{product}{simulated}"), style="1;32")
    else:
        line = f"FAIL: {judgement.kind}{product}{simulated}: {_reason(judgement)}"
        session.print(printable(line), style="1;31")


def _show(session: Session, judgement: Judgement) -> None:
    _head(session, judgement)
    for item in judgement.checks:
        session.print(f"  {_mark(session, item)}  {item.id}")
        if item.outcome is Outcome.FAIL:
            _values(session, item)
    if judgement.claims:
        session.print("claims")
        for line in table(judgement.claims.items()):
            session.print(line)


def _explain(session: Session, judgement: Judgement) -> None:
    for number, item in enumerate(judgement.checks, start=1):
        session.print(f"{number:>3}. {sentence(item.id)}")
        answer = {Outcome.PASS: "yes", Outcome.FAIL: "NO", Outcome.UNCHECKED: "not asked"}
        words = painted(answer[item.outcome], _STYLE[item.outcome], color=session.color_out)
        session.print(f"     {words} ({item.id})")
        if item.outcome is Outcome.FAIL:
            _values(session, item)
    _head(session, judgement)
    if judgement.verdict == "parse-only":
        session.print("Evidence of this kind is only parsed: nothing about it is proven.")


def _mark(session: Session, item: Finding) -> str:
    word = "FAIL" if item.outcome is Outcome.FAIL else item.outcome.value
    return painted(f"{word:<9}", _STYLE[item.outcome], color=session.color_out)


def _values(session: Session, item: Finding) -> None:
    session.print(f"             expected  {printable(item.expected)}")
    session.print(f"             actual    {printable(item.actual)}")
