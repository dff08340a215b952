"""Consumers of events that others make, keep and neglect: nats-py, and our own reader."""

import asyncio
import json
import secrets
import time
from contextlib import aclosing
from typing import Any

import nats.errors
import nats.js.api
import pytest
from nats.js.client import JetStreamContext

from atoll.bus import Bus
from atoll.bus.jetstream import api
from atoll.client import events as log
from atoll.client.connection import AtollClient
from atoll.errors import ConflictError
from atoll.telemetry.span import Recorder
from atoll.wire import topology
from atoll.wire.messages import EventType, JobEvent, JobState, Tee
from atoll_gateway import core
from atoll_gateway.adapters import BusOutlet
from integration.gateway.client import Gateway
from integration.gateway.test_publishers import plain

NANOSECOND = 1_000_000_000
HISTORY = topology.events_of("main")


async def history(gateway: Gateway, job_id: str, count: int) -> None:
    """So many events of one job, as a gateway tells them."""
    outlet = BusOutlet(gateway.bus)
    record = core.submitted(
        job_id=job_id,
        tee=Tee.SIMULATED,
        manifest_digest="0" * 64,
        now_ms=1,
        deadline_ms=1,
        traceparent="",
        trace_id=None,
    )
    for seq in range(1, count + 1):
        event = JobEvent(
            job_id=job_id,
            seq=seq,
            type=EventType.RETRYING,
            state=JobState.SUBMITTED,
            attempt=seq,
            time_ms=seq,
        )
        await outlet.event(event, record)


async def consumer(stream: JetStreamContext, name: str, pattern: str) -> Any:
    config = nats.js.api.ConsumerConfig(
        name=name,
        durable_name=name,
        filter_subject=pattern,
        ack_policy=nats.js.api.AckPolicy.EXPLICIT,
    )
    await stream.add_consumer(HISTORY.name, config)
    return await stream.pull_subscribe_bind(consumer=name, stream=HISTORY.name)


async def test_a_durable_consumer_of_a_stranger_goes_on_where_it_was(gateway: Gateway) -> None:
    await history(gateway, "j1", 5)
    pattern = "atoll.v1.event.job.j1.*"
    async with plain(gateway) as client:
        reader = await consumer(client.jetstream(), "billing", pattern)
        for message in await reader.fetch(3):
            await message.ack_sync()
    async with plain(gateway) as client:
        reader = await consumer(client.jetstream(), "billing", pattern)
        rest = [json.loads(message.data) for message in await reader.fetch(2)]
    assert [event["seq"] for event in rest] == [4, 5]


async def test_a_reader_that_does_not_read_hurts_nobody_and_loses_nothing(
    gateway: Gateway,
) -> None:
    async with plain(gateway) as client:
        lazy = await consumer(client.jetstream(), "lazy", "atoll.v1.event.job.j1.*")
        await history(gateway, "j1", 1)
        (one,) = await lazy.fetch(1)
        # It holds this one, asks for no other, and 300 more happen.
        await history(gateway, "j1", 300)
        quick = log.replay(client_on(gateway.bus), "j1", after=0, follow=True)
        seen = []
        async with asyncio.timeout(30), aclosing(quick):
            async for item in quick:
                seen.append(item.event.time_ms)
                if len(seen) == 300:
                    break
        assert seen == [*range(1, 301)]
        await one.ack_sync()
        seen = [json.loads(one.data)["seq"]]
        while len(seen) < 300:
            for message in await lazy.fetch(100, timeout=5):
                seen.append(json.loads(message.data)["seq"])
                await message.ack()
        assert seen == [*range(1, 301)]


async def test_the_server_forgets_a_consumer_that_nobody_uses(gateway: Gateway) -> None:
    """The stream's limits hold for whatever a stranger asks for."""
    async with plain(gateway) as client:
        stream = client.jetstream()
        await consumer(stream, "default", "atoll.v1.event.job.*.*")
        info = await api(gateway.bus, "CONSUMER.INFO.EVENTS_main.default")
        assert info["config"]["inactive_threshold"] == int(HISTORY.consumer_idle_s * NANOSECOND)
        assert info["config"]["max_ack_pending"] <= HISTORY.consumer_pending
        limits: dict[str, Any] = {
            "inactive_threshold": HISTORY.consumer_idle_s + 1,
            "max_ack_pending": HISTORY.consumer_pending + 1,
        }
        for field, value in limits.items():
            config = nats.js.api.ConsumerConfig(
                name="greedy",
                durable_name="greedy",
                ack_policy=nats.js.api.AckPolicy.EXPLICIT,
                **{field: value},
            )
            with pytest.raises(nats.js.errors.APIError):
                await stream.add_consumer(HISTORY.name, config)


def client_on(bus: Bus) -> AtollClient:
    """A client of the default tenant, on a server without accounts."""
    tracer = Recorder("test", instance="test", clock=time.time_ns, random=secrets.token_bytes)
    return AtollClient(bus, tracer)


async def read(bus: Bus, name: str, count: int, **options: Any) -> list[int]:
    found: list[int] = []
    async with asyncio.timeout(30), log.durable(client_on(bus), name, "j1", **options) as source:
        async for item in source:
            found.append(item.event.time_ms)
            if len(found) == count:
                break
    return found


async def test_our_own_durable_reader_settles_what_it_has_gone_past(gateway: Gateway) -> None:
    await history(gateway, "j1", 6)
    assert await read(gateway.bus, "mine", 3) == [1, 2, 3]
    # Of the third nobody knows whether it was worked off.
    assert await read(gateway.bus, "mine", 4) == [3, 4, 5, 6]


async def test_a_name_stands_for_one_selection(gateway: Gateway) -> None:
    await history(gateway, "j1", 1)
    assert await read(gateway.bus, "mine", 1) == [1]
    with pytest.raises(ConflictError) as caught:
        async with log.durable(client_on(gateway.bus), "mine", "j1", after=7):
            pass
    assert caught.value.code == "events.other_consumer"
