"""`atoll jobs list|show|cancel`."""

import click

from atoll.computation.manifest import Manifest
from atoll.computation.placement import needs_of
from atoll.wire.messages import JobList, JobState, JobView
from atoll_cli import show as shown
from atoll_cli.options import JOB, json_option, pass_session
from atoll_cli.remote import connected
from atoll_cli.session import Session
from atoll_cli.stopping import run_stoppable
from atoll_cli.text import table
from atoll_cli.waiting import why_waiting


@click.group()
def jobs() -> None:
    """Jobs that were submitted to this stack."""


@jobs.command(name="list")
@click.option("--state", type=click.Choice([state.value for state in JobState]))
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@json_option
@pass_session
def list_(session: Session, state: str | None, limit: int) -> None:
    """List jobs, the newest first."""

    async def ask() -> JobList:
        async with connected(session) as remote:
            wanted = JobState(state) if state else None
            return await remote.client.list(state=wanted, limit=limit)

    found = run_stoppable(ask()).jobs
    rows = [
        (job.job_id, job.state.value, job.tee.value, job.reason.code if job.reason else "")
        for job in found
    ]
    for line in table(rows, indent=""):
        session.print(line)
    if not found:
        session.say("no jobs")
    session.document({"jobs": [shown.job_document(job) for job in found]})


@jobs.command()
@click.argument("job", type=JOB)
@json_option
@pass_session
def show(session: Session, job: str) -> None:
    """Show one JOB, and why it waits if no host has taken it."""

    async def ask() -> tuple[JobView, str | None]:
        async with connected(session) as remote:
            view = await remote.client.get(job)
            if view.state is not JobState.SUBMITTED or not remote.client.is_house:
                return view, None
            agreed = await remote.client.manifest(view.job_id)
            needs = needs_of(Manifest.from_bytes(agreed.manifest), view.tenant)
            return view, why_waiting(view, await remote.client.hosts(), needs)

    view, waits = run_stoppable(ask())
    for line in shown.job_lines(view):
        session.print(line)
    if waits is not None:
        session.say(f"waits: {waits}")
    session.document({**shown.job_document(view), "waits": waits})


@jobs.command()
@click.argument("job", type=JOB)
@json_option
@pass_session
def cancel(session: Session, job: str) -> None:
    """Cancel JOB; one that has ended is left as it is."""

    async def ask() -> JobView:
        async with connected(session) as remote:
            return await remote.client.cancel(job)

    view = run_stoppable(ask())
    if view.state is not JobState.CANCELLED:
        session.say(f"the job is {view.state.value}; nothing was changed")
    _show(session, view)


def _show(session: Session, view: JobView) -> None:
    for line in shown.job_lines(view):
        session.print(line)
    session.document(shown.job_document(view))
