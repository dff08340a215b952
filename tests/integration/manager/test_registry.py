"""A host's lease on its id: taken once, renewed, lost, given back."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from atoll.bus import Bus, KeyValue
from atoll.errors import RefusedError, UnreachableError
from atoll.wire import schema, topology
from atoll.wire.hosts import HostRecord, HostState
from atoll.wire.messages import Tee
from atoll_manager import registry
from atoll_manager.registry import HostRegistry
from support.nats import wait_for

RECORD = HostRecord(
    host_id="host-1",
    instance="00ff00ff00ff00ff",
    machine="node-7",
    tees=(Tee.SIMULATED,),
    state=HostState.ACTIVE,
    slots=2,
    busy=0,
    cpus=2,
    memory_bytes=1 << 30,
    has_room=True,
    labels={"zone": "a"},
    started_ms=1_700_000_000_000,
    version="0.0.0",
)
OTHER = replace(RECORD, instance="1111111111111111", machine="node-8")


async def stored(bus: Bus) -> HostRecord | None:
    entry = await KeyValue(bus, topology.HOSTS).get("host-1")
    if entry is None or entry.value is None:
        return None
    return schema.decode(HostRecord, entry.value)


def lease(bus: Bus, record: HostRecord = RECORD) -> HostRegistry:
    return HostRegistry(bus, lambda: record)


async def test_a_host_is_listed_from_its_claim_to_its_withdrawal(site: Bus) -> None:
    host = lease(site)
    await host.claim()
    assert await stored(site) == RECORD
    await host.withdraw()
    assert await stored(site) is None
    await lease(site, OTHER).claim()


async def test_a_second_manager_with_the_same_id_is_refused_with_who_has_it(site: Bus) -> None:
    await lease(site).claim()
    with pytest.raises(RefusedError) as caught:
        await lease(site, OTHER).claim()
    assert caught.value.code == "host.identity_in_use"
    assert "node-7" in caught.value.message
    assert "2023-11-14" in caught.value.message
    assert await stored(site) == RECORD


async def test_the_same_data_directory_takes_its_lease_back_at_once(site: Bus) -> None:
    await lease(site).claim()
    again = replace(RECORD, started_ms=RECORD.started_ms + 1)
    await lease(site, again).claim()
    assert await stored(site) == again


async def test_of_many_that_start_at_once_one_gets_the_id(site: Bus) -> None:
    records = [replace(RECORD, instance=f"{n:016x}") for n in range(8)]

    async def attempt(record: HostRecord) -> bool:
        try:
            await lease(site, record).claim()
        except RefusedError:
            return False
        return True

    won = await asyncio.gather(*map(attempt, records))
    assert won.count(True) == 1
    assert await stored(site) == records[won.index(True)]


async def test_news_are_told_at_once(site: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "PERIOD_S", 3600.0)
    busy = 0

    def describe() -> HostRecord:
        return replace(RECORD, busy=busy)

    async def told() -> bool:
        found = await stored(site)
        return found is not None and found.busy == 2

    host = HostRegistry(site, describe)
    await host.claim()
    async with asyncio.TaskGroup() as group:
        beating = group.create_task(host.run())
        busy = 2
        host.poke()
        await wait_for(told, "the registry knows")
        beating.cancel()


async def lost(bus: Bus, happens: Callable[[], object]) -> RefusedError:
    """How the first holder learns that another one has its id."""
    host = lease(bus)
    await host.claim()
    await KeyValue(bus, topology.HOSTS).delete("host-1")  # as it expires
    happens()
    await lease(bus, OTHER).claim()
    host.poke()
    with pytest.raises(RefusedError) as caught:
        await host.run()
    assert await stored(bus) == OTHER
    await host.withdraw()
    assert await stored(bus) == OTHER
    return caught.value


async def test_a_manager_whose_lease_was_taken_is_told_and_leaves_it(site: Bus) -> None:
    error = await lost(site, lambda: None)
    assert error.code == "host.identity_lost"
    assert "node-8" in error.message


async def test_a_lease_that_expired_and_that_nobody_took_is_taken_again(
    site: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "PERIOD_S", 0.01)
    host = lease(site)
    await host.claim()
    await KeyValue(site, topology.HOSTS).delete("host-1")

    async def present() -> bool:
        return await stored(site) == RECORD

    async with asyncio.TaskGroup() as group:
        beating = group.create_task(host.run())
        await wait_for(present, "it is there again")
        beating.cancel()


async def test_an_entry_that_is_no_host_s_does_not_keep_a_host_out(site: Bus) -> None:
    await KeyValue(site, topology.HOSTS).put("host-1", b"junk")
    await lease(site).claim()
    assert await stored(site) == RECORD


async def test_a_lost_heartbeat_is_followed_by_the_next(
    site: Bus, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(registry, "PERIOD_S", 0.01)
    calls = 0

    def describe() -> HostRecord:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise UnreachableError("gone", code="bus.unreachable")
        return RECORD

    async def present() -> bool:
        return await stored(site) is not None

    async with asyncio.TaskGroup() as group:
        beating = group.create_task(HostRegistry(site, describe).run())
        await wait_for(present, "the second heartbeat arrives")
        beating.cancel()
    assert "heartbeat lost: bus.unreachable" in caplog.text


async def test_a_withdrawal_that_the_bus_does_not_take_is_no_failure(
    site: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    def describe() -> HostRecord:
        raise UnreachableError("gone", code="bus.unreachable")

    await HostRegistry(site, describe).withdraw()
    assert "stays listed" in caplog.text
