"""`atoll events [--job JOB] [--follow]`."""

from contextlib import aclosing
from typing import TYPE_CHECKING

import click

from atoll_cli import show
from atoll_cli.options import JOB, json_option, pass_session
from atoll_cli.remote import connected
from atoll_cli.session import Session
from atoll_cli.stopping import run_stoppable

if TYPE_CHECKING:
    from atoll.wire.messages import JobEvent


@click.command()
@click.option("--job", metavar="JOB", type=JOB, help="Only of this job; --follow ends with it.")
@click.option("--follow", is_flag=True, help="Wait for more until interrupted.")
@json_option
@pass_session
def events(session: Session, job: str | None, follow: bool) -> None:  # noqa: FBT001
    """Show what happened to jobs, in order, from the beginning.

    With --json the answer is one array; with --follow as well, one object on each line.
    """
    run_stoppable(_events(session, job, follow=follow))


async def _events(session: Session, job: str | None, *, follow: bool) -> None:
    found: list[JobEvent] = []
    async with connected(session) as remote:
        if job is not None:
            await remote.client.get(job)  # a job that is not there has no events to wait for
        async with aclosing(remote.client.events(job, follow=follow)) as stream:
            start: dict[str, int] = {}
            async for event in stream:
                first = start.setdefault(event.job_id, event.time_ms)
                if session.as_json and follow:
                    session.line(show.plain_of(event))
                elif session.as_json:
                    found.append(event)
                else:
                    prefix = "" if job else f"{event.job_id}  "
                    session.print(prefix + show.event_line(event, first))
                if follow and job is not None and event.state.terminal:
                    break
    if not (session.as_json and follow):
        session.document([show.plain_of(event) for event in found])
