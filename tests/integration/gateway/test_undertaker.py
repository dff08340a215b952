"""What the bus gives up becomes one dead letter, and its job ends; on a real nats-server."""

import asyncio
import contextlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from atoll.bus import Bus, Delivery, WorkQueue, connect, publish, read_stream
from atoll.bus import dead_letter as dead
from atoll.bus.dead_letter import CUT, LOST, Letter
from atoll.bus.jetstream import api, erase, message_at, purge
from atoll.bus.provision import ensure_consumer
from atoll.computation.manifest import Manifest
from atoll.errors import RefusedError, UnreachableError
from atoll.wire import schema, subjects, topology
from atoll.wire.letters import LetterRequest, LettersRequest, RedriveRequest
from atoll.wire.messages import JobState, SpawnRequest, Tee
from atoll_cli.nats_server import NatsUser
from atoll_gateway import core
from atoll_gateway.adapters import BusOutlet, KvJobs
from atoll_gateway.api import job_id
from atoll_gateway.ledger import Ledger
from atoll_gateway.letters import LetterDesk
from atoll_gateway.undertaker import EXHAUSTED, TERMINATED, Advisory, Undertaker, job_of
from integration.gateway.client import Gateway
from integration.gateway.conftest import gateway_on
from support.gateway import submission
from support.nats import ADMIN, bus_config, running, wait_for

QUEUE = topology.spawn_consumer(Tee.SIMULATED)


async def submitted(gateway: Gateway, key: str = "key") -> str:
    answer = await gateway.post("/v1/jobs", schema.to_plain(submission(key=key), json=True))
    assert answer.status == 201, answer.body
    return str(answer.json["job_id"])


async def exhaust(bus: Bus) -> Delivery:
    """Take the next spawn request as often as the queue gives it, and never settle it."""
    async with WorkQueue(bus, QUEUE) as queue:
        while True:
            delivery = await queue.next()
            await delivery.nak()
            if delivery.is_last:
                break
        # The server notices when it would deliver once more.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(queue.next(), 0.5)
    return delivery


async def kept(bus: Bus) -> list[Letter]:
    stored = read_stream(bus, topology.DEAD.name, subjects.DEAD.wildcard)
    return [Letter.parse(message) async for message in stored]


async def depth(bus: Bus, stream: str) -> int:
    return int((await api(bus, f"STREAM.INFO.{stream}"))["state"]["messages"])


async def advisories(bus: Bus) -> list[Advisory]:
    told = read_stream(bus, topology.ADVISORIES.name, "$JS.EVENT.ADVISORY.>")
    return [Advisory.parse(each.subject, each.payload) async for each in told]


async def until_buried(gateway: Gateway, *, undertakers: int = 1) -> None:
    """Run some until the queue is empty and no advisory is outstanding."""

    async def done() -> bool:
        info = await api(gateway.bus, "CONSUMER.INFO.ADVISORIES.undertaker")
        idle = info["num_pending"] == 0 and info["num_ack_pending"] == 0
        return idle and await depth(gateway.bus, "SPAWN") == 0

    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(Undertaker(gateway.bus, gateway.ledger).run())
            for _ in range(undertakers)
        ]
        await wait_for(done, "everything is buried")
        for task in tasks:
            task.cancel()


@pytest.mark.parametrize("undertakers", [1, 3])
async def test_an_exhausted_request_is_kept_once_and_its_job_ends(
    gateway: Gateway, undertakers: int
) -> None:
    job = await submitted(gateway)
    last = await exhaust(gateway.bus)
    assert await depth(gateway.bus, "SPAWN") == 1, "the server leaves it in the queue"

    await until_buried(gateway, undertakers=undertakers)

    view = await gateway.ledger.get(job)
    assert view.state is JobState.FAILED
    assert view.reason is not None
    assert view.reason.code == "job.undeliverable"
    (letter,) = await kept(gateway.bus)
    assert (letter.stream, letter.sequence) == ("SPAWN", last.stream_seq)
    assert (letter.subject, letter.payload) == (last.subject, last.payload)
    assert (letter.code, letter.deliveries) == (
        EXHAUSTED,
        topology.MAX_ATTEMPTS + topology.SPARE_DELIVERIES,
    )
    assert (letter.message_id, letter.stored) == (f"spawn.{job}", last.stored)
    assert letter.headers == {"traceparent": last.headers["traceparent"]}
    events = read_stream(gateway.bus, "EVENTS", subjects.HISTORY.under(None, "job", job))
    assert [each.subject.rpartition(".")[2] async for each in events] == ["submitted", "failed"]


