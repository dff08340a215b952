"""`atoll receipt verify FILE`: no network, no account."""

from pathlib import Path
from typing import Any

import click

from atoll.client.files import read_private
from atoll.client.results import check_receipt
from atoll.evidence.findings import Appraisal
from atoll.receipt.verify import MAX_FILE, VerifiedReceipt
from atoll_cli import show
from atoll_cli.options import FILE, json_option, pass_session, policy_option, root_option
from atoll_cli.session import Session
from atoll_cli.trust import appraiser_for


@click.group()
def receipt() -> None:
    """Signed statements of what ran where, on what, and gave what."""


@receipt.command()
@click.argument("file", type=FILE)
@root_option
@policy_option
@click.option("--verbose", is_flag=True, help="Show expected and actual value of every check.")
@json_option
@pass_session
def verify(
    session: Session, file: Path, root: Path | None, policy: Path | None, *, verbose: bool
) -> None:
    """Verify a receipt from end to end, offline.

    Checks the signature, that the signing key is the one which the enclave's evidence attests,
    that evidence and manifest are the ones named, and that the evidence passes the policy as of
    the moment the job ended. Policy and root come from --policy and --root, else from the
    profile in ATOLL_HOME. Without any policy the answer is no: a signature alone does not say
    which code ran. Whether the manifest is one you agreed to is yours to compare.
    """
    verify_file(session, file, root=root, policy=policy, verbose=verbose)


def verify_file(
    session: Session,
    file: Path,
    *,
    root: Path | None = None,
    policy: Path | None = None,
    checks: bool = True,
    verbose: bool = False,
) -> VerifiedReceipt[Appraisal]:
    """Verify, and show it, with every check of the evidence by name if `checks`.

    Raises:
        AtollError: what did not hold.
    """
    appraiser = appraiser_for(session.home, root=root, policy=policy)
    raw = read_private(file, limit=MAX_FILE)
    verified = check_receipt(raw, appraiser)
    appraisal = verified.appraisal
    session.print("receipt verified", style="1;32")
    for line in show.receipt_lines(verified):
        session.print(line)
    lines = show.appraisal_lines(appraisal, color=session.color_out, verbose=verbose)
    session.print(f"  appraisal  {lines[0]}")
    for line in lines[1:] if checks else ():
        session.print(line)
    if appraisal.simulated:
        session.banner(answer=True, host_tpm=show.is_host_tpm(appraisal))
    session.document(_document(verified))
    return verified


def _document(verified: VerifiedReceipt[Appraisal]) -> dict[str, Any]:
    return {
        "verified": True,
        "simulated": verified.appraisal.simulated,
        "digest": verified.digest.hex(),
        "signing_key": verified.signing_key.hex(),
        "receipt": show.plain_of(verified.receipt),
        "evidence": show.evidence_document(verified.appraisal),
    }
