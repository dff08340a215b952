"""Work queues: hold, settle, hand back, redeliver; on a real nats-server."""

import asyncio
import contextlib

import pytest

from atoll.bus import Bus, Delivery, Message, WorkQueue, connect, provision, publish
from atoll.errors import NotFoundError, UnreachableError
from atoll.wire.topology_types import Consumer, Stream
from atoll_cli.nats_server import EmbeddedNats
from support.nats import bus_config, kill, restart, wait_for


async def queue_of(bus: Bus, name: str, **changes: object) -> Consumer:
    fields: dict[str, object] = {"stream": name, "name": "workers", "ack_wait_s": 30.0}
    consumer = Consumer(**{**fields, **changes})  # type: ignore[arg-type]
    stream = Stream(name=name, subjects=(f"{name}.>",), retention="workqueue", max_bytes=16 << 20)
    await provision(bus, streams=[stream], consumers=[consumer])
    return consumer


async def stored(bus: Bus, name: str) -> int:
    info = await bus.request(f"$JS.API.STREAM.INFO.{name}", b"")
    return int(info.payload.split(b'"messages":')[1].split(b",")[0])


async def test_an_acknowledged_message_is_gone(bus: Bus) -> None:
    consumer = await queue_of(bus, "acked")
    await publish(bus, "acked.x", b"work", headers={"k": "v"})
    async with WorkQueue(bus, consumer) as queue:
        delivery = await queue.next()
        assert (delivery.payload, delivery.subject) == (b"work", "acked.x")
        assert delivery.headers["k"] == "v"
        assert (delivery.num_delivered, delivery.stream_seq) == (1, 1)
        await delivery.ack()
    assert await stored(bus, "acked") == 0


async def test_a_refused_message_comes_again(bus: Bus) -> None:
    consumer = await queue_of(bus, "naked", max_deliver=2)
    await publish(bus, "naked.x", b"work")
    async with WorkQueue(bus, consumer) as queue:
        first = await queue.next()
        assert not first.is_last
        await first.nak()
        second = await queue.next()
        assert (second.num_delivered, second.is_last) == (2, True)
        await second.ack()


async def test_what_failed_waits_as_its_consumer_says(bus: Bus) -> None:
    consumer = await queue_of(bus, "failed", max_deliver=3, retry_s=(0.0, 60.0))
    await publish(bus, "failed.x", b"work")
    async with WorkQueue(bus, consumer) as queue:
        await (await queue.next()).retry()
        second = await asyncio.wait_for(queue.next(), 10)
        assert second.num_delivered == 2
        await second.retry()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queue.next(), 0.5)


async def test_a_terminated_message_never_comes_again(bus: Bus) -> None:
    consumer = await queue_of(bus, "termed")
    await publish(bus, "termed.x", b"poison")
    await publish(bus, "termed.x", b"good")
    async with WorkQueue(bus, consumer) as queue:
        await (await queue.next()).term("bad\r\nreason")
        delivery = await queue.next()
        assert delivery.payload == b"good"
        await delivery.ack()
    assert await stored(bus, "termed") == 0


async def test_settling_twice_does_nothing(bus: Bus) -> None:
    consumer = await queue_of(bus, "twice")
    await publish(bus, "twice.x", b"")
    async with WorkQueue(bus, consumer) as queue:
        delivery = await queue.next()
        await delivery.ack()
        await delivery.ack()
        await delivery.nak()
        await delivery.term("x")
    assert await stored(bus, "twice") == 0


async def test_nothing_is_fetched_ahead(bus: Bus) -> None:
    consumer = await queue_of(bus, "ahead")
    for number in range(3):
        await publish(bus, "ahead.x", str(number).encode())
    async with WorkQueue(bus, consumer) as one, WorkQueue(bus, consumer) as two:
        held = await one.next()
        others = [await two.next(), await two.next()]
        assert [held.payload, *(d.payload for d in others)] == [b"0", b"1", b"2"]
        for delivery in (held, *others):
            await delivery.ack()


async def test_a_held_message_is_not_redelivered_while_work_goes_on(bus: Bus) -> None:
    consumer = await queue_of(bus, "held", ack_wait_s=0.3)
    await publish(bus, "held.x", b"long")
    async with WorkQueue(bus, consumer) as one, WorkQueue(bus, consumer) as two:
        delivery = await one.next()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(two.next(), 1.0)
        await delivery.ack()
    assert await stored(bus, "held") == 0


