"""What a cluster answers while it elects, from a responder that says it on a real server.

Connections with a domain take the bus for a cluster, whose replicas may lag behind the leader.
"""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from atoll.bus import Bus, KeyValue, connect, jetstream, leaders_message, message_at, publish
from atoll.bus.jetstream import api
from atoll.bus.message import Message
from atoll.errors import ConflictError, MessageError, UnreachableError
from atoll_cli.nats_server import EmbeddedNats
from support.nats import bus_config

STREAM = "KV_b"
SUBJECT = "$KV.b.k"
WRITE = f"$JS.d.API.{SUBJECT}"
LEADER = f"$JS.d.API.STREAM.MSG.GET.{STREAM}"
TIME = "2026-01-02T03:04:05.678901234Z"
CONFLICT = {"error": {"code": 400, "err_code": 10071, "description": "wrong last sequence: 7"}}


def refusal(number: int, status: int) -> bytes:
    return json.dumps({"error": {"code": status, "err_code": number, "description": "so"}}).encode()


class Responder:
    """Answers requests to a subject with prepared replies, the last one again and again."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.asked: list[Message] = []

    async def on(self, subject: str, *answers: Any) -> None:
        left = list(answers)

        async def answer(message: Message) -> None:
            self.asked.append(message)
            reply = left.pop(0) if len(left) > 1 else left[0]
            payload, headers = reply if isinstance(reply, tuple) else (reply, None)
            await self._bus.send(message.reply, payload, headers=headers)

        await self._bus.subscribe(subject, answer)


@pytest_asyncio.fixture
async def far(nats_server: EmbeddedNats) -> AsyncIterator[Bus]:
    """A connection to a domain where only the responder answers."""
    async with connect(bus_config(nats_server, domain="d")) as connected:
        yield connected


@pytest_asyncio.fixture
async def responder(nats_server: EmbeddedNats) -> AsyncIterator[Responder]:
    async with connect(bus_config(nats_server)) as connected:
        yield Responder(connected)


def told(seq: int, msg_id: str) -> bytes:
    """The leader's answer: what it stores."""
    headers = base64.b64encode(f"NATS/1.0\r\nNats-Msg-Id: {msg_id}\r\n\r\n".encode()).decode()
    message = {"subject": SUBJECT, "seq": seq, "hdrs": headers, "data": "dg==", "time": TIME}
    return json.dumps({"message": message}).encode()


@pytest.mark.parametrize(("number", "status"), [(10008, 503), (10009, 500), (10158, 409)])
async def test_publishes_again_under_the_same_id_until_there_is_a_leader(
    far: Bus, responder: Responder, number: int, status: int
) -> None:
    await responder.on("e.a", refusal(number, status), b'{"stream":"E","seq":3}')
    assert (await publish(far, "e.a", b"x")).seq == 3
    assert len({message.headers["Nats-Msg-Id"] for message in responder.asked}) == 1
    assert len(responder.asked) == 2


async def test_gives_up_when_there_is_no_leader_in_time(far: Bus, responder: Responder) -> None:
    await responder.on("e.b", refusal(10008, 503))
    with pytest.raises(UnreachableError) as caught:
        await publish(far, "e.b", b"x", timeout_s=0.5)
    assert caught.value.code == "bus.unreachable"


async def test_asks_the_api_again_until_there_is_a_leader(far: Bus, responder: Responder) -> None:
    await responder.on("$JS.d.API.STREAM.INFO.S", refusal(10008, 503), b'{"config":{}}')
    assert await api(far, "STREAM.INFO.S") == {"config": {}}


async def test_a_won_compare_and_set_is_found_when_the_leader_shows_it(
    far: Bus, responder: Responder
) -> None:
    """The first answer was lost; the second says conflict, with what is not confirmed yet. Then
    another leads, which has not even what we read."""
    ours = "ours"
    await responder.on(WRITE, json.dumps(CONFLICT).encode())
    await responder.on(LEADER, told(5, "before"), told(3, "older yet"), told(7, ours))
    ack = await publish(
        far,
        WRITE,
        b"v",
        msg_id=ours,
        expected_last_subject_seq=5,
        stream=STREAM,
        stored_on=SUBJECT,
    )
    assert (ack.seq, ack.duplicate) == (7, True)


async def test_a_lost_compare_and_set_is_a_conflict(far: Bus, responder: Responder) -> None:
    await responder.on(WRITE, json.dumps(CONFLICT).encode())
    await responder.on(LEADER, told(7, "another's"))
    with pytest.raises(ConflictError):
        await KeyValue(far, "b").update("k", b"v", revision=5)


async def test_a_conflict_with_what_never_shows_is_no_answer(
    far: Bus, responder: Responder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jetstream, "CONFIRMED_S", 0.2)
    await responder.on(WRITE, json.dumps(CONFLICT).encode())
    await responder.on(LEADER, told(5, "before"))
    with pytest.raises(UnreachableError) as caught:
        await KeyValue(far, "b").update("k", b"v", revision=5)
    assert caught.value.code == "bus.unconfirmed"


async def test_reads_what_the_leader_has(far: Bus, responder: Responder) -> None:
    message = {
        "subject": SUBJECT,
        "seq": 9,
        "hdrs": base64.b64encode(b"NATS/1.0\r\nA: one\r\nB:two\r\n\r\n").decode(),
        "data": base64.b64encode(b"value").decode(),
        "time": TIME,
    }
    await responder.on(LEADER, refusal(10008, 503), json.dumps({"message": message}).encode())
    found = await leaders_message(far, STREAM, SUBJECT)
    assert found is not None
    assert (found.seq, found.payload, found.headers) == (9, b"value", {"A": "one", "B": "two"})
    assert json.loads(responder.asked[0].payload) == {"last_by_subj": SUBJECT}


async def test_nothing_there_is_not_an_error_and_no_stream_is_unreachable(
    far: Bus, responder: Responder
) -> None:
    await responder.on(LEADER, refusal(10037, 404))
    assert await leaders_message(far, STREAM, SUBJECT) is None
    assert await message_at(far, STREAM, 3) is None
    with pytest.raises(UnreachableError):
        await api(far, "STREAM.INFO.NONE", timeout_s=0.3)


@pytest.mark.parametrize(
    "message",
    [
        None,
        [],
        {},
        {"seq": "x", "subject": "s", "time": TIME},
        {"seq": 1, "subject": "s", "time": "yesterday"},
        {"seq": 1, "subject": "s", "time": TIME, "data": "!"},
        {"seq": 1, "subject": "s", "time": TIME, "hdrs": base64.b64encode(b"HTTP\r\n").decode()},
        {"seq": 1, "subject": "s", "time": TIME, "hdrs": "/w=="},
        {"seq": 1, "subject": "s", "time": TIME, "data": 3},
    ],
)
async def test_a_leader_that_says_something_else_is_named(
    far: Bus, responder: Responder, message: object
) -> None:
    await responder.on(LEADER, json.dumps({"message": message}).encode())
    with pytest.raises(MessageError):
        await leaders_message(far, STREAM, SUBJECT)
