"""Publishing and reading in order through restarts; on a real nats-server."""

import asyncio
import contextlib

import pytest

from atoll.bus import (
    Bus,
    StreamMessage,
    connect,
    last_message,
    message_at,
    provision,
    publish,
    read_stream,
)
from atoll.errors import ConflictError, InputError, NotFoundError, RefusedError, UnreachableError
from atoll.wire.topology_types import Bucket, Consumer, Stream
from atoll_cli.nats_server import EmbeddedNats
from support.nats import bus_config, kill, restart, wait_for


def stream(name: str, **changes: object) -> Stream:
    fields: dict[str, object] = {
        "name": name, "subjects": (f"{name}.>",), "max_bytes": 64 << 20,
    }  # fmt: skip
    return Stream(**{**fields, **changes})  # type: ignore[arg-type]


async def collect(bus: Bus, name: str, start_seq: int = 1) -> list[StreamMessage]:
    return [message async for message in read_stream(bus, name, f"{name}.>", start_seq=start_seq)]


async def test_reads_what_was_published_in_order(bus: Bus) -> None:
    await provision(bus, streams=[stream("order")])
    for number in range(600):
        await publish(bus, f"order.{number % 3}", str(number).encode(), headers={"n": "x"})
    messages = await collect(bus, "order")
    assert [message.payload for message in messages] == [str(n).encode() for n in range(600)]
    assert [message.seq for message in messages] == list(range(1, 601))
    assert messages[4].subject == "order.1"
    assert messages[4].headers["n"] == "x"
    assert messages[-1].pending == 0


async def test_reads_from_a_sequence_and_by_subject(bus: Bus) -> None:
    await provision(bus, streams=[stream("part")])
    for number in range(6):
        await publish(bus, f"part.{number % 2}", b"")
    assert [message.seq for message in await collect(bus, "part", start_seq=4)] == [4, 5, 6]
    odd = [message.seq async for message in read_stream(bus, "part", "part.1")]
    assert odd == [2, 4, 6]
    assert await collect(bus, "part", start_seq=7) == []


async def test_a_missing_stream_is_not_found(bus: Bus) -> None:
    with pytest.raises(NotFoundError):
        await collect(bus, "nowhere")


async def test_the_same_message_id_is_stored_once(bus: Bus) -> None:
    await provision(bus, streams=[stream("dedup")])
    first = await publish(bus, "dedup.x", b"1", msg_id="a")
    second = await publish(bus, "dedup.x", b"1", msg_id="a")
    assert not first.duplicate
    assert second.duplicate
    assert second.seq == first.seq
    assert len(await collect(bus, "dedup")) == 1


async def test_publishing_on_condition_loses_when_somebody_was_faster(bus: Bus) -> None:
    await provision(bus, streams=[stream("cas")])
    ack = await publish(bus, "cas.x", b"1", expected_last_subject_seq=0)
    await publish(bus, "cas.x", b"2", expected_last_subject_seq=ack.seq)
    with pytest.raises(ConflictError) as caught:
        await publish(bus, "cas.x", b"3", expected_last_subject_seq=ack.seq)
    assert caught.value.code == "bus.conflict"


async def test_a_full_stream_refuses_instead_of_forgetting(bus: Bus) -> None:
    await provision(bus, streams=[stream("full", max_bytes=2000)])
    await publish(bus, "full.x", bytes(1000))
    with pytest.raises(RefusedError) as caught:
        await publish(bus, "full.x", bytes(1000))
    assert caught.value.code == "bus.full"


async def test_a_message_larger_than_the_stream_takes_is_refused(bus: Bus) -> None:
    await provision(bus, streams=[stream("small", max_msg_size=100)])
    with pytest.raises(InputError) as caught:
        await publish(bus, "small.x", bytes(101))
    assert caught.value.code == "bus.too_large"


async def test_a_subject_without_stream_is_unreachable(bus: Bus) -> None:
    with pytest.raises(UnreachableError) as caught:
        await publish(bus, "no.stream.here", b"", timeout_s=0.3)
    assert caught.value.code == "bus.no_responders"


async def test_the_newest_message_by_subject_filter_and_sequence(bus: Bus) -> None:
    await provision(bus, streams=[stream("last")])
    assert await last_message(bus, "last", "last.a") is None
    await publish(bus, "last.a", b"1", headers={"k": "v"})
    await publish(bus, "last.b", b"2")
    message = await last_message(bus, "last", "last.a")
    assert message is not None
    assert (message.seq, message.payload, message.headers["k"]) == (1, b"1", "v")
    newest = await last_message(bus, "last", "last.*")
    assert newest is not None
    assert newest.subject == "last.b"
    second = await message_at(bus, "last", 2)
    assert second is not None
    assert second.payload == b"2"
    assert await message_at(bus, "last", 99) is None


async def test_provisioning_again_changes_only_what_differs(bus: Bus) -> None:
    await provision(bus, streams=[stream("again")], buckets=[Bucket(name="again")])
    await publish(bus, "again.x", b"kept")
    await provision(bus, streams=[stream("again", max_bytes=1 << 20, description="new")])
    await provision(bus, streams=[stream("again", max_bytes=1 << 20, description="new")])
    assert len(await collect(bus, "again")) == 1