async def test_the_end_hands_held_messages_back_at_once(bus: Bus) -> None:
    consumer = await queue_of(bus, "back", ack_wait_s=60.0)
    await publish(bus, "back.x", b"work")
    async with WorkQueue(bus, consumer) as queue:
        await queue.next()
    async with WorkQueue(bus, consumer) as queue:
        delivery = await asyncio.wait_for(queue.next(), 10)
        assert delivery.num_delivered == 2
        await delivery.ack()


async def test_a_cancelled_wait_keeps_no_message(bus: Bus) -> None:
    consumer = await queue_of(bus, "cancel", ack_wait_s=60.0, max_deliver=50)
    async with WorkQueue(bus, consumer) as queue:
        for _ in range(5):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(queue.next(), 0.02)
        await publish(bus, "cancel.x", b"work")
        delivery = await asyncio.wait_for(queue.next(), 10)
        assert delivery.payload == b"work"
        await delivery.ack()


async def test_several_tasks_may_wait_at_once(bus: Bus) -> None:
    consumer = await queue_of(bus, "several")
    done: list[bytes] = []
    async with WorkQueue(bus, consumer) as queue:

        async def work() -> None:
            async for delivery in queue:
                done.append(delivery.payload)
                await delivery.ack()
                if len(done) >= 30:
                    return

        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(work()) for _ in range(3)]
            for number in range(30):
                await publish(bus, "several.x", str(number).encode())
            await asyncio.wait(workers, return_when=asyncio.FIRST_COMPLETED)
            for worker in workers:
                worker.cancel()
    assert sorted(done, key=int) == [str(number).encode() for number in range(30)]


async def test_a_missing_consumer_is_not_found(bus: Bus) -> None:
    await queue_of(bus, "some")
    async with WorkQueue(bus, Consumer(stream="some", name="nobody")) as queue:
        with pytest.raises(NotFoundError):
            await queue.next()


async def test_the_message_of_a_dead_process_is_redelivered(nats_server: EmbeddedNats) -> None:
    async with connect(bus_config(nats_server)) as bus:
        consumer = await queue_of(bus, "dead", ack_wait_s=0.5)
        await publish(bus, "dead.x", b"work")
        # A process that dies says nothing: take the message by hand and forget it.
        taken: asyncio.Queue[bytes] = asyncio.Queue()
        inbox = bus.new_inbox()

        async def take(message: Message) -> None:
            taken.put_nowait(message.payload)

        await bus.subscribe(inbox, take)
        await bus.send("$JS.API.CONSUMER.MSG.NEXT.dead.workers", b"1", reply=inbox)
        assert await taken.get() == b"work"
        async with WorkQueue(bus, consumer) as queue:
            delivery = await asyncio.wait_for(queue.next(), 20)
            assert delivery.num_delivered == 2
            await delivery.ack()


async def test_waiting_and_settling_survive_restarts(nats_server: EmbeddedNats) -> None:
    async with connect(bus_config(nats_server)) as bus:
        consumer = await queue_of(bus, "restart", ack_wait_s=2.0, max_deliver=20)
        done: set[bytes] = set()
        async with WorkQueue(bus, consumer) as queue, asyncio.TaskGroup() as group:

            async def work() -> None:
                async for delivery in queue:
                    done.add(delivery.payload)
                    with contextlib.suppress(UnreachableError):
                        await delivery.ack()

            worker = group.create_task(work())
            for number in range(40):
                if number in (10, 25):
                    await restart(nats_server)
                await publish(bus, "restart.x", str(number).encode(), timeout_s=30)
            await wait_for(lambda: empty(bus), "the queue is empty", within_s=30)
            worker.cancel()
        assert len(done) == 40


async def empty(bus: Bus) -> bool:
    return await stored(bus, "restart") == 0


async def test_an_ack_across_a_kill_tells_the_truth(nats_server: EmbeddedNats) -> None:
    async with connect(bus_config(nats_server)) as bus:
        consumer = await queue_of(bus, "ackdown", ack_wait_s=3.0)
        await publish(bus, "ackdown.x", b"work")
        async with WorkQueue(bus, consumer) as queue:
            delivery = await queue.next()
            await kill(nats_server)
            async with asyncio.TaskGroup() as group:
                acking = group.create_task(recorded(delivery))
                await nats_server.start()
            if not await acking:
                # A killed server may forget that it delivered; then it delivers again.
                assert await stored(bus, "ackdown") == 1
                again = await asyncio.wait_for(queue.next(), 20)
                assert again.stream_seq == delivery.stream_seq
                await again.ack()
            assert await stored(bus, "ackdown") == 0


