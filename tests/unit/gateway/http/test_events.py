"""Events over HTTP: order, resumption, every form, and every way to end."""

import asyncio
import json
from collections.abc import AsyncGenerator

import jsonschema_rs
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from atoll.wire.messages import EventType, JobEvent, JobState, ReportKind
from atoll_gateway.http import openapi
from atoll_gateway.http.ports import Told
from atoll_gateway.http.stream import EventStream, render_event
from support.gateway import NOW_MS
from unit.gateway.http.asgi import Answer, call
from unit.gateway.http.gateway import TRACEPARENT, Gateway


def event(seq: int, state: JobState = JobState.RUNNING) -> Told:
    job = JobEvent(
        job_id="j", seq=seq, type=EventType(state.value), state=state, attempt=1, time_ms=NOW_MS
    )
    return Told(number=seq, place=seq + 10, event=job)


def ids(answer: Answer) -> list[int]:
    lines = answer.body.decode().splitlines()
    return [int(line.removeprefix("id: ")) for line in lines if line.startswith("id: ")]


async def stream(
    events: list[Told],
    *,
    after: int = 0,
    then_wait: bool = False,
    closing: asyncio.Event | None = None,
    ended: asyncio.Event | None = None,
    gone: asyncio.Event | None = None,
    heartbeat_s: float = 60.0,
    closed: list[bool] | None = None,
) -> Answer:
    async def source() -> AsyncGenerator[Told, None]:
        try:
            for item in events:
                yield item
            if then_wait:
                await asyncio.Event().wait()
        finally:
            if closed is not None:
                closed.append(True)

    async def endpoint(request: Request) -> Response:
        del request
        return EventStream(
            source(),
            after=after,
            closing=closing or asyncio.Event(),
            ended=(ended or asyncio.Event()).wait,
            heartbeat_s=heartbeat_s,
        )

    return await call(Starlette(routes=[Route("/", endpoint)]), "GET", "/", gone=gone)


def test_an_event_is_three_lines_and_an_empty_one() -> None:
    lines = render_event(event(7)).decode().split("\n")
    assert lines[:2] == ["id: 7", "event: running"]
    data = json.loads(lines[2].removeprefix("data: "))
    assert (data["specversion"], data["id"], data["atollplace"]) == ("1.0", "j.7", "17")
    assert data["data"]["seq"] == 7
    assert lines[3:] == ["", ""]


async def test_events_come_in_order_and_the_terminal_one_ends_the_stream() -> None:
    answer = await stream([event(1), event(2), event(3, JobState.COMPLETED)], then_wait=True)
    assert ids(answer) == [1, 2, 3]
    assert answer.complete
    assert answer.headers["content-type"].startswith("text/event-stream")


async def test_resumes_after_the_last_event_seen() -> None:
    answer = await stream([event(1), event(2), event(3, JobState.FAILED)], after=2)
    assert ids(answer) == [3]


async def test_resuming_after_the_end_ends_at_once() -> None:
    answer = await stream([event(1), event(2, JobState.EXPIRED)], after=2, then_wait=True)
    assert ids(answer) == []
    assert answer.complete


async def test_no_event_is_sent_twice() -> None:
    answer = await stream([event(1), event(1), event(2), event(1), event(3)])
    assert ids(answer) == [1, 2, 3]


async def test_stops_when_the_server_closes() -> None:
    closing = asyncio.Event()
    closing.set()
    answer = await stream([event(1)], then_wait=True, closing=closing)
    assert answer.complete


async def test_stops_when_the_token_ends() -> None:
    ended = asyncio.Event()
    ended.set()
    answer = await stream([event(1)], then_wait=True, ended=ended)
    assert answer.complete


async def test_lets_go_of_the_source_when_the_client_goes_away() -> None:
    gone = asyncio.Event()
    asyncio.get_running_loop().call_later(0.02, gone.set)
    closed: list[bool] = []
    answer = await stream([event(1)], then_wait=True, gone=gone, closed=closed)
    assert ids(answer) == [1]
    assert closed == [True]


async def test_beats_while_nothing_happens() -> None:
    gone = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, gone.set)
    answer = await stream([], then_wait=True, gone=gone, heartbeat_s=0.001)
    assert answer.body.count(b": heartbeat\n\n") >= 2


