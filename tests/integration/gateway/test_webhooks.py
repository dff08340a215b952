"""Webhooks over a real bus and real connections: signed, retried, bounded, and never inside."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from atoll.bus import KeyValue, last_message
from atoll.errors import InputError, NotFoundError, RefusedError, UnreachableError
from atoll.wire import schema, subjects, topology
from atoll.wire.messages import ReportKind
from atoll.wire.webhooks import (
    DeliveryOrder,
    Webhook,
    WebhookAdded,
    WebhookAddRequest,
    WebhookListRequest,
    WebhookRequest,
)
from atoll_gateway.http.sources import BusEvents
from atoll_gateway.webhooks import dispatcher, retrying, worker
from atoll_gateway.webhooks.address import AddressRules
from atoll_gateway.webhooks.sender import Sender
from atoll_gateway.webhooks.wired import Webhooks
from integration.gateway.client import Gateway
from support.gateway import submission
from support.nats import wait_for
from support.receiver import Receiver, status

NOW_MS = 1_800_000_000_000
HOME = AddressRules(loopback=True)


def webhooks(gateway: Gateway, *, now_ms: int = NOW_MS, rules: AddressRules = HOME) -> Webhooks:
    events = BusEvents(gateway.bus)
    return Webhooks(gateway.bus, events=events, key=bytes(32), rules=rules, clock=lambda: now_ms)


@asynccontextmanager
async def running(*gateways: Webhooks) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        loops = [tasks.create_task(loop) for each in gateways for loop in each.loops()]
        yield
        for loop in loops:
            loop.cancel()


async def added(hooks: Webhooks, url: str, **options: Any) -> WebhookAdded:
    return await hooks.api.add(WebhookAddRequest(url=url, **options))


async def job(gateway: Gateway, key: str = "key-1") -> str:
    """A job that happened: submitted, scheduled, completed."""
    answer = await gateway.post("/v1/jobs", schema.to_plain(submission(key=key), json=True))
    job_id: str = answer.json["job_id"]
    await gateway.report(job_id, ReportKind.LEASED)
    await gateway.report(job_id, ReportKind.FINISHED)
    return job_id


async def nothing_waits(gateway: Gateway) -> bool:
    pattern = subjects.DELIVERY.wildcard
    return await last_message(gateway.bus, topology.DELIVERIES.name, pattern) is None


async def test_each_event_comes_once_signed_however_many_gateways_there_are(
    gateway: Gateway,
) -> None:
    one, two = webhooks(gateway), webhooks(gateway)
    async with Receiver() as receiver, running(one, two):
        hook = await added(one, receiver.url)
        job_id = await job(gateway)
        await wait_for(lambda: len(receiver.received) >= 3, "all three events came")
        await wait_for(lambda: nothing_waits(gateway), "nothing waits")
    assert len(receiver.received) == 3
    ids = {each.headers["webhook-id"]: each for each in receiver.received}
    assert set(ids) == {f"{job_id}.{seq}" for seq in (1, 2, 3)}
    for name, each in ids.items():
        assert each.line == "POST /hook HTTP/1.1"
        assert each.headers["content-type"] == "application/cloudevents+json"
        assert each.event["id"] == name
        assert each.signed_by(hook.secret)
        assert not each.signed_by("whsec_" + "A" * 43 + "=")


async def test_only_what_was_asked_for_and_nothing_from_before(gateway: Gateway) -> None:
    hooks = webhooks(gateway)
    before = await job(gateway, "before")
    async with Receiver() as receiver, running(hooks):
        await added(hooks, receiver.url, types=("job.completed",))
        job_id = await job(gateway, "after")
        await added(hooks, receiver.url, job_id=before)
        other = await job(gateway, "another")
        await wait_for(lambda: len(receiver.received) >= 2, "both ends were told")
        await wait_for(lambda: nothing_waits(gateway), "nothing waits")
    assert sorted(each.headers["webhook-id"] for each in receiver.received) == sorted(
        [f"{job_id}.3", f"{other}.3"]
    )


async def test_what_failed_is_tried_again_with_the_same_id(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "FIRST_S", 0.05)
    answers = iter([status(500), status(302), b"", b"nonsense\r\n\r\n", status(200)])
    hooks = webhooks(gateway)
    async with Receiver(answer=lambda _: next(answers)) as receiver, running(hooks):
        await added(hooks, receiver.url, types=("job.completed",))
        job_id = await job(gateway)
        await wait_for(lambda: len(receiver.received) == 5, "it was tried until it was taken")
        await wait_for(lambda: nothing_waits(gateway), "nothing waits")
    assert {each.headers["webhook-id"] for each in receiver.received} == {f"{job_id}.3"}


async def test_gone_disables(gateway: Gateway) -> None:
    hooks = webhooks(gateway)
    async with Receiver(answer=lambda _: status(410)) as receiver, running(hooks):
        hook = await added(hooks, receiver.url, types=("job.submitted",))
        await job(gateway, "a")
        wanted = WebhookRequest(webhook_id=hook.webhook.webhook_id)

        async def disabled() -> bool:
            return (await hooks.api.get(wanted)).disabled == "webhook.gone"

        await wait_for(disabled, "it was disabled")
        await job(gateway, "b")
        await wait_for(lambda: nothing_waits(gateway), "nothing waits")
    assert len(receiver.received) == 1


async def test_after_a_day_it_is_kept_as_dead(gateway: Gateway) -> None:
    async with Receiver(answer=lambda _: status(503)) as receiver:
        young = webhooks(gateway)
        hook = await added(young, receiver.url)
        events = [told async for told in await history(gateway)]
        await dispatcher.order(
            gateway.bus, hook.webhook.webhook_id, events[0], now_ms=NOW_MS - 86_400_000
        )
        async with running(young):
            await wait_for(lambda: nothing_waits(gateway), "it was given up")
    dead = await last_message(
        gateway.bus, topology.DEAD.name, subjects.DEAD.under(topology.DELIVERIES.name)
    )
    assert dead is not None
    assert dead.headers["atoll-reason"] == "webhook.status_503"
    assert schema.decode(DeliveryOrder, dead.payload).webhook_id == hook.webhook.webhook_id


async def history(gateway: Gateway) -> Any:
    await job(gateway)
    return BusEvents(gateway.bus).of_all(after=0, follow=False)


async def test_an_address_inside_is_not_called_even_when_its_name_was_fine(
    gateway: Gateway,
) -> None:
    """The rules hold at every call, for what the name resolves to then."""
    async with Receiver() as receiver:
        hook = await added(webhooks(gateway), receiver.url)
        strict = webhooks(gateway, rules=AddressRules())
        wanted = WebhookRequest(webhook_id=hook.webhook.webhook_id)
        assert (await strict.api.test(wanted)).error == "webhook.url"

        async def inside(_: str, __: int) -> list[str]:
            return ["169.254.169.254"]

        sender = Sender(AddressRules(), resolve=inside)
        with pytest.raises(RefusedError) as caught:
            await sender.post("https://example.org/", {}, b"{}")
        assert caught.value.code == "webhook.address"
    assert receiver.received == []


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 20", b"HTTP/2 200 OK\r\n", b"200 OK\r\n", b"X" * 100_000, b"\xff\r\n"],
)
async def test_an_answer_that_is_none_is_a_failure(answer: bytes) -> None:
    async with Receiver(answer=lambda _: answer) as receiver:
        with pytest.raises(UnreachableError):
            await Sender(HOME).post(receiver.url, {}, b"{}")


async def test_interim_answers_are_read_over_but_not_for_ever() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    async with Receiver(answer=lambda _: hints + status(202)) as receiver:
        assert await Sender(HOME).post(receiver.url, {}, b"{}") == 202
    async with Receiver(answer=lambda _: hints * 100 + status(202)) as receiver:
        with pytest.raises(UnreachableError):
            await Sender(HOME).post(receiver.url, {}, b"{}")


async def test_who_does_not_answer_in_time_failed() -> None:
    async with Receiver(silent=True) as receiver:
        with pytest.raises(UnreachableError):
            await Sender(HOME, timeout_s=0.2).post(receiver.url, {}, b"{}")


async def test_the_bucket_does_not_give_a_secret_away(gateway: Gateway) -> None:
    hooks = webhooks(gateway)
    hook = await added(hooks, "https://example.org/")
    entry = await KeyValue(gateway.bus, topology.WEBHOOKS).get(f"hook.{hook.webhook.webhook_id}")
    assert entry is not None
    assert entry.value is not None
    assert hook.secret.encode() not in entry.value
    assert schema.decode(Webhook, entry.value).url == "https://example.org/"
    listed = (await hooks.api.list(WebhookListRequest())).webhooks
    assert listed == (hook.webhook,)
    assert hook.secret not in str(schema.to_plain(listed[0]))


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"url": "http://example.org/"}, "webhook.url"),
        ({"url": "https://user@example.org/"}, "webhook.url"),
        ({"url": "https://example.org/", "types": ("job.finished",)}, "webhook.type"),
        ({"url": "https://example.org/", "secret": "whsec_" + "A" * 89}, "webhook.secret"),
    ],
)
async def test_refuses_a_registration_that_cannot_work(
    gateway: Gateway, options: dict[str, Any], code: str
) -> None:
    with pytest.raises(InputError) as caught:
        await webhooks(gateway).api.add(WebhookAddRequest(**options))
    assert caught.value.code == code


async def test_a_removed_one_is_gone_and_what_waits_for_it_too(gateway: Gateway) -> None:
    hooks = webhooks(gateway)
    async with Receiver() as receiver:
        hook = await added(hooks, receiver.url)
        wanted = WebhookRequest(webhook_id=hook.webhook.webhook_id)
        events = [told async for told in await history(gateway)]
        await dispatcher.order(gateway.bus, wanted.webhook_id, events[0], now_ms=NOW_MS)
        await hooks.api.remove(wanted)
        with pytest.raises(NotFoundError):
            await hooks.api.get(wanted)
        async with running(hooks):
            await wait_for(lambda: nothing_waits(gateway), "nothing waits")
    assert receiver.received == []


async def test_there_is_room_for_a_bounded_number(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atoll_gateway.webhooks.api.MAX_HOOKS", 2)
    hooks = webhooks(gateway)
    for _ in range(2):
        await added(hooks, "https://example.org/")
    with pytest.raises(RefusedError) as caught:
        await added(hooks, "https://example.org/")
    assert caught.value.code == "webhook.too_many"


async def test_a_slow_one_leaves_room_for_the_others(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "CROWDED_S", 0.05)
    hooks = webhooks(gateway)
    async with Receiver(silent=True) as slow, Receiver() as receiver, running(hooks):
        await added(hooks, slow.url)
        await added(hooks, receiver.url)
        for number in range(8):
            await job(gateway, f"key-{number}")
        # 24 events, of which no more than four at a time wait for the slow one.
        await wait_for(lambda: len(receiver.received) == 24, "the other one got everything")


async def test_the_same_over_http(gateway: Gateway) -> None:
    made = await gateway.post("/v1/webhooks", {"url": "https://example.org/", "types": []})
    assert made.status == 201
    view, secret = made.json["webhook"], made.json["secret"]
    assert secret.startswith("whsec_")
    assert (await gateway.call("GET", "/v1/webhooks")).json == {"webhooks": [view]}
    place = f"/v1/webhooks/{view['webhook_id']}"
    assert (await gateway.call("GET", place)).json == view
    assert (await gateway.call("DELETE", place)).json == view
    assert (await gateway.call("GET", place)).json["code"] == "webhook.not_found"
    refused = await gateway.post("/v1/webhooks", {"url": "http://127.0.0.1/"})
    assert (refused.status, refused.json["code"]) == (400, "webhook.url")