async def recorded(delivery: Delivery) -> bool:
    try:
        await delivery.ack()
    except UnreachableError as error:
        if error.code != "bus.ack_lost":
            raise
        return False
    return True


async def test_an_idle_queue_closes_while_the_server_is_away(nats_server: EmbeddedNats) -> None:
    async with connect(bus_config(nats_server)) as bus:
        consumer = await queue_of(bus, "idle")
        async with WorkQueue(bus, consumer) as queue:
            await publish(bus, "idle.x", b"")
            await (await queue.next()).ack()
            await kill(nats_server)
            await wait_for(lambda: not bus.connected, "the loss is noticed")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(queue.next(), 0.1)
        with pytest.raises(UnreachableError):
            await bus.request("x", b"", timeout_s=0.05)


async def test_who_takes_one_gets_it_or_the_word_that_there_is_none(bus: Bus) -> None:
    consumer = await queue_of(bus, "taken")
    async with WorkQueue(bus, consumer) as queue:
        assert await queue.take(wait=False) is None
        await publish(bus, "taken.x", b"one")
        await publish(bus, "taken.x", b"two")
        first = await queue.take(wait=False)
        second = await queue.take(wait=True)
        assert first is not None
        assert second is not None
        assert (first.payload, second.payload) == (b"one", b"two")
        assert not queue.is_idle()
        await first.ack()
        await second.ack()
        assert queue.is_idle()
        assert await queue.take(wait=False) is None
    assert await stored(bus, "taken") == 0


async def test_who_waits_gets_what_comes(bus: Bus) -> None:
    consumer = await queue_of(bus, "awaited")
    async with WorkQueue(bus, consumer) as queue, asyncio.TaskGroup() as group:
        taking = group.create_task(queue.take(wait=True, recalled=asyncio.Event()))
        await asyncio.sleep(0.1)
        await publish(bus, "awaited.x", b"work")
        delivery = await taking
        assert delivery is not None
        await delivery.ack()


async def test_a_request_that_was_recalled_takes_nothing_afterwards(bus: Bus) -> None:
    consumer = await queue_of(bus, "recalled")
    async with WorkQueue(bus, consumer) as queue, asyncio.TaskGroup() as group:
        for _ in range(20):
            recalled = asyncio.Event()
            taking = group.create_task(queue.take(wait=True, recalled=recalled))
            await asyncio.sleep(0.01)
            recalled.set()
            assert await taking is None
        await publish(bus, "recalled.x", b"work")
        delivery = await queue.take(wait=False)
        assert delivery is not None
        assert delivery.num_delivered == 1, "no request of before has had it"
        await delivery.ack()


async def test_what_comes_while_a_request_is_recalled_is_not_lost(bus: Bus) -> None:
    """Either the request brings it, or it is still there for the first time."""
    consumer = await queue_of(bus, "raced", ack_wait_s=5.0)
    async with WorkQueue(bus, consumer) as queue, asyncio.TaskGroup() as group:
        for number in range(60):
            recalled = asyncio.Event()
            taking = group.create_task(queue.take(wait=True, recalled=recalled))
            await asyncio.sleep(0.005)
            publishing = group.create_task(publish(bus, "raced.x", b"%d" % number))
            await asyncio.sleep(0.0002 * (number % 10))
            recalled.set()
            await publishing
            delivery = await taking
            if delivery is None:
                delivery = await queue.take(wait=True)
            assert delivery is not None
            assert delivery.payload == b"%d" % number
            await delivery.ack()
    assert await stored(bus, "raced") == 0


async def taken(queue: WorkQueue) -> Delivery:
    while (delivery := await queue.take(wait=False)) is None:
        pass
    return delivery


async def test_taking_from_a_queue_that_is_not_there_fails(bus: Bus) -> None:
    consumer = await queue_of(bus, "unmade")
    missing = Consumer(stream=consumer.stream, name="others")
    async with WorkQueue(bus, missing) as queue:
        with pytest.raises(NotFoundError) as caught:
            await taken(queue)
        assert caught.value.code == "bus.not_found"
