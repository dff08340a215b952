"""`atoll submit MANIFEST --consent FILE...`: a computation of several parties becomes a job."""

import secrets
import time
from contextlib import aclosing
from pathlib import Path

import click

from atoll.client.agreement import assembled
from atoll.errors import RefusedError, UnreachableError
from atoll.wire.messages import AgreedManifest, JobView
from atoll_cli import hints, show
from atoll_cli.agreement_files import read_consents, read_manifest
from atoll_cli.options import FILE, TokenType, json_option, pass_session
from atoll_cli.remote import connected
from atoll_cli.session import Session
from atoll_cli.stopping import checkpoint, run_stoppable


@click.command()
@click.argument("manifest", type=FILE)
@click.option(
    "--consent",
    "consents",
    metavar="FILE",
    multiple=True,
    type=FILE,
    help="What a party wrote with `atoll computation sign`; one for each.",
)
@click.option("--wait", is_flag=True, help="Follow the job to its end.")
@click.option(
    "--idempotency-key",
    metavar="TOKEN",
    type=TokenType("idempotency key"),
    help="The same one gives the same job, however often it is submitted (default: a new job).",
)
@click.option(
    "--guest",
    "guests",
    metavar="TENANT",
    multiple=True,
    type=TokenType("tenant"),
    help="Another tenant that may see the job and release keys to it; repeat it.",
)
@json_option
@pass_session
def submit(  # noqa: PLR0917 - click passes one parameter for each option
    session: Session,
    manifest: Path,
    consents: tuple[Path, ...],
    wait: bool,  # noqa: FBT001
    idempotency_key: str | None,
    guests: tuple[str, ...],
) -> None:
    """Submit MANIFEST with the consents of all its parties; print the id of the job.

    What the gateway would refuse is refused here. Each provider then releases its keys with
    `atoll release`. Interrupted while it waits, it leaves the job to the others.
    """
    file = read_manifest(manifest)
    agreed = assembled(file, read_consents(consents), now_ms=time.time_ns() // 1_000_000)
    key = idempotency_key or secrets.token_hex(16)
    view = run_stoppable(_submit(session, agreed, key, guests, wait=wait))
    session.document(show.job_document(view))
    if wait and not show.succeeded(view):
        session.known.update(show.job_document(view))
        raise _failure(view)


async def _submit(
    session: Session, agreed: AgreedManifest, key: str, guests: tuple[str, ...], *, wait: bool
) -> JobView:
    async with connected(session) as remote:
        view = await remote.client.submit(agreed, key, guests=guests)
        session.known.update(job_id=view.job_id, manifest_digest=view.manifest_digest)
        session.print(view.job_id)
        if not wait:
            return view
        async with aclosing(remote.client.events(view.job_id, follow=True)) as events:
            async for event in events:
                checkpoint()
                session.say(show.event_line(event, view.created_ms))
                if event.state.terminal:
                    return await remote.client.get(view.job_id)
    raise UnreachableError(f"the events of job {view.job_id} ended before the job did")


def _failure(view: JobView) -> RefusedError:
    code = view.reason.code if view.reason else f"job.{view.state.value}"
    message = f"job {view.job_id} {view.state.value}"
    if view.reason:
        message += f": {view.reason.message}"
    return RefusedError(message, code=code, hint=hints.for_code(code))