async def test_refuses_to_change_what_cannot_change(bus: Bus) -> None:
    await provision(bus, streams=[stream("fixed")])
    for changes in ({"retention": "workqueue"}, {"storage": "memory"}):
        with pytest.raises(ConflictError) as caught:
            await provision(bus, streams=[stream("fixed", **changes)])
        assert caught.value.code == "bus.incompatible"
    with pytest.raises(ConflictError) as caught:
        await provision(bus, streams=[stream("overlap", subjects=("fixed.>",))])
    assert caught.value.code == "bus.incompatible"


async def test_two_may_provision_at_once(nats_server: EmbeddedNats) -> None:
    async with connect(bus_config(nats_server)) as one, connect(bus_config(nats_server)) as two:
        consumer = Consumer(stream="race", name="c")
        await asyncio.gather(
            provision(one, streams=[stream("race")], consumers=[consumer]),
            provision(two, streams=[stream("race")], consumers=[consumer]),
        )
        assert await collect(one, "race") == []


async def test_publishing_through_restarts_stores_each_message_once(
    nats_server: EmbeddedNats,
) -> None:
    async with connect(bus_config(nats_server)) as bus:
        await provision(bus, streams=[stream("once")])
        published = 0

        async def produce(worker: int) -> None:
            nonlocal published
            for number in range(150):
                await publish(bus, "once.x", f"{worker}-{number}".encode(), timeout_s=30)
                published += 1

        async with asyncio.TaskGroup() as group:
            for worker in range(4):
                group.create_task(produce(worker))
            for threshold in (100, 300):
                await wait_for(lambda at=threshold: published >= at, "some are published")
                await restart(nats_server)
        payloads = [message.payload for message in await collect(bus, "once")]
    assert len(payloads) == 600
    assert len(set(payloads)) == 600


async def test_following_through_restarts_misses_and_repeats_nothing(
    nats_server: EmbeddedNats,
) -> None:
    async with connect(bus_config(nats_server)) as bus:
        await provision(bus, streams=[stream("follow")])
        seen: list[int] = []

        async def follow() -> None:
            reader = read_stream(bus, "follow", "follow.>", follow=True)
            async with contextlib.aclosing(reader) as messages:
                async for message in messages:
                    seen.append(int(message.payload))
                    if len(seen) == 400:
                        return

        async with asyncio.TaskGroup() as group:
            reading = group.create_task(follow())
            for number in range(400):
                if number in (100, 250):
                    await restart(nats_server)
                await publish(bus, "follow.x", str(number).encode(), timeout_s=30)
            await asyncio.wait_for(reading, 30)
    assert seen == list(range(400))


async def test_a_reader_that_does_not_follow_survives_a_restart(nats_server: EmbeddedNats) -> None:
    async with connect(bus_config(nats_server)) as bus:
        await provision(bus, streams=[stream("long")])
        for number in range(700):
            await publish(bus, "long.x", str(number).encode())
        seen = []
        async for message in read_stream(bus, "long", "long.>"):
            seen.append(int(message.payload))
            if len(seen) == 10:
                await restart(nats_server)
        assert seen == list(range(700))


async def test_leaving_early_leaves_no_consumer_behind(bus: Bus) -> None:
    await provision(bus, streams=[stream("early")])
    for _ in range(3):
        await publish(bus, "early.x", b"")
    async with contextlib.aclosing(read_stream(bus, "early", "early.>", follow=True)) as messages:
        async for _ in messages:
            break

    async def gone() -> bool:
        names = await bus.request("$JS.API.CONSUMER.NAMES.early", b"")
        return b'"total":0' in names.payload

    await wait_for(gone, "the consumer is deleted")


async def test_a_deleted_consumer_is_replaced(bus: Bus) -> None:
    await provision(bus, streams=[stream("lost")])
    await publish(bus, "lost.x", b"1")
    async with contextlib.aclosing(read_stream(bus, "lost", "lost.>", follow=True)) as messages:
        assert (await anext(messages)).payload == b"1"
        listing = (await bus.request("$JS.API.CONSUMER.NAMES.lost", b"")).payload
        name = listing.split(b'"consumers":["')[1].split(b'"')[0].decode()
        await bus.request(f"$JS.API.CONSUMER.DELETE.lost.{name}", b"")
        await publish(bus, "lost.x", b"2")
        assert (await asyncio.wait_for(anext(messages), 10)).payload == b"2"


async def test_publishing_gives_up_when_the_server_stays_away(nats_server: EmbeddedNats) -> None:
    async with connect(bus_config(nats_server)) as bus:
        await provision(bus, streams=[stream("away")])
        await kill(nats_server)
        with pytest.raises(UnreachableError) as caught:
            await publish(bus, "away.x", b"", timeout_s=0.5)
        assert caught.value.code == "bus.unreachable"
