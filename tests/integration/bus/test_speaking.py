"""A service says what it speaks, follows the level in force, and does not go on without it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from atoll.bus import Bus, KeyValue, Speaker, connect, in_force, provision, speaking
from atoll.bus.provision import provision_all
from atoll.errors import ConfigError
from atoll.wire import level, schema, topology
from atoll.wire.durability import layout
from atoll.wire.upgrade import IN_FORCE, Kind, LevelRecord, SpeakerRecord
from support.nats import bus_config, running, wait_for


@pytest_asyncio.fixture
async def own(tmp_path: Path) -> AsyncIterator[Bus]:
    """A connection to a server with nothing on it."""
    async with running(tmp_path / "nats") as server, connect(bus_config(server)) as bus:
        yield bus


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speaking, "PERIOD_S", 0.02)


async def put(bus: Bus, record: LevelRecord) -> None:
    await KeyValue(bus, topology.PROTOCOL).put(IN_FORCE, schema.encode(record))


async def said(bus: Bus) -> dict[str, tuple[int, int]]:
    entries = await KeyValue(bus, topology.SPEAKERS).entries()
    found = [schema.decode(SpeakerRecord, entry.value or b"") for entry in entries]
    return {record.key: (record.newest, record.written) for record in found}


async def test_a_new_bus_begins_with_the_newest_level_and_keeps_what_it_has(own: Bus) -> None:
    await provision_all(own, layout(1))
    assert await in_force(own) == LevelRecord(level=level.NEWEST)
    await put(own, LevelRecord(level=1))
    await provision_all(own, layout(1))
    assert await in_force(own) == LevelRecord(level=1)


async def test_a_bus_of_a_release_without_levels_has_the_first(own: Bus) -> None:
    await provision(own, buckets=[topology.JOBS])
    assert await in_force(own) == LevelRecord(level=1)
    with pytest.raises(ConfigError) as caught:
        await Speaker(own, Kind.GATEWAY, "g", 1).join()
    assert caught.value.code == "protocol.not_provisioned"
    await provision_all(own, layout(1))
    assert await in_force(own) == LevelRecord(level=1)


async def test_a_release_that_does_not_speak_the_level_does_not_provision(own: Bus) -> None:
    await provision_all(own, layout(1))
    await put(own, LevelRecord(level=level.NEWEST + 1))
    with pytest.raises(ConfigError) as caught:
        await provision_all(own, layout(1))
    assert caught.value.code == "protocol.too_old"


async def test_a_service_writes_what_is_in_force_and_follows_it_up(own: Bus) -> None:
    await provision_all(own, layout(1))
    await put(own, LevelRecord(level=1))
    speaker, stop = Speaker(own, Kind.GATEWAY, "g", 1), asyncio.Event()
    await speaker.join()
    assert level.written() == 1
    assert await said(own) == {"gateway.g": (level.NEWEST, 1)}

    async def followed() -> bool:
        return await said(own) == {"gateway.g": (level.NEWEST, level.NEWEST)}

    async with asyncio.TaskGroup() as group:
        following = group.create_task(speaker.run(stop))
        await put(own, LevelRecord(level=level.NEWEST))
        await wait_for(followed, "the level was taken up")
        following.cancel()
    assert level.written() == level.NEWEST
    await speaker.leave()
    assert await said(own) == {}
    assert not stop.is_set()


async def test_a_service_does_not_start_below_what_is_about_to_be_in_force(own: Bus) -> None:
    await provision_all(own, layout(1))
    await put(own, LevelRecord(level=1, raising=2))
    level.limit(1)
    with pytest.raises(ConfigError, match=r"level 2 is needed .* speaks 1 to 1") as caught:
        await Speaker(own, Kind.MANAGER, "h", 1).join()
    assert caught.value.code == "protocol.too_old"
    # Nor does it stand in the way of whoever raises it.
    assert await said(own) == {}


async def test_a_service_that_was_away_while_it_was_raised_stops(own: Bus) -> None:
    await provision_all(own, layout(1))
    await put(own, LevelRecord(level=1))
    level.limit(1)
    speaker, stop = Speaker(own, Kind.ATTESTOR, "a", 1), asyncio.Event()
    await speaker.join()
    await put(own, LevelRecord(level=2))
    await asyncio.wait_for(speaker.run(stop), 15)
    assert stop.is_set()
    assert speaker.refused is not None
    assert speaker.refused.code == "protocol.too_old"


async def test_what_a_host_speaks_is_no_more_than_its_enclaves_do(own: Bus) -> None:
    await provision_all(own, layout(1))
    speaks = [2]
    speaker = Speaker(own, Kind.MANAGER, "h", 1, newest=lambda: min(speaks))
    await speaker.join()
    assert await said(own) == {"manager.h": (2, level.NEWEST)}
    speaks.append(1)

    async def told() -> bool:
        return await said(own) == {"manager.h": (1, level.NEWEST)}

    async with asyncio.TaskGroup() as group:
        following = group.create_task(speaker.run(asyncio.Event()))
        await wait_for(told, "the older enclave counts")
        following.cancel()
