"""Events over HTTP, from any point: one, a page of them, or as they happen.

    text/event-stream                   server-sent events, each in CloudEvents' JSON format
    application/cloudevents-batch+json  a page: a JSON array of them
    application/cloudevents+json        one event

A page or stream of one job resumes after a job's `sequence`, one of all jobs after a place.
"""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from atoll import canonical
from atoll.errors import InputError, NotFoundError
from atoll.wire import cloudevents
from atoll_gateway.http import stream
from atoll_gateway.http.operations import Operations, read_query, visit_of
from atoll_gateway.http.ports import Told

MAX_PAGE: Final = 1000
_NUMBER: Final = re.compile(r"[0-9]{1,15}")


async def job_events(operations: Operations, request: Request) -> Response:
    """The history of one job."""
    wanted = _Wanted(request)
    view = await operations.view(request)
    events = operations.events.of_job(
        view.job_id, after=wanted.after, follow=wanted.follow and not wanted.batch
    )
    return await _respond(operations, request, events, wanted, until_terminal=True)


async def all_events(operations: Operations, request: Request) -> Response:
    """What happened to all jobs and submissions."""
    wanted = _Wanted(request)
    events = operations.events.of_all(after=wanted.after, follow=wanted.follow and not wanted.batch)
    return await _respond(operations, request, events, wanted, until_terminal=False)


async def one_event(operations: Operations, request: Request) -> Response:
    """One event of a job, by its number."""
    number = _number("seq", str(request.path_params["seq"]))
    view = await operations.view(request)
    events = operations.events.of_job(view.job_id, after=max(0, number - 1), follow=False)
    async with aclosing(events):
        async for told in events:
            if told.number != number:
                break
            body = cloudevents.structured_bytes(told.event, told.traceparent, place=told.place)
            return Response(body, media_type=cloudevents.STRUCTURED)
    raise NotFoundError(f"job {view.job_id} has no event {number}", code="event.not_found")


class _Wanted:
    """What a request asks for; a reconnecting browser's header outranks its URL."""

    def __init__(self, request: Request) -> None:
        query = read_query(request, {"after", "follow", "limit"})
        follow = query.get("follow", "true")
        if follow not in {"true", "false"}:
            raise InputError(f"follow is {follow[:20]!r}, want true or false")
        self.follow = follow == "true"
        self.after = _number("after", query.get("after", "0"))
        last = request.headers.get("last-event-id")
        if last is not None:
            self.after = _number("Last-Event-ID", last)
        self.limit = _number("limit", query.get("limit", str(MAX_PAGE)))
        if not 1 <= self.limit <= MAX_PAGE:
            raise InputError(f"limit is {self.limit}, want 1 to {MAX_PAGE}")
        accepted = ",".join(request.headers.getlist("accept")).lower()
        self.batch = cloudevents.BATCH in accepted


async def _respond(
    operations: Operations,
    request: Request,
    events: AsyncGenerator[Told, None],
    wanted: _Wanted,
    *,
    until_terminal: bool,
) -> Response:
    if not wanted.batch:
        visit = visit_of(request)
        visit.open_stream()
        return stream.EventStream(
            events,
            after=wanted.after,
            closing=operations.closing,
            ended=visit.wait_ended,
            until_terminal=until_terminal,
            heartbeat_s=operations.heartbeat_s,
        )
    page: list[object] = []
    async with aclosing(events):
        async for told in events:
            page.append(cloudevents.structured(told.event, told.traceparent, place=told.place))
            if len(page) == wanted.limit:
                break
    return Response(canonical.dumps(page), media_type=cloudevents.BATCH)


def _number(name: str, text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise InputError(f"{name} is {text[:20]!r}, want the number of an event")
    return int(text)