@pytest.mark.parametrize("done", ["nothing", "kept", "ended", "erased"])
async def test_an_undertaker_goes_on_where_another_died(gateway: Gateway, done: str) -> None:
    job = await submitted(gateway)
    last = await exhaust(gateway.bus)
    message = await message_at(gateway.bus, "SPAWN", last.stream_seq)
    assert message is not None
    letter = Letter.about(message, stream="SPAWN", code=EXHAUSTED, text="", deliveries=5)
    if done != "nothing":
        await dead.keep(gateway.bus, letter)
    if done in {"ended", "erased"}:
        await gateway.ledger.apply(job, core.Undeliverable())
    if done == "erased":
        await purge(gateway.bus, "SPAWN", subjects.SPAWN.wildcard)

    await until_buried(gateway)

    assert (await gateway.ledger.get(job)).state is JobState.FAILED
    assert len(await kept(gateway.bus)) == 1


async def test_a_request_whose_job_has_ended_needs_no_letter(gateway: Gateway) -> None:
    job = await submitted(gateway)
    await exhaust(gateway.bus)
    await gateway.ledger.apply(job, core.CancelRequested())

    await until_buried(gateway)

    assert (await gateway.ledger.get(job)).state is JobState.CANCELLED
    assert await kept(gateway.bus) == []


async def test_a_request_that_is_none_ends_the_job_in_its_message_id(gateway: Gateway) -> None:
    wanted = submission(key="key")
    expected = job_id(Manifest.from_bytes(wanted.agreed.manifest), "key")
    # The bus takes the real request for a repetition of this one.
    await publish(gateway.bus, subjects.SPAWN.of("simulated"), b"\xc1", msg_id=f"spawn.{expected}")
    assert await submitted(gateway) == expected
    await exhaust(gateway.bus)

    await until_buried(gateway)

    assert (await gateway.ledger.get(expected)).state is JobState.FAILED
    (letter,) = await kept(gateway.bus)
    assert letter.payload == b"\xc1"
    assert job_of(replace(letter, message_id="other")) is None
    assert job_of(replace(letter, stream="REPORTS")) is None


async def test_what_a_manager_buried_ends_its_job_too(gateway: Gateway) -> None:
    job = await submitted(gateway)
    async with WorkQueue(gateway.bus, QUEUE) as queue:
        delivery = await queue.next()
        await dead.bury(
            gateway.bus, delivery, stream="SPAWN", error=UnreachableError("no", code="some.code")
        )
    await wait_for(lambda: told(gateway.bus), "the server says so")

    await until_buried(gateway)

    assert (await gateway.ledger.get(job)).state is JobState.FAILED
    (letter,) = await kept(gateway.bus)
    assert letter.code == "some.code"


async def told(bus: Bus) -> bool:
    return len(await advisories(bus)) == 1


async def test_what_was_terminated_without_a_letter_is_seen(gateway: Gateway) -> None:
    await submitted(gateway)
    async with WorkQueue(gateway.bus, QUEUE) as queue:
        await (await queue.next()).term("my.own.reason")
    await wait_for(lambda: told(gateway.bus), "the server says so")

    await until_buried(gateway)

    (letter,) = await kept(gateway.bus)
    assert (letter.code, letter.text, letter.state) == (TERMINATED, "my.own.reason", LOST)


async def test_what_is_gone_because_a_server_forgot_its_acknowledgement_is_no_dead_letter(
    gateway: Gateway,
) -> None:
    consumer = replace(topology.INTAKE_CONSUMER, ack_wait_s=0.5)
    name = consumer.stream
    await api(gateway.bus, f"CONSUMER.DELETE.{name}.{consumer.name}")
    await ensure_consumer(gateway.bus, consumer)
    await publish(gateway.bus, subjects.INTAKE.of("key"), b"taken", msg_id="taken")
    async with WorkQueue(gateway.bus, consumer) as queue:
        await queue.next()
    await erase(gateway.bus, name, 1)
    await wait_for(lambda: told(gateway.bus), "the server says so")

    await until_buried(gateway)

    assert await kept(gateway.bus) == []


async def test_a_lost_advisory_is_made_up_for_at_the_second_look(gateway: Gateway) -> None:
    job = await submitted(gateway)
    await exhaust(gateway.bus)
    await purge(gateway.bus, "ADVISORIES", "$JS.EVENT.ADVISORY.>")
    undertaker = Undertaker(gateway.bus, gateway.ledger)

    await undertaker.look()
    assert await kept(gateway.bus) == [], "once, it may be in the middle of its acknowledgement"
    await undertaker.look()

    assert (await gateway.ledger.get(job)).state is JobState.FAILED
    assert len(await kept(gateway.bus)) == 1
    assert await depth(gateway.bus, "SPAWN") == 0


