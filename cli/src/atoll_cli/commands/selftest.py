"""`atoll hosts selftest`: what a machine with a TEE is worth, in one report to send back."""

import json
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from atoll import version
from atoll.client.files import write_private
from atoll.evidence.trust import PRODUCTION
from atoll_agent.evidence.kernel import Linux
from atoll_agent.evidence.looking import look
from atoll_cli import collateral_files, evidence_files
from atoll_cli.options import FILE, json_option, pass_session
from atoll_cli.selftest import report as reports
from atoll_cli.selftest import survey as surveys
from atoll_cli.selftest.attempt import Attempt, Prober, Result
from atoll_cli.selftest.machine import ThisMachine
from atoll_cli.selftest.report import Survey, Verdict
from atoll_cli.session import Session
from atoll_cli.text import painted, printable, table

REPORT: Final = Path("atoll-selftest.json")
EXIT: Final = {Verdict.GOOD: 0, Verdict.BAD: 1, Verdict.NOTHING: 3}
_STYLE: Final = {
    Result.VERIFIED: "32",
    Result.PARTLY: "33",
    Result.REFUSED: "1;31",
    Result.FAILED: "1;31",
    Result.UNTRIED: "33",
}


@click.command()
@click.option(
    "--report",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    default=REPORT,
    show_default=True,
    help="Where the report goes.",
)
@click.option(
    "--certs",
    multiple=True,
    type=FILE,
    help="AMD's certificates of this chip, PEM or DER, if the host hands out none.",
)
@click.option(
    "--with-chip-id",
    is_flag=True,
    help="Let the chip's identity and the evidence into the report; else their digests.",
)
@json_option
@pass_session
def selftest(
    session: Session,
    report: Path,
    certs: tuple[Path, ...],
    *,
    with_chip_id: bool,
) -> int:
    """Try every source of evidence on this machine, and write one report to send back.

    Run it as root inside a guest: it asks configfs-tsm, /dev/sev-guest, /dev/tdx_guest and the
    vTPM for evidence over a fresh nonce and verifies that under the vendors' own roots. On a
    host it says what guests the kernel can start. The report names versions and firmware, and
    no host, address or key.

    Exit status: 0 all that is here gave evidence that verifies; 1 something did not; 3 nothing
    here can give evidence.
    """
    machine, kernel = ThisMachine(), Linux()
    offer = look(kernel)
    survey = Survey(
        guest=surveys.guest_interfaces(offer),
        host=surveys.host_interfaces(machine),
        versions=surveys.versions(machine),
        processor=surveys.processor(machine),
    )
    now = datetime.now(UTC)
    prober = Prober(
        kernel=kernel,
        now=now,
        random=secrets.token_bytes,
        collateral=collateral_files.known(session.home, PRODUCTION),
        certs=evidence_files.certificates(certs),
    )
    attempts = prober.try_all(offer)
    document = reports.document(
        survey,
        attempts,
        made=now.isoformat(timespec="seconds"),
        version=version.VERSION,
        with_chip_id=with_chip_id,
    )
    write_private(report, json.dumps(document, indent=2).encode() + b"\n")
    _show(session, survey, attempts)
    session.print(f"report    {report}: please look at it, then send it back")
    session.document({**document, "report": str(report)})
    return EXIT[reports.verdict(attempts)]


def _show(session: Session, survey: Survey, attempts: tuple[Attempt, ...]) -> None:
    for title, rows in (("inside a guest", survey.guest), ("on a host", survey.host)):
        session.print(title)
        for line in table((name, _word(value)) for name, value in rows.items()):
            session.print(line)
    session.print("versions")
    for line in table({**survey.versions, **survey.processor}.items()):
        session.print(line)
    for one in attempts:
        word = painted(one.result.value, _STYLE[one.result], color=session.color_out)
        tee = f", {one.tee.value} {one.product}".rstrip() if one.tee else ""
        session.print(f"{word}: {one.source.value}{tee} in {one.seconds:.3f} s")
        for text in (f"{one.code} {one.message}".strip(), one.hint):
            if text:
                session.print(f"  {printable(text)}")
    if not attempts:
        session.print(_nothing(survey))


def _nothing(survey: Survey) -> str:
    kinds = surveys.starts_guests(survey.host)
    if kinds:
        return f"this host can start guests of {', '.join(kinds)}: run this again inside one"
    return "nothing is here: no interface to SEV-SNP, TDX or a TPM, in a guest or on a host"


def _word(value: Any) -> str:
    if value is None or value is False:
        return "no"
    return "yes" if value is True else printable(value or "no driver has registered")
