"""`atoll attest show ENCLAVE-OR-FILE`."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import click

from atoll.client.files import read_private
from atoll.errors import AtollError, EvidenceError, RefusedError
from atoll.evidence import document as documents
from atoll.evidence.findings import Appraisal
from atoll.receipt.statement import from_statement
from atoll.receipt.verify import MAX_FILE, ReceiptFile
from atoll.wire.names import require_token
from atoll_cli import show as shown
from atoll_cli.lazy import LazyGroup
from atoll_cli.options import json_option, pass_session, policy_option, root_option
from atoll_cli.remote import connected
from atoll_cli.session import Session
from atoll_cli.stopping import run_stoppable
from atoll_cli.trust import appraiser_for


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """Evidence, for which manifest it should be, and as of when it counts."""

    evidence: bytes = field(repr=False)
    manifest_digest: bytes
    origin: str
    now: datetime


@click.group(
    cls=LazyGroup,
    lazy={
        "collateral": "atoll_cli.commands.collateral:collateral",
        "explain": "atoll_cli.commands.verify:explain",
        "parse": "atoll_cli.commands.verify:parse",
        "rotate-key": "atoll_cli.commands.rotate:rotate_key",
        "verify": "atoll_cli.commands.verify:verify",
    },
)
def attest() -> None:
    """Evidence: what an enclave proves about itself."""


def _digest(_: click.Context, __: click.Parameter, value: str | None) -> bytes | None:
    if value is None:
        return None
    try:
        digest = bytes.fromhex(value)
    except ValueError as error:
        raise click.BadParameter("want 64 hex digits") from error
    if len(digest) != documents.DIGEST_SIZE:
        raise click.BadParameter("want 64 hex digits")
    return digest


@attest.command()
@click.argument("subject", metavar="ENCLAVE-OR-FILE")
@root_option
@policy_option
@click.option(
    "--manifest-digest",
    metavar="HEX",
    callback=_digest,
    help="The manifest that the evidence must be for. Without it, an enclave's evidence is "
    "compared with its job, and a file's with nothing but itself.",
)
@click.option("--verbose", is_flag=True, help="Show expected and actual value of every check.")
@json_option
@pass_session
def show(  # noqa: PLR0917 - click passes one parameter for each option
    session: Session,
    subject: str,
    root: Path | None,
    policy: Path | None,
    manifest_digest: bytes | None,
    verbose: bool,  # noqa: FBT001
) -> None:
    """Appraise evidence and show every check by name.

    The subject is the id of an enclave, an evidence document in a file, or a receipt.
    Exit status 1 if a check fails.
    """
    appraiser = appraiser_for(session.home, root=root, policy=policy)
    path = Path(subject)
    if path.is_file():
        found = _from_file(path, manifest_digest)
    else:
        try:
            require_token(subject, "enclave")
        except AtollError as error:
            raise click.BadParameter(f"{error.message}, and there is no such file") from error
        found = run_stoppable(_from_stack(session, subject, manifest_digest))
    appraisal = appraiser.appraise(
        found.evidence, manifest_digest=found.manifest_digest, now=found.now
    )
    _show(session, found, appraisal, verbose=verbose)


def _from_file(path: Path, manifest_digest: bytes | None) -> _Found:
    raw = read_private(path, limit=MAX_FILE)
    now, origin = datetime.now(UTC), "document"
    if raw.lstrip().startswith(b"{"):
        # A receipt counts as of the moment that it says the job ended; see `check_receipt`.
        file = ReceiptFile.from_bytes(raw)
        now = datetime.fromisoformat(from_statement(file.envelope.payload).finished)
        raw, origin = file.evidence, "receipt"
    if manifest_digest is None:
        try:
            manifest_digest = documents.parse(raw).manifest_digest
        except EvidenceError:
            manifest_digest = b""  # the appraisal says that it cannot be parsed
    return _Found(evidence=raw, manifest_digest=manifest_digest, origin=origin, now=now)


async def _from_stack(session: Session, enclave: str, manifest_digest: bytes | None) -> _Found:
    async with connected(session) as remote:
        record = await remote.client.evidence(enclave)
        if manifest_digest is None:
            view = await remote.client.get(record.job_id)
            manifest_digest = bytes.fromhex(view.manifest_digest)
    return _Found(
        evidence=record.evidence,
        manifest_digest=manifest_digest,
        origin=f"enclave {enclave}",
        now=datetime.now(UTC),
    )


def _show(session: Session, found: _Found, appraisal: Appraisal, *, verbose: bool) -> None:
    lines = shown.appraisal_lines(appraisal, color=session.color_out, verbose=verbose)
    session.print(f"evidence of {found.origin}: {lines[0]}")
    for line in lines[1:]:
        session.print(line)
    if appraisal.claims:
        session.print("  claims")
        for line in shown.claims_lines(appraisal):
            session.print(line)
    if appraisal.simulated:
        session.banner(answer=True, host_tpm=shown.is_host_tpm(appraisal))
    document = {
        **(shown.evidence_document(appraisal) or {}),
        "policy_digest": appraisal.policy_digest,
        "manifest_digest": found.manifest_digest.hex(),
        "claims": dict(appraisal.claims),
    }
    if not appraisal.passed:
        session.known.update(document)
        raise RefusedError(f"the evidence fails {appraisal.reason}", code="evidence.refused")
    session.document(document)