async def test_a_job_tells_its_history() -> None:
    gateway = Gateway()
    view = await gateway.waiting()
    await gateway.report(view.job_id, ReportKind.FINISHED)
    target = f"/v1/jobs/{view.job_id}/events"
    assert ids(await gateway.call("GET", target)) == [1, 2, 3, 4]
    resumed = await gateway.call("GET", target, headers=[("last-event-id", "2")])
    assert ids(resumed) == [3, 4]
    assert ids(await gateway.call("GET", f"{target}?follow=false")) == [1, 2, 3, 4]


async def test_refuses_a_resumption_it_does_not_understand() -> None:
    gateway = Gateway()
    view = await gateway.waiting()
    target = f"/v1/jobs/{view.job_id}/events"
    for value in ("x", "-1", "1.5", "", "9" * 16):
        answer = await gateway.call("GET", target, headers=[("last-event-id", value)])
        assert answer.status == 400
    assert (await gateway.call("GET", f"{target}?follow=perhaps")).status == 400


BATCH = ("accept", "application/cloudevents-batch+json")
VALID = jsonschema_rs.validator_for(
    {"type": "array", "items": openapi.document("1")["components"]["schemas"]["CloudEvent"]}
)


async def finished(gateway: Gateway) -> str:
    view = await gateway.waiting()
    await gateway.report(view.job_id, ReportKind.FINISHED)
    return view.job_id


async def test_a_batch_is_a_page_of_structured_events() -> None:
    gateway = Gateway()
    job_id = await finished(gateway)
    target = f"/v1/jobs/{job_id}/events"
    page = await gateway.call("GET", f"{target}?after=1&limit=2", headers=[BATCH])
    assert page.headers["content-type"] == "application/cloudevents-batch+json"
    assert [item["id"] for item in page.json] == [f"{job_id}.2", f"{job_id}.3"]
    rest = await gateway.call("GET", f"{target}?after=3", headers=[BATCH])
    assert [item["data"]["state"] for item in rest.json] == ["completed"]
    VALID.validate(page.json + rest.json)


async def test_one_event_is_a_structured_event() -> None:
    gateway = Gateway()
    job_id = await finished(gateway)
    answer = await gateway.call("GET", f"/v1/jobs/{job_id}/events/4")
    assert answer.headers["content-type"] == "application/cloudevents+json"
    assert answer.json["type"] == "atoll.job.completed.v1"
    VALID.validate([answer.json])
    for missing, status in (("5", 404), ("0", 404), ("x", 400), ("-1", 400)):
        answer = await gateway.call("GET", f"/v1/jobs/{job_id}/events/{missing}")
        assert answer.status == status, missing


async def test_all_jobs_replay_from_any_place() -> None:
    gateway = Gateway()
    first = await finished(gateway)
    second = (await gateway.submit(key="another")).json["job_id"]
    everything = await gateway.call("GET", "/v1/events", headers=[BATCH])
    assert [item["subject"] for item in everything.json] == [first] * 4 + [second]
    VALID.validate(everything.json)
    assert {item["traceparent"] for item in everything.json} == {TRACEPARENT}
    place = everything.json[3]["atollplace"]
    rest = await gateway.call("GET", f"/v1/events?after={place}", headers=[BATCH])
    assert rest.json == everything.json[4:]
    # A terminal event of one job does not end the stream of all.
    assert ids(await gateway.call("GET", "/v1/events?follow=false")) == [1, 2, 3, 4, 5]


async def test_what_a_browser_saw_last_outranks_the_address() -> None:
    gateway = Gateway()
    job_id = await finished(gateway)
    target = f"/v1/jobs/{job_id}/events?after=1"
    assert ids(await gateway.call("GET", target)) == [2, 3, 4]
    resumed = await gateway.call("GET", target, headers=[("last-event-id", "3")])
    assert ids(resumed) == [4]


async def test_refuses_a_page_it_does_not_understand() -> None:
    gateway = Gateway()
    for query in ("limit=0", "limit=1001", "after=-1", "after=x", "follow=perhaps", "other=1"):
        answer = await gateway.call("GET", f"/v1/events?{query}", headers=[BATCH])
        assert answer.status == 400, query
