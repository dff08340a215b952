"""A gateway says of streams, queues, dead letters and hosts what the bus has, on a real server."""

from collections.abc import Iterable

from atoll.bus import WorkQueue, publish
from atoll.bus import dead_letter as dead
from atoll.bus.dead_letter import Letter
from atoll.bus.jetstream import message_at
from atoll.telemetry.metrics import table
from atoll.telemetry.metrics.prometheus import PrometheusMeter
from atoll.telemetry.metrics.wiring import Exported
from atoll.wire import subjects, topology
from atoll.wire.hosts import HostRecord, HostState
from atoll.wire.messages import JobState, Tee
from atoll.wire.topology_types import Consumer
from atoll_gateway.survey import Survey, follow_index, number, surveying
from integration.gateway.client import Gateway
from support.metrics import Page

NOW_MS = 1_700_000_000_000


def host(name: str, state: HostState) -> HostRecord:
    return HostRecord(
        host_id=name,
        instance="i",
        machine="m",
        tees=(Tee.SIMULATED,),
        state=state,
        slots=1,
        busy=0,
        cpus=1,
        memory_bytes=1,
        has_room=True,
        labels={},
        started_ms=1,
        version="0.1.0",
        measurement=bytes(48),
    )


async def hosts() -> Iterable[HostRecord]:
    return [host("one", HostState.ACTIVE), host("two", HostState.DRAINED)]


async def look(gateway: Gateway, further: tuple[Consumer, ...] = ()) -> Page:
    meter = PrometheusMeter("gateway")
    await Survey(gateway.bus, hosts, lambda: further, meter, lambda: NOW_MS).look()
    return Page.of(meter)


async def test_it_says_what_is_queued_held_and_dead(gateway: Gateway) -> None:
    for number_ in range(3):
        await publish(gateway.bus, subjects.REPORT.of(f"j{number_}"), b"x")
    before = await look(gateway)
    async with WorkQueue(gateway.bus, topology.LEDGER_CONSUMER) as queue:
        held = await queue.next()
        message = await message_at(gateway.bus, "REPORTS", held.stream_seq)
        assert message is not None
        letter = Letter.about(message, stream="REPORTS", code="x.y", text="x", deliveries=1)
        await dead.keep(gateway.bus, letter)
        during = await look(gateway)

    assert before.value(table.QUEUE_MESSAGES, queue="REPORTS") == 3
    assert before.value(table.QUEUE_PENDING, queue="REPORTS") == 3
    assert before.value(table.QUEUE_HELD, queue="REPORTS") == 0
    assert before.value(table.DEAD_LETTERS) == 0
    held_now = during.value(table.QUEUE_HELD, queue="REPORTS")
    assert held_now is not None
    assert held_now >= 1
    assert during.value(table.DEAD_LETTERS) == 1
    assert during.value(table.STREAM_LIMIT, stream="EVENTS") == topology.EVENTS.max_bytes
    stored = during.value(table.STREAM_BYTES, stream="REPORTS")
    assert stored is not None
    assert stored > 0
    assert during.value(table.HOSTS, state="active") == 1
    assert during.value(table.HOSTS, state="draining") == 0
    assert during.value(table.SURVEYED) == NOW_MS / 1000


async def test_a_class_of_jobs_that_is_gone_is_no_error(gateway: Gateway) -> None:
    gone = Consumer(stream="SPAWN", name="managers-simulated-nothing")

    page = await look(gateway, (gone,))

    assert page.value(table.QUEUE_PENDING, queue="SPAWN") == 0


async def test_jobs_that_live_are_counted_by_state(gateway: Gateway) -> None:
    meter = PrometheusMeter("gateway")
    follow_index(meter, gateway.index)

    page = Page.of(meter)
    assert page.value(table.JOBS, state=JobState.SUBMITTED.value) == 0
    assert page.value(table.JOBS, state=JobState.COMPLETED.value) is None
    assert page.value(table.OUTBOX) == 0


async def test_nobody_asks_the_bus_when_nobody_can_see(gateway: Gateway) -> None:
    found = surveying(Exported(), gateway.bus, gateway.index, tuple, lambda: NOW_MS)

    assert found == ()


def test_what_the_server_does_not_say_is_zero() -> None:
    assert number({"a": {"b": 3}}, "a", "b") == 3
    assert [number(odd, "a", "b") for odd in ({}, {"a": 1}, {"a": {"b": "3"}}, {"a": None})] == [
        0,
        0,
        0,
        0,
    ]
