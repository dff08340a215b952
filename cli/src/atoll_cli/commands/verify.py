"""`atoll attest verify|parse|explain EVIDENCE --kind K`: any evidence, offline."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from atoll.client.files import read_private
from atoll.errors import InputError
from atoll.evidence import judge as judging
from atoll.evidence.judgement import Roots
from atoll.evidence.policy_forms import UNCHECKED_TEXT
from atoll_cli import evidence_files
from atoll_cli import evidence_verdict as verdicts
from atoll_cli.evidence_options import EvidenceOptions, evidence_options, kind_option
from atoll_cli.evidence_policy import PolicyFile, read_policy_file
from atoll_cli.evidence_verdict import EvidenceVerdict
from atoll_cli.options import FILE, json_option, pass_session
from atoll_cli.session import Session
from atoll_cli.text import table

_DCAP: Final = ("tdx_quote", "sgx_quote", "quote_crypto_only")
_MEASUREMENT: Final = {
    "tdx_quote": "mrtd",
    "sgx_quote": "mrenclave",
    "keystone_report": "enclave_hash",
}
_WITH_PRODUCT: Final = ("snp_report", "snp_extended_report", "snp_cert_chain", "snp_crl")
_REPORT_DATA: Final = {"keystone_report": "data"}


@click.command()
@evidence_options
@json_option
@pass_session
@click.pass_context
def verify(context: click.Context, session: Session, /, **options: Any) -> None:
    """Verify evidence and show every check by name.

    Without --policy it is checked that the evidence is authentic, that certificates and
    lists are current, and that it is of a production guest, not one under debugging.
    Exit status 0 if it passes, 1 if a check fails, also because the evidence is malformed.

    A policy document counts in every mode: its verdict is shown and decides the exit status,
    and in shadow or warn the output says that a service would not act on it yet. It must not
    be of a later time than --at. With --owner its signatures must hold; without, the output
    says that nobody checked them.
    """
    verdict = _judge(EvidenceOptions(**options))
    verdicts.show(session, verdict)
    _finish(context, session, verdict, verdict.document())


@click.command()
@evidence_options
@json_option
@pass_session
@click.pass_context
def explain(context: click.Context, session: Session, /, **options: Any) -> None:
    """Verify evidence as `verify` does, and explain the verdict.

    First the verdict and what to do about each check that failed, with what was expected and
    found; then what holds, step by step; then what nobody asked.
    """
    verdict = _judge(EvidenceOptions(**options))
    verdicts.explain(session, verdict)
    _finish(context, session, verdict, verdict.document(explained=True))


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


def _judge(options: EvidenceOptions) -> EvidenceVerdict:
    if options.product is not None and options.kind not in _WITH_PRODUCT:
        raise click.UsageError(f"--product does not apply to {options.kind}")
    try:
        policy = _policy(options)
        judgement = judging.judge(
            options.kind,
            read_private(options.evidence, limit=evidence_files.MAX_EVIDENCE),
            files=_side_files(options),
            params={name: _param(value) for name, value in options.params},
            policy=policy.requirements,
            product=options.product,
            now=options.now,
            roots=Roots(certificates=_roots(options)),
        )
    except InputError as error:
        raise click.UsageError(f"{error.message} [{error.code}]") from error
    return EvidenceVerdict(judgement=judgement, policy=policy)


def _side_files(options: EvidenceOptions) -> dict[str, list[bytes]]:
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


def _roots(options: EvidenceOptions) -> tuple[bytes, ...]:
    if options.kind == "keystone_report":
        return tuple(evidence_files.device_key(_side_file(path)) for path in options.roots)
    return evidence_files.certificates(options.roots)


def _policy(options: EvidenceOptions) -> PolicyFile:
    """What the policy file asks, and beside it the options that are requirements."""
    if options.policy is None and options.owners:
        raise click.UsageError("--owner goes with --policy")
    file = PolicyFile(requirements={})
    if options.policy is not None:
        file = read_policy_file(options.policy, options)
    policy = dict(file.requirements)
    for value, names, default in (
        (options.report_data, _REPORT_DATA, "report_data"),
        (options.measurement, _MEASUREMENT, "measurement"),
    ):
        key = names.get(options.kind, default)
        if value is not None and policy.get(key, value.hex()) not in (value.hex(), UNCHECKED_TEXT):
            raise click.UsageError(f"--policy says another {key} than the option does")
        if value is not None:
            policy[key] = value.hex()
    return replace(file, requirements=policy)


def _param(value: str) -> int | str:
    try:
        return int(value, 0)
    except ValueError:
        return value


def _finish(
    context: click.Context,
    session: Session,
    verdict: EvidenceVerdict,
    document: Mapping[str, Any],
) -> None:
    if verdict.judgement.simulated:
        session.banner(answer=True)
    session.document(document)
    if not verdict.passed:
        context.exit(1)
