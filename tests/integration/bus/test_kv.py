"""Key-value buckets; on a real nats-server."""

import asyncio
import contextlib

import pytest
from nats.aio.client import Client

from atoll.bus import Bus, Entry, KeyValue, connect, provision
from atoll.errors import ConflictError, InputError
from atoll.wire.topology_types import Bucket
from atoll_cli.nats_server import EmbeddedNats
from support.nats import bus_config, restart, wait_for


async def bucket(bus: Bus, name: str, **changes: object) -> KeyValue:
    definition = Bucket(**{"name": name, "history": 5, **changes})  # type: ignore[arg-type]
    await provision(bus, buckets=[definition])
    return KeyValue(bus, definition)


async def test_create_get_update_delete(bus: Bus) -> None:
    kv = await bucket(bus, "cycle")
    assert await kv.get("a") is None
    first = await kv.create("a", b"1")
    second = await kv.update("a", b"2", revision=first)
    entry = await kv.get("a")
    assert entry is not None
    assert (entry.key, entry.value, entry.revision) == ("a", b"2", second)
    await kv.delete("a", revision=second)
    assert await kv.get("a") is None
    assert await kv.create("a", b"3") > second


async def test_an_empty_value_is_not_a_deletion(bus: Bus) -> None:
    kv = await bucket(bus, "empty")
    await kv.put("a", b"")
    entry = await kv.get("a")
    assert entry is not None
    assert entry.value == b""


async def test_losing_the_race_is_a_conflict(bus: Bus) -> None:
    kv = await bucket(bus, "cas")
    revision = await kv.create("a", b"1")
    with pytest.raises(ConflictError):
        await kv.create("a", b"x")
    await kv.put("a", b"2")
    for attempt in (kv.update("a", b"x", revision=revision), kv.delete("a", revision=revision)):
        with pytest.raises(ConflictError) as caught:
            await attempt
        assert caught.value.code == "bus.conflict"
    entry = await kv.get("a")
    assert entry is not None
    assert entry.value == b"2"


async def test_of_many_that_race_exactly_one_wins(nats: EmbeddedNats) -> None:
    async with connect(bus_config(nats)) as one, connect(bus_config(nats)) as two:
        kv = await bucket(one, "race")
        revision = await kv.create("a", b"0")
        writers = [KeyValue(each, "race") for each in (one, two) * 5]
        results = await asyncio.gather(
            *(kv.update("a", b"x", revision=revision) for kv in writers), return_exceptions=True
        )
    assert sum(isinstance(result, int) for result in results) == 1
    assert sum(isinstance(result, ConflictError) for result in results) == 9


async def test_lists_keys_and_entries_that_hold_something(bus: Bus) -> None:
    kv = await bucket(bus, "list")
    assert await kv.keys() == []
    for key in ("b.2", "a.1", "b.1", "c"):
        await kv.put(key, key.encode())
        await kv.put(key, key.encode() + b"!")
    await kv.delete("c")
    assert await kv.keys() == ["a.1", "b.1", "b.2"]
    assert [entry.value for entry in await kv.entries("b.*")] == [b"b.1!", b"b.2!"]


@pytest.mark.parametrize("key", ["", "a b", "a..b", ".a", "*", ">", "a\r\n", "é"])
async def test_refuses_an_illegal_key(bus: Bus, key: str) -> None:
    kv = KeyValue(bus, "any")
    for attempt in (kv.get(key), kv.put(key, b""), kv.delete(key)):
        with pytest.raises(InputError):
            await attempt


async def test_a_value_over_the_limit_is_too_large(bus: Bus) -> None:
    kv = await bucket(bus, "limit", max_value_size=100)
    with pytest.raises(InputError) as caught:
        await kv.put("a", bytes(101))
    assert caught.value.code == "bus.too_large"


async def test_a_watch_starts_with_what_is_there_and_goes_on(bus: Bus) -> None:
    kv = await bucket(bus, "watch")
    await kv.put("a", b"old")
    await kv.put("a", b"1")
    await kv.put("b", b"2")
    async with contextlib.aclosing(kv.watch()) as changes:
        first, second = await anext(changes), await anext(changes)
        assert [(e.key, e.value, e.pending) for e in (first, second)] == [
            ("a", b"1", 1),
            ("b", b"2", 0),
        ]
        await kv.put("a", b"3")
        await kv.delete("b")
        third, fourth = await anext(changes), await anext(changes)
        assert [(e.key, e.value) for e in (third, fourth)] == [("a", b"3"), ("b", None)]


async def test_a_watch_can_start_after_a_revision(bus: Bus) -> None:
    kv = await bucket(bus, "after")
    revision = await kv.put("a", b"1")
    await kv.put("b", b"2")
    async with contextlib.aclosing(kv.watch(after_revision=revision)) as changes:
        assert (await anext(changes)).key == "b"


async def test_an_expired_key_shows_as_deleted(bus: Bus) -> None:
    kv = await bucket(bus, "ttl", ttl_s=1.0)
    await kv.put("a", b"1")
    async with contextlib.aclosing(kv.watch()) as changes:
        assert (await anext(changes)).value == b"1"
        gone = await asyncio.wait_for(anext(changes), 20)
        assert (gone.key, gone.value) == ("a", None)
    assert await kv.get("a") is None
    await kv.create("a", b"2")


async def test_a_watch_survives_restarts(nats_server: EmbeddedNats) -> None:
    async with connect(bus_config(nats_server)) as bus:
        kv = await bucket(bus, "survive", history=1)
        seen: list[Entry] = []

        async def watch() -> None:
            async with contextlib.aclosing(kv.watch("k.*")) as changes:
                async for entry in changes:
                    seen.append(entry)
                    if entry.value == b"end":
                        return

        async with asyncio.TaskGroup() as group:
            watching = group.create_task(watch())
            await kv.put("k.0", b"start")
            await wait_for(lambda: bool(seen), "the watch runs")
            for number in range(1, 30):
                if number in (10, 20):
                    await restart(nats_server)
                await kv.put(f"k.{number}", b"x")
            await kv.put("k.30", b"end")
            await asyncio.wait_for(watching, 30)
    assert [entry.key for entry in seen] == [f"k.{number}" for number in range(31)]


async def test_updates_through_a_restart_never_conflict_with_themselves(
    nats_server: EmbeddedNats,
) -> None:
    async with connect(bus_config(nats_server)) as bus:
        kv = await bucket(bus, "self")
        revision = await kv.create("a", b"0")
        done = 0

        async def update() -> None:
            nonlocal revision, done
            while done < 300:
                revision = await kv.update("a", str(done).encode(), revision=revision)
                done += 1

        async with asyncio.TaskGroup() as group:
            updating = group.create_task(update())
            for threshold in (50, 150):
                await wait_for(lambda at=threshold: done >= at, "updates happen")
                await restart(nats_server)
            await asyncio.wait_for(updating, 30)
        entry = await kv.get("a")
    assert entry is not None
    assert entry.value == b"299"


async def test_other_clients_read_our_bucket_and_we_theirs(nats: EmbeddedNats, bus: Bus) -> None:
    kv = await bucket(bus, "interop")
    await kv.put("ours", b"1")
    config = bus_config(nats)
    client = Client()
    await client.connect(config.url, user=config.user, password=config.password)
    try:
        foreign = await client.jetstream().key_value("interop")
        assert (await foreign.get("ours")).value == b"1"
        await foreign.put("theirs", b"2")
        await foreign.delete("ours")
    finally:
        await client.close()
    entry = await kv.get("theirs")
    assert entry is not None
    assert entry.value == b"2"
    assert await kv.keys() == ["theirs"]
