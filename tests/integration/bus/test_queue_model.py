"""The simulator's work queue does what nats-server does, where we rely on it or suffer from it.

Each test says it twice: once on a real server, once on `simulation.server`.
"""

from typing import Final

from atoll.bus import Bus, Delivery, WorkQueue, message_at, provision, publish
from atoll.wire.topology_types import Consumer, Stream
from simulation.scheduler import Scheduler
from simulation.server import QueueModel, Server, Stored, StreamModel

WAIT_S: Final = 1.0
MAX_DELIVER: Final = 3


async def real(bus: Bus, name: str) -> Consumer:
    consumer = Consumer(stream=name, name="workers", ack_wait_s=WAIT_S, max_deliver=MAX_DELIVER)
    stream = Stream(name=name, subjects=(f"{name}.>",), retention="workqueue", max_bytes=1 << 20)
    await provision(bus, streams=[stream], consumers=[consumer])
    return consumer


async def abandoned(queue: WorkQueue) -> Delivery:
    """Taken, and no longer kept alive."""
    delivery = await queue.next()
    queue.release(delivery.reply_subject)
    return delivery


class Model:
    """The same on the model: one stream, one queue, and what was handed out."""

    def __init__(self) -> None:
        self.scheduler = Scheduler(0)
        self.stream = StreamModel(name="Q", prefix="Q.", window_ms=120_000)
        self.server = Server(self.scheduler, (self.stream,))
        consumer = Consumer(stream="Q", name="workers", ack_wait_s=WAIT_S, max_deliver=MAX_DELIVER)
        self.queue: QueueModel = self.server.add_queue("Q", consumer)
        self.given: list[tuple[int, int]] = []

    def publish(self, own_id: str) -> bool:
        """Whether it was new."""
        headers = {"Nats-Msg-Id": own_id}
        answer = self.stream.publish("Q.x", b"", headers, self.scheduler.now)
        return "duplicate" not in answer

    def take(self) -> tuple[int, int]:
        """The next message and how often it was delivered."""
        asked = len(self.given)

        def answer(stored: Stored, count: int) -> None:
            self.given.append((stored.seq, count))

        self.queue.pull(("me", 1, asked), lambda: True, answer)
        while len(self.given) == asked:
            assert self.scheduler.step()
        return self.given[-1]


async def test_an_ack_of_an_old_delivery_settles_the_message(bus: Bus) -> None:
    consumer = await real(bus, "OLDACK")
    await publish(bus, "OLDACK.x", b"")
    async with WorkQueue(bus, consumer) as one, WorkQueue(bus, consumer) as two:
        old = await abandoned(one)
        new = await two.next()
        assert (old.num_delivered, new.num_delivered) == (1, 2)
        one.hold(old)
        await old.ack()
        assert await message_at(bus, "OLDACK", 1) is None
    model = Model()
    model.publish("a")
    assert (model.take(), model.take()) == ((1, 1), (1, 2))
    assert model.queue.ack(1)
    assert not model.stream.messages


async def test_a_nak_of_an_old_delivery_takes_the_message_from_its_new_holder(bus: Bus) -> None:
    consumer = await real(bus, "OLDNAK")
    await publish(bus, "OLDNAK.x", b"")
    async with WorkQueue(bus, consumer) as one, WorkQueue(bus, consumer) as two:
        old = await abandoned(one)
        new = await two.next()
        one.hold(old)
        await old.nak()
        third = await one.next()
        assert (new.num_delivered, third.num_delivered) == (2, 3)
        await third.ack()
    model = Model()
    model.publish("a")
    assert (model.take(), model.take()) == ((1, 1), (1, 2))
    model.queue.nak(1, 0)
    assert model.take() == (1, 3)


async def test_a_message_that_was_acknowledged_is_still_known_by_its_id(bus: Bus) -> None:
    consumer = await real(bus, "KNOWN")
    await publish(bus, "KNOWN.x", b"", msg_id="a")
    async with WorkQueue(bus, consumer) as queue:
        await (await queue.next()).ack()
    assert (await publish(bus, "KNOWN.x", b"", msg_id="a")).duplicate
    model = Model()
    assert model.publish("a")
    model.take()
    model.queue.ack(1)
    assert not model.publish("a")
    model.scheduler.now += model.stream.window_ms + 1
    assert model.publish("a")


async def test_a_message_that_nobody_settles_stays_when_its_deliveries_are_used_up(
    bus: Bus,
) -> None:
    consumer = await real(bus, "STAYS")
    await publish(bus, "STAYS.x", b"")
    await publish(bus, "STAYS.x", b"")
    async with WorkQueue(bus, consumer) as queue:
        seen: list[tuple[int, int]] = []
        while len(seen) < 2 * MAX_DELIVER:
            delivery = await abandoned(queue)
            seen.append((delivery.stream_seq, delivery.num_delivered))
        assert sorted(seen) == [(seq, count) for seq in (1, 2) for count in (1, 2, 3)]
        assert await message_at(bus, "STAYS", 1) is not None
    model = Model()
    model.publish("a")
    model.publish("b")
    found = sorted(model.take() for _ in range(2 * MAX_DELIVER))
    assert found == [(seq, count) for seq in (1, 2) for count in (1, 2, 3)]
    assert sorted(model.stream.messages) == [1, 2]
