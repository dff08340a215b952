"""A host that is drained takes no new job, and one that is resumed takes them again."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest

from atoll.bus import Bus, KeyValue
from atoll.errors import NotFoundError
from atoll.wire import schema, topology
from atoll.wire.hosts import HostOrderRequest, HostRecord, HostState, HostWish
from atoll.wire.messages import JobState
from atoll_gateway.hosts import HostOrders as Gateway
from atoll_manager import memory
from atoll_manager.duty import Duty
from atoll_manager.orders import HostOrders, host_state
from atoll_manager.pool import SlotPool
from atoll_manager.registry import HostRegistry
from integration.manager.host import Host, host, plain_pool
from integration.manager.test_registry import OTHER, RECORD
from support.nats import wait_for


@dataclass(kw_only=True)
class Manager:
    """What `main` joins, on a host of a test."""

    host: Host
    pool: SlotPool
    duty: Duty
    orders: HostOrders
    registry: HostRegistry
    stop: asyncio.Event

    async def wish(self, wish: HostWish) -> None:
        request = HostOrderRequest(host_id="host-1", wish=wish)
        await Gateway(self.host.bus, lambda: 1).order(request)

    async def is_said_to_be(self, state: HostState) -> None:
        async def said() -> bool:
            entry = await KeyValue(self.host.bus, topology.HOSTS).get("host-1")
            assert entry is not None
            assert entry.value is not None
            return schema.decode(HostRecord, entry.value).state is state

        await wait_for(said, f"the host is {state.value}")

    async def started(self, count: int) -> None:
        await wait_for(lambda: len(self.host.driver.started) == count, f"{count} were started")


@asynccontextmanager
async def manager(site: Bus) -> AsyncIterator[Manager]:
    async with host(site) as here:
        stop, orders = asyncio.Event(), HostOrders(site, "host-1")

        def describe() -> HostRecord:
            return replace(RECORD, busy=pool.busy, state=host_state(orders.wish, pool.busy))

        registry = HostRegistry(site, describe)
        pool = plain_pool(here, here.runner(), 2, on_change=lambda _: registry.poke())
        await registry.claim()
        await orders.read()
        duty = Duty(pool, orders, registry, stop)
        tasks = [
            here.group.create_task(work) for work in (pool.run(), duty.obey(), duty.hold_identity())
        ]
        yield Manager(host=here, pool=pool, duty=duty, orders=orders, registry=registry, stop=stop)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def test_what_runs_goes_on_and_nothing_new_begins_until_it_is_resumed(site: Bus) -> None:
    async with manager(site) as it:
        running = await it.host.submit()
        await it.started(1)
        await it.wish(HostWish.DRAIN)
        await it.is_said_to_be(HostState.DRAINING)
        waiting = await it.host.submit()
        await it.host.finish(it.host.driver.started[0])
        assert (await it.host.ended(running)).view.state is JobState.COMPLETED
        it.host.driver.started[0].end(0)
        await it.is_said_to_be(HostState.DRAINED)
        assert len(it.host.driver.started) == 1
        await it.wish(HostWish.ACTIVE)
        await it.started(2)
        assert it.host.driver.started[1].spec.job_id == waiting
        assert it.host.driver.started[1].spec.attempt == 1
        await it.is_said_to_be(HostState.ACTIVE)


async def test_drained_now_it_hands_back_what_runs(site: Bus) -> None:
    async with manager(site) as it:
        job_id = await it.host.submit()
        await it.started(1)
        await it.wish(HostWish.DRAIN_NOW)
        await it.is_said_to_be(HostState.DRAINED)
        assert it.host.driver.started[0].stops

        async def handed_back() -> bool:
            return (await it.host.record(job_id)).view.state is JobState.SUBMITTED

        await wait_for(handed_back, "the ledger has heard of it")
        assert len(it.host.driver.started) == 1
        await it.wish(HostWish.ACTIVE)
        await it.started(2)
        assert it.host.driver.started[1].spec.attempt == 2


async def test_an_order_outlives_the_manager(site: Bus) -> None:
    async with manager(site) as it:
        await it.wish(HostWish.DRAIN)
        await it.is_said_to_be(HostState.DRAINED)
    async with manager(site) as it:
        await it.is_said_to_be(HostState.DRAINED)
        await it.host.submit()
        await it.wish(HostWish.ACTIVE)
        await it.started(1)


async def test_an_order_that_cannot_be_read_changes_nothing(
    site: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    async with manager(site) as it:
        await it.wish(HostWish.DRAIN)
        await it.is_said_to_be(HostState.DRAINED)
        await KeyValue(site, topology.HOST_ORDERS).put("host-1", b"junk")
        await wait_for(lambda: "cannot be read" in caplog.text, "it was looked at")
        assert it.orders.wish is HostWish.DRAIN


async def test_an_order_for_nobody_is_refused(site: Bus) -> None:
    with pytest.raises(NotFoundError) as caught:
        await Gateway(site, lambda: 1).order(HostOrderRequest(host_id="x", wish=HostWish.DRAIN))
    assert caught.value.code == "host.not_found"


async def test_a_lame_duck_waits_for_what_runs_and_no_longer(site: Bus) -> None:
    async with manager(site) as it:
        await it.host.submit()
        await it.started(1)
        leaving = it.host.group.create_task(it.duty.lame_duck(3600.0))
        await it.host.submit()
        await it.host.finish(it.host.driver.started[0])
        it.host.driver.started[0].end(0)
        await leaving
        assert len(it.host.driver.started) == 1
        assert it.pool.busy == 0


async def test_a_second_signal_ends_the_waiting(site: Bus) -> None:
    async with manager(site) as it:
        await it.host.submit()
        await it.started(1)
        leaving = it.host.group.create_task(it.duty.lame_duck(3600.0))
        await asyncio.sleep(0)  # its handlers are set
        os.kill(os.getpid(), signal.SIGTERM)
        await leaving
        assert it.pool.busy == 1
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)


async def test_a_manager_that_lost_its_identity_is_told_to_stop(site: Bus) -> None:
    async with manager(site) as it:
        await KeyValue(site, topology.HOSTS).delete("host-1")  # as it expires
        await HostRegistry(site, lambda: OTHER).claim()
        it.registry.poke()
        await it.stop.wait()
        assert it.duty.lost is not None
        assert it.duty.lost.code == "host.identity_lost"


async def test_without_room_no_job_is_taken_and_none_is_lost(
    site: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "LOOK_S", 0.01)
    free = 100
    async with host(site) as here:
        room = memory.Room(50, lambda: free)
        pool = plain_pool(here, here.runner(), 2, memory=room)
        running = here.group.create_task(pool.run())
        await here.submit()
        await wait_for(lambda: len(here.driver.started) == 1, "there is room for one")
        free = 50
        pool.pause()  # what was asked for before is asked for no more
        pool.resume()
        await here.submit()
        await wait_for(lambda: pool.busy == 1, "it runs")
        assert len(here.driver.started) == 1
        free = 51
        await wait_for(lambda: len(here.driver.started) == 2, "there is room again")
        assert here.driver.started[1].spec.attempt == 1
        running.cancel()
        await asyncio.wait({running})
