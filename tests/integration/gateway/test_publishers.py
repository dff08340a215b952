"""Publishers without any code of ours: nats-py, JSON, and nothing else on their side."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import nats
import pytest
from nats.aio.client import Client

from atoll.bus import last_message
from atoll.errors import InputError, NotFoundError, RefusedError, UnreachableError
from atoll.telemetry.span import Recorder
from atoll.wire import cloudevents, schema, subjects, topology
from atoll.wire.access import DEFAULT_TENANT
from atoll.wire.messages import JobView, SubmitRequest
from atoll.wire.submission import SubmissionEvent, SubmissionOutcome
from atoll_gateway.adapters import BusOutlet
from atoll_gateway.caller import BUS, Caller
from atoll_gateway.intake import IntakeWorker
from integration.gateway.client import Gateway
from support.gateway import NOW_MS, keys, sign, submission
from support.nats import ADMIN, wait_for

JSON = {"content-type": "application/json"}
TRACEPARENT = f"00-{'a' * 32}-{'b' * 16}-01"


@asynccontextmanager
async def plain(gateway: Gateway) -> AsyncIterator[Client]:
    client = await nats.connect(gateway.nats.url, user=ADMIN.name, password=ADMIN.password)
    try:
        yield client
    finally:
        await client.close()


def document(**options: Any) -> dict[str, Any]:
    found = schema.to_plain(submission(**options), json=True)
    assert isinstance(found, dict)
    return found


async def test_who_asks_in_json_is_answered_in_json(gateway: Gateway) -> None:
    async with plain(gateway) as client:
        body = json.dumps(document()).encode()
        for _ in range(2):
            reply = await client.request("atoll.v1.jobs.submit", body, headers=JSON)
            assert reply.headers == JSON
            view = json.loads(reply.data)
            assert view["state"] == "submitted"
        asked = json.dumps({"job_id": view["job_id"]}).encode()
        found = await client.request("atoll.v1.jobs.get", asked, headers=JSON)
        assert json.loads(found.data) == view
    over_http = await gateway.post("/v1/jobs", document())
    assert (over_http.status, over_http.json) == (200, view)


@pytest.mark.parametrize(
    ("subject", "headers", "body", "code"),
    [
        ("atoll.v1.jobs.get", JSON, b'{"job_id":"nobody"}', "job.not_found"),
        ("atoll.v1.jobs.get", JSON, b'{"job_id":"\\ud800"}', "message.malformed"),
        ("atoll.v1.jobs.get", JSON, b"{", "message.malformed"),
        ("atoll.v1.jobs.submit", JSON, b"{}", "message.invalid"),
        ("atoll.v1.jobs.submit", JSON, b"", "message.malformed"),
    ],
)
async def test_who_asks_in_json_is_refused_in_json(
    gateway: Gateway, subject: str, headers: dict[str, str], body: bytes, code: str
) -> None:
    async with plain(gateway) as client:
        reply = await client.request(subject, body, headers=headers)
    assert reply.headers is not None
    assert reply.headers["content-type"] == "application/json"
    assert json.loads(reply.data)["code"] == code
    assert reply.headers["Nats-Service-Error-Code"] in {"400", "404"}


async def test_another_type_is_refused(gateway: Gateway) -> None:
    async with plain(gateway) as client:
        reply = await client.request(
            "atoll.v1.jobs.get", b"job_id: x", headers={"content-type": "text/yaml"}
        )
    assert reply.headers is not None
    assert "message.media_type" in reply.headers["Nats-Service-Error"]


def tracer() -> Recorder:
    counter = itertools.count(1)
    return Recorder(
        "atoll-gateway",
        instance="test",
        clock=lambda: 0,
        random=lambda size: next(counter).to_bytes(size, "big"),
    )


async def over_nats(gateway: Gateway, request: SubmitRequest, caller: Caller = BUS) -> JobView:
    assert caller.tenant == DEFAULT_TENANT
    reply = await gateway.bus.request("atoll.v1.jobs.submit", schema.encode(request))
    return schema.decode(JobView, reply.payload)


@asynccontextmanager
async def working(gateway: Gateway, submit: Any = None) -> AsyncIterator[None]:
    """The intake is worked off, by `submit` or as the gateway itself would."""
    worker = IntakeWorker(
        gateway.bus,
        submit or partial(over_nats, gateway),
        BusOutlet(gateway.bus),
        lambda: NOW_MS,
        tracer(),
    )
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(worker.run())
        yield
        running.cancel()


async def outcome(gateway: Gateway, key: str) -> SubmissionEvent:
    async def told() -> bool:
        return await newest() is not None

    async def newest() -> Any:
        return await last_message(
            gateway.bus, topology.EVENTS.name, subjects.HISTORY.under(None, "submission", key)
        )

    await wait_for(told, f"somebody said what became of {key}")
    found = await newest()
    event = cloudevents.read(found.subject, found.headers, found.payload)
    assert isinstance(event, SubmissionEvent)
    assert found.headers["ce-type"] == f"atoll.submission.{event.outcome.value}.v1"
    return event


async def test_one_published_message_is_a_job(gateway: Gateway) -> None:
    async with plain(gateway) as client, working(gateway):
        stream = client.jetstream()
        body = json.dumps(document(key="order-7")).encode()
        headers = {**JSON, "traceparent": TRACEPARENT}
        for _ in range(3):
            ack = await stream.publish("atoll.v1.intake.order-7", body, headers=headers)
            assert ack.stream == "INTAKE"
        event = await outcome(gateway, "order-7")
        assert event.outcome is SubmissionOutcome.ACCEPTED
        await wait_for(lambda: empty(gateway), "everything was worked off")
        again = await outcome(gateway, "order-7")
        # The very same event: nothing happened twice.
        assert again == event
    over_http = await gateway.post("/v1/jobs", document(key="order-7"))
    assert (over_http.status, over_http.json["job_id"]) == (200, event.job_id)
    first = await last_message(
        gateway.bus, topology.EVENTS.name, subjects.HISTORY.under(None, "submission", "order-7")
    )
    assert first is not None
    assert first.headers["ce-traceparent"].split("-")[1] == "a" * 32


async def empty(gateway: Gateway) -> bool:
    return (
        await last_message(gateway.bus, "INTAKE", subjects.of_tenants(subjects.INTAKE).wildcard)
        is None
    )


async def test_a_refusal_is_told_under_the_publishers_key(gateway: Gateway) -> None:
    other = sign(submission().agreed.manifest, keys("alice", seed=2))
    forged = schema.to_plain(SubmitRequest(agreed=other, idempotency_key="forged"), json=True)
    published = {
        "garbage": (b"\xff", "message.malformed"),
        "short": (b"{}", "message.invalid"),
        "mine": (json.dumps(document(key="yours")).encode(), "intake.other_key"),
        "forged": (json.dumps(forged).encode(), "consent.signature"),
    }
    async with plain(gateway) as client, working(gateway):
        for key, (body, _) in published.items():
            await client.jetstream().publish(f"atoll.v1.intake.{key}", body, headers=JSON)
        for key, (_, code) in published.items():
            event = await outcome(gateway, key)
            assert event.outcome is SubmissionOutcome.REFUSED
            assert event.reason is not None
            assert event.reason.code == code, event.reason
        await wait_for(lambda: empty(gateway), "everything was worked off")
    # What could not be read is kept with the reason; what was understood is only refused.
    dead = await last_message(gateway.bus, topology.DEAD.name, subjects.DEAD.under("INTAKE"))
    assert dead is not None
    assert dead.seq == 3
    assert dead.headers["atoll-subject"] == "atoll.v1.tenant.main.intake.mine"
    assert dead.headers["atoll-reason"] == "intake.other_key"


async def test_the_same_key_for_another_manifest_is_refused(gateway: Gateway) -> None:
    async with plain(gateway) as client, working(gateway):
        for nonce in (0, 1):
            body = json.dumps(document(key="order-8", nonce=nonce)).encode()
            await client.jetstream().publish("atoll.v1.intake.order-8", body, headers=JSON)
        await wait_for(lambda: empty(gateway), "everything was worked off")
        event = await outcome(gateway, "order-8")
    assert event.reason is not None
    assert event.reason.code == "job.idempotency"


async def test_what_cannot_be_decided_now_is_tried_again(gateway: Gateway) -> None:
    tries: list[SubmitRequest] = []

    async def away_at_first(request: SubmitRequest, _: Caller) -> JobView:
        tries.append(request)
        if len(tries) == 1:
            raise UnreachableError("the ledger does not answer")
        return await over_nats(gateway, request)

    async with plain(gateway) as client, working(gateway, away_at_first):
        body = json.dumps(document(key="later")).encode()
        await client.jetstream().publish("atoll.v1.intake.later", body, headers=JSON)
        assert (await outcome(gateway, "later")).outcome is SubmissionOutcome.ACCEPTED
        assert len(tries) == 2
        await wait_for(lambda: empty(gateway), "it left the queue")


@pytest.mark.parametrize("error", [InputError("x"), RefusedError("x"), NotFoundError("x")])
async def test_what_will_never_be_taken_leaves_the_queue(
    gateway: Gateway, error: Exception
) -> None:
    async def refuse(_: SubmitRequest, __: Caller) -> JobView:
        raise error

    async with plain(gateway) as client, working(gateway, refuse):
        body = json.dumps(document(key="no")).encode()
        await client.jetstream().publish("atoll.v1.intake.no", body, headers=JSON)
        assert (await outcome(gateway, "no")).outcome is SubmissionOutcome.REFUSED
        await wait_for(lambda: empty(gateway), "it left the queue")
