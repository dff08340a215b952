"""One run from a specification to what is shown of it; `atoll run` and `atoll demo` share it."""

from typing import Any

from atoll.client.results import OpenedResult
from atoll.client.run import Runner, RunOutcome, RunSpec
from atoll.errors import AtollError, RefusedError
from atoll.identity import PartyKeys
from atoll.sealing.archive import STDERR, STDOUT
from atoll_cli import hints, show
from atoll_cli.progress import Narrator
from atoll_cli.remote import Remote
from atoll_cli.session import Session
from atoll_cli.text import MAX_SHOWN, lines, size
from atoll_cli.trust import profile_appraiser


async def run_job(
    session: Session, remote: Remote, keys: PartyKeys, spec: RunSpec, *, verbose: bool = False
) -> RunOutcome:
    """Run one job, telling how it goes.

    Raises:
        AtollError: as `Runner.run`.
    """
    runner = Runner(
        client=remote.client,
        keys=keys,
        appraiser=profile_appraiser(session.home, remote.profile),
        progress=Narrator(session, verbose=verbose),
    )
    return await runner.run(spec)


def show_outcome(session: Session, outcome: RunOutcome) -> None:
    """Show how a run ended.

    Raises:
        RefusedError: it did not end well; the code is that of the job's reason.
    """
    result = outcome.result
    if result is not None:
        show_result(session, result)
    if outcome.appraisal is not None and outcome.appraisal.simulated:
        session.banner(answer=True, host_tpm=show.is_host_tpm(outcome.appraisal))
    document = outcome_document(outcome)
    if show.succeeded(outcome.view):
        session.document(document)
        return
    session.known.update(document)
    raise failure(outcome)


def show_result(session: Session, result: OpenedResult) -> None:
    """The guest's words, its files, and the receipt that was checked with them."""
    _show_text(session, "standard output", result, STDOUT)
    _show_text(session, "standard error", result, STDERR)
    code = result.exit.exit_code
    session.print(f"exit code {'none' if code is None else code} ({result.exit.outcome})")
    for line in show.file_lines(result):
        session.print(line)
    session.print(f"receipt   {result.receipt_path}")
    session.print(f"          verified, digest {result.receipt.digest.hex()}")


def outcome_document(outcome: RunOutcome) -> dict[str, Any]:
    """What `run --json` prints."""
    view, result = outcome.view, outcome.result
    document: dict[str, Any] = {
        "job_id": view.job_id,
        "state": view.state.value,
        "exit_code": None,
        "results": [],
        "receipt": None,
        "evidence": show.evidence_document(outcome.appraisal),
        "manifest_digest": view.manifest_digest,
        "attempt": view.attempt,
        "reason": show.plain_of(view.reason),
        "trace_id": view.trace_id,
        "enclave_id": view.enclave_id,
    }
    return document if result is None else {**document, **show.result_document(result)}


def failure(outcome: RunOutcome) -> AtollError:
    """Why a run is not a success, as an error."""
    view, result = outcome.view, outcome.result
    code = view.reason.code if view.reason else f"job.{view.state.value}"
    message = f"job {view.job_id} {view.state.value}"
    if view.reason:
        message += f": {view.reason.message}"
    if result is not None and result.exit.exit_code:
        message += f" (exit code {result.exit.exit_code})"
    return RefusedError(message, code=code, hint=hints.for_code(code))


def _show_text(session: Session, what: str, result: OpenedResult, name: str) -> None:
    file = show.output_file(result, name)
    if not file.size:
        return
    raw = b"" if file.size > MAX_SHOWN else file.path.read_bytes()
    shown = lines(raw) if raw else None
    if shown is None:
        session.print(f"{what}: {size(file.size)}, see {file.path}")
        return
    session.print(f"{what}:")
    for line in shown:
        session.print(f"  | {line}")