async def test_a_look_leaves_what_waits_or_is_held(gateway: Gateway) -> None:
    await submitted(gateway, "held")
    await submitted(gateway, "waiting")
    undertaker = Undertaker(gateway.bus, gateway.ledger)
    async with WorkQueue(gateway.bus, QUEUE) as queue:
        await queue.next()
        for _ in range(3):
            await undertaker.look()
    for _ in range(3):
        await undertaker.look()

    assert await kept(gateway.bus) == []
    assert await depth(gateway.bus, "SPAWN") == 2


async def test_no_room_for_a_letter_keeps_the_message(gateway: Gateway) -> None:
    job = await submitted(gateway)
    await exhaust(gateway.bus)
    await api(gateway.bus, "STREAM.UPDATE.DEAD", await config(gateway.bus, max_bytes=1))
    (advisory,) = await advisories(gateway.bus)
    undertaker = Undertaker(gateway.bus, gateway.ledger)
    with pytest.raises(RefusedError) as caught:
        await undertaker.settle(advisory, told=datetime.now(UTC))
    assert caught.value.code == "bus.full"
    assert await depth(gateway.bus, "SPAWN") == 1

    await api(gateway.bus, "STREAM.UPDATE.DEAD", await config(gateway.bus, max_bytes=1 << 20))
    await until_buried(gateway)
    assert (await gateway.ledger.get(job)).state is JobState.FAILED


async def config(bus: Bus, **changes: object) -> dict[str, object]:
    return {**(await api(bus, "STREAM.INFO.DEAD"))["config"], **changes}


async def test_a_queue_made_anew_gets_letters_of_its_own(gateway: Gateway) -> None:
    first = Letter(
        stream="SPAWN",
        subject="atoll.v1.spawn.simulated",
        sequence=1,
        deliveries=1,
        code="a.b",
        stored=datetime(2026, 1, 1, tzinfo=UTC),
        headers={},
        payload=b"one",
        size=3,
    )
    other = replace(first, stored=datetime(2026, 1, 2, tzinfo=UTC), payload=b"two")

    assert await dead.keep(gateway.bus, first)
    assert not await dead.keep(gateway.bus, first)
    assert await dead.keep(gateway.bus, other)
    assert not await dead.keep(gateway.bus, other)
    assert [each.payload for each in await kept(gateway.bus)] == [b"one", b"two"]


async def test_a_message_as_large_as_they_come_is_cut_and_says_so(gateway: Gateway) -> None:
    payload = bytes(gateway.bus.max_payload)
    letter = Letter(
        stream="REPORTS",
        subject="atoll.v1.report.j1",
        sequence=1,
        deliveries=1,
        code="message.malformed",
        stored=datetime.now(UTC),
        headers={},
        payload=payload,
        size=len(payload),
    )
    assert await dead.keep(gateway.bus, letter)
    (found,) = await kept(gateway.bus)
    assert found.state == CUT
    assert 0 < len(found.payload) < len(payload)


async def test_a_job_that_nobody_knows_does_not_hold_up_the_rest(gateway: Gateway) -> None:
    request = SpawnRequest(
        job_id="ghost", tee=Tee.SIMULATED, manifest_digest="0" * 64, expires_ms=1
    )
    await publish(gateway.bus, subjects.SPAWN.of("simulated"), schema.encode(request))
    await exhaust(gateway.bus)
    await until_buried(gateway)
    assert [job_of(each) for each in await kept(gateway.bus)] == ["ghost"]


async def test_the_gateway_s_own_login_is_enough(tmp_path: Path) -> None:
    login = NatsUser(
        name="gateway",
        password="gateway secret",
        publish=topology.may_publish("gateway"),
        subscribe=topology.may_subscribe("gateway"),
        allow_responses=True,
    )
    async with (
        running(tmp_path / "nats", users=(ADMIN, login)) as server,
        gateway_on(server) as here,
        connect(bus_config(server, user=login)) as bus,
    ):
        first = await submitted(here, "first")
        await exhaust(here.bus)
        ledger = Ledger(KvJobs(bus), BusOutlet(bus), lambda: 1_800_000_000_000)
        undertaker = Undertaker(bus, ledger)
        (advisory,) = await advisories(here.bus)
        await undertaker.settle(advisory, told=datetime.now(UTC))
        assert (await here.ledger.get(first)).state is JobState.FAILED

        second = await submitted(here, "second")
        await exhaust(here.bus)
        await undertaker.look()
        await undertaker.look()
        assert (await here.ledger.get(second)).state is JobState.FAILED

        desk = LetterDesk(bus, ledger)
        one, two = (await desk.list(LettersRequest())).letters
        await desk.redrive(RedriveRequest(id=one.id, force=True))
        await desk.drop(LetterRequest(id=two.id))
        assert await kept(here.bus) == []
