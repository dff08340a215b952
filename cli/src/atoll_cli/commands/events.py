"""`atoll events [--job JOB] [--after N] [--follow | --durable NAME]`."""

from contextlib import aclosing
from typing import TYPE_CHECKING

import click

from atoll.client import events as log
from atoll_cli import show
from atoll_cli.options import JOB, TokenType, json_option, pass_session
from atoll_cli.remote import connected
from atoll_cli.session import Session
from atoll_cli.stopping import run_stoppable

if TYPE_CHECKING:
    from atoll.client.events import Told


@click.command()
@click.option("--job", metavar="JOB", type=JOB, help="Only of this job; --follow ends with it.")
@click.option(
    "--after",
    metavar="N",
    type=click.IntRange(0, (1 << 53) - 1),
    default=0,
    help="Start behind this one: with --job its `sequence`, else its `atollplace`.",
)
@click.option("--follow", is_flag=True, help="Wait for more until interrupted.")
@click.option(
    "--durable",
    metavar="NAME",
    type=TokenType("consumer name"),
    help="Follow as this durable consumer: next time go on where it was. Implies --follow.",
)
@json_option
@pass_session
def events(
    session: Session,
    job: str | None,
    after: int,
    follow: bool,  # noqa: FBT001
    durable: str | None,
) -> None:
    """Show what happened to jobs, in order, from the beginning or behind any event.

    With --json each is a structured CloudEvent: all in one array, or with --follow one on
    each line.
    """
    if durable and job and after:
        raise click.UsageError("--durable takes --job or --after, not both")
    run_stoppable(_events(session, job, durable, after=after, follow=follow or bool(durable)))


async def _events(
    session: Session, job: str | None, durable: str | None, *, after: int, follow: bool
) -> None:
    found: list[Told] = []
    async with connected(session) as remote:
        if job is not None:
            await remote.client.get(job)  # a job that is not there has no events to wait for
        client = remote.client
        source = (
            log.durable(client, durable, job, after=after)
            if durable
            else aclosing(log.replay(client, job, after=after, follow=follow))
        )
        async with source as stream:
            start: dict[str, int] = {}
            async for told in stream:
                subject = show.event_subject(told.event)
                first = start.setdefault(subject, told.event.time_ms)
                if session.as_json and follow:
                    session.line(told.structured())
                elif session.as_json:
                    found.append(told)
                else:
                    prefix = "" if job else f"{subject}  "
                    session.print(prefix + show.event_line(told.event, first))
                if follow and job is not None and show.is_last(told.event):
                    break
    if not (session.as_json and follow):
        session.document([told.structured() for told in found])
