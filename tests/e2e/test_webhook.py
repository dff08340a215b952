"""A webhook of a real stack, from the command to the receiver and back."""

import asyncio

import pytest

from atoll.errors import RefusedError
from e2e.test_closed_bus import refused
from support import wat
from support.client import drafted, party, see_through
from support.nats import wait_for
from support.receiver import Receiver, status
from support.stack import Stack


async def test_a_job_is_told_to_whoever_registered_an_address(stack: Stack) -> None:
    async with stack.client() as client, Receiver() as receiver:
        hook = stack.atoll(
            "webhook", "add", receiver.url, "--type", "job.completed", "--json"
        ).document()
        name = hook["webhook_id"]
        assert stack.atoll("webhook", "list", "--json").document()["webhooks"][0]["url"]
        assert hook["secret"] not in stack.atoll("webhook", "show", name, "--json").out

        draft = await drafted(client, party(), wat.echo())
        events = await see_through(client, draft)
        await wait_for(lambda: len(receiver.received) == 1, "its end was told")
        (told,) = receiver.received
        assert told.headers["webhook-id"] == f"{events[-1].job_id}.{events[-1].seq}"
        assert told.event["type"] == "atoll.job.completed.v1"
        assert told.signed_by(hook["secret"])
        assert stack.atoll("webhook", "remove", name).status == 0
        assert stack.atoll("webhook", "show", name).status == 1
    assert hook["secret"].encode() not in b"".join(
        path.read_bytes() for path in (stack.data_dir / "jetstream").rglob("*") if path.is_file()
    )


async def test_a_test_says_what_the_receiver_answered(stack: Stack) -> None:
    answers = iter([status(204), status(500)])
    async with Receiver(answer=lambda _: next(answers)) as receiver:
        name = stack.atoll("webhook", "add", receiver.url, "--json").document()["webhook_id"]
        taken = await asyncio.to_thread(stack.atoll, "webhook", "test", name, "--json")
        assert taken.document() == {"status": 204, "error": ""}
        assert receiver.received[0].event["type"] == "atoll.webhook.test.v1"
        failed = await asyncio.to_thread(stack.atoll, "webhook", "test", name, "--json")
        assert failed.status == 1
        assert failed.document()["error"]["code"] == "webhook.status"
        assert stack.atoll("webhook", "remove", name).status == 0


async def test_only_gateways_order_deliveries_or_write_registrations(stack: Stack) -> None:
    for role in ("client", "manager", "attestor"):
        async with stack.bus(role) as bus:
            for subject in ("atoll.v1.delivery.w1", "$KV.webhooks.hook.w1", "$KV.webhooks.place"):
                assert await refused(bus, subject), (role, subject)
    with pytest.raises(RefusedError):
        async with stack.bus("manager") as bus:
            await bus.request("atoll.v1.webhooks.list", b"\x80", timeout_s=3.0)
