"""`atoll trace JOB`."""

import asyncio
import shutil
from contextlib import suppress
from typing import Any, Final

import click

from atoll.client.connection import AtollClient
from atoll.errors import NotFoundError
from atoll.telemetry import waterfall
from atoll.telemetry.span import Span
from atoll_cli.options import JOB, json_option, pass_session
from atoll_cli.remote import connected
from atoll_cli.session import Session
from atoll_cli.stopping import run_stoppable

MAX_WIDTH: Final = 140
ARRIVAL_S: Final = 3.0
_POLL_S: Final = 0.1


@click.command()
@click.argument("job", type=JOB)
@json_option
@pass_session
def trace(session: Session, job: str) -> None:
    """Draw where the time of JOB went, across all processes."""

    async def ask() -> tuple[str, tuple[Span, ...]]:
        async with connected(session) as remote:
            view = await remote.client.get(job)
            if view.trace_id is None:
                raise NotFoundError(
                    f"job {job} was submitted without a trace", code="trace.not_found"
                )
            if view.state.terminal:
                return view.trace_id, await whole_trace(remote.client, view.trace_id)
            return view.trace_id, await remote.client.spans(view.trace_id)

    trace_id, spans = run_stoppable(ask())
    draw(session, spans)
    document: dict[str, Any] = {"job_id": job, "trace_id": trace_id}
    session.document({**document, "spans": waterfall.to_json(spans)})


async def whole_trace(client: AtollClient, trace_id: str) -> tuple[Span, ...]:
    """The spans of a job that has ended.

    The last ones come a moment after its end, and nobody says which is the last. So this
    waits, within limits, until every span's parent is there too; one may be lost for good.
    """
    spans: tuple[Span, ...] = ()
    with suppress(TimeoutError):
        async with asyncio.timeout(ARRIVAL_S):
            while True:
                spans = await client.spans(trace_id)
                if spans and not any(row["orphan"] for row in waterfall.to_json(spans)):
                    break
                await asyncio.sleep(_POLL_S)
    return spans


def draw(session: Session, spans: tuple[Span, ...]) -> None:
    """The waterfall, as wide as the terminal."""
    width = min(shutil.get_terminal_size((100, 24)).columns, MAX_WIDTH)
    for line in waterfall.render(spans, width=width, color=session.color_out).splitlines():
        session.print(line)
