"""Limits on what others make on a stream: there from the start, and no reason not to start."""

from dataclasses import replace

import pytest

from atoll.bus import Bus, ensure_consumer, ensure_stream
from atoll.bus.jetstream import api
from atoll.bus.provision import ensure_bucket
from atoll.errors import ConflictError, RefusedError
from atoll.wire.topology_types import Bucket, Consumer, Stream

OPEN = Stream(name="LIMITED", subjects=("limited.*",), max_bytes=1 << 20)
BOUNDED = Stream(
    name="BOUNDED",
    subjects=("bounded.*",),
    max_bytes=1 << 20,
    max_consumers=2,
    consumer_idle_s=3600.0,
    consumer_pending=10,
)


async def test_a_stream_takes_so_many_consumers_and_no_more(bus: Bus) -> None:
    await ensure_stream(bus, BOUNDED)
    for name in ("a", "b", "a"):
        await ensure_consumer(bus, Consumer(stream="BOUNDED", name=name, max_ack_pending=10))
    with pytest.raises((RefusedError, ConflictError)):
        await ensure_consumer(bus, Consumer(stream="BOUNDED", name="c", max_ack_pending=10))
    info = await api(bus, "CONSUMER.INFO.BOUNDED.a")
    assert info["config"]["inactive_threshold"] == 3600 * 1_000_000_000
    await ensure_stream(bus, BOUNDED)


async def test_a_limit_that_came_later_is_no_reason_not_to_start(bus: Bus) -> None:
    await ensure_stream(bus, OPEN)
    later = Stream(
        name=OPEN.name,
        subjects=OPEN.subjects,
        max_bytes=OPEN.max_bytes,
        max_consumers=2,
        consumer_idle_s=3600.0,
    )
    await ensure_stream(bus, later)
    config = (await api(bus, "STREAM.INFO.LIMITED"))["config"]
    assert config["max_consumers"] == OPEN.max_consumers
    assert config["consumer_limits"]["inactive_threshold"] == 3600 * 1_000_000_000


MORE_THAN_THE_SERVER_TAKES_UNASKED = 1_001


async def test_a_fleet_larger_than_the_server_takes_unasked_follows_one_bucket(bus: Bus) -> None:
    await ensure_bucket(bus, Bucket(name="followed", history=1, max_bytes=1 << 20))
    for number in range(MORE_THAN_THE_SERVER_TAKES_UNASKED):
        follower = f"host{number}"
        config = {"name": follower, "ack_policy": "none", "mem_storage": True}
        body = {"stream_name": "KV_followed", "config": config, "action": "create"}
        await api(bus, f"CONSUMER.CREATE.KV_followed.{follower}", body)
    info = await api(bus, "STREAM.INFO.KV_followed")
    assert info["state"]["consumer_count"] == MORE_THAN_THE_SERVER_TAKES_UNASKED


async def test_a_consumer_may_start_anywhere_and_has_no_limit_if_so_wanted(bus: Bus) -> None:
    await ensure_stream(bus, OPEN)
    wanted = Consumer(stream="LIMITED", name="late", start_seq=5, max_deliver=-1)
    for _ in range(2):
        await ensure_consumer(bus, wanted)
    config = (await api(bus, "CONSUMER.INFO.LIMITED.late"))["config"]
    assert (config["opt_start_seq"], config["max_deliver"]) == (5, -1)


async def test_so_many_workers_may_wait_as_is_said_but_a_consumer_keeps_what_it_was_made_with(
    bus: Bus,
) -> None:
    await ensure_stream(bus, OPEN)
    few = Consumer(stream="LIMITED", name="few")
    await ensure_consumer(bus, few)
    await ensure_consumer(bus, replace(few, max_waiting=2000, max_ack_pending=7))
    await ensure_consumer(bus, Consumer(stream="LIMITED", name="many", max_waiting=2000))
    found = {}
    for name in ("few", "many"):
        config = (await api(bus, f"CONSUMER.INFO.LIMITED.{name}"))["config"]
        found[name] = (config["max_waiting"], config["max_ack_pending"])
    assert found == {"few": (512, 7), "many": (2000, 1000)}
