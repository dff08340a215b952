"""The object store; on a real nats-server."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Iterator

import pytest
from nats.aio.client import Client

from atoll.bus import Bus, ObjectStore, connect, provision
from atoll.bus.jetstream import erase, publish
from atoll.errors import InputError, NotFoundError, SealError
from atoll.wire.topology_types import ObjectBucket
from atoll_cli.nats_server import EmbeddedNats
from support.nats import bus_config, restart


async def store(bus: Bus, name: str) -> ObjectStore:
    await provision(bus, object_buckets=[ObjectBucket(name=name)])
    return ObjectStore(bus, name)


async def read(objects: ObjectStore, name: str) -> bytes:
    _, chunks = await objects.get(name)
    return b"".join([chunk async for chunk in chunks])


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


async def stored(bus: Bus, name: str) -> int:
    info = await bus.request(f"$JS.API.STREAM.INFO.OBJ_{name}", b"")
    return int(info.payload.split(b'"messages":')[1].split(b",")[0])


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 30_000, 30_001])
async def test_brings_back_what_was_put(bus: Bus, size: int) -> None:
    objects = await store(bus, "sizes")
    content = noise(size)
    info = await objects.put(f"o{size}", [content], chunk_size=1000, headers={"k": "v"})
    assert (info.size, info.chunks) == (size, -(-size // 1000))
    assert info.digest == hashlib.sha256(content).hexdigest()
    assert await read(objects, f"o{size}") == content
    found = await objects.info(f"o{size}")
    assert (found.digest, found.headers, found.nuid) == (info.digest, {"k": "v"}, info.nuid)


async def test_takes_pieces_of_any_size_from_an_async_iterator(bus: Bus) -> None:
    objects = await store(bus, "pieces")

    async def pieces() -> AsyncIterator[bytes]:
        for size in (1, 0, 2500, 999, 1000, 3):
            yield noise(size)

    await objects.put("o", pieces(), chunk_size=1000)
    assert await read(objects, "o") == b"".join(noise(s) for s in (1, 0, 2500, 999, 1000, 3))


async def test_replacing_frees_the_old_chunks(bus: Bus) -> None:
    objects = await store(bus, "replace")
    await objects.put("o", [noise(5000)], chunk_size=1000)
    await objects.put("o", [b"new"])
    assert await read(objects, "o") == b"new"
    assert await stored(bus, "replace") == 2


async def test_a_failing_source_leaves_nothing(bus: Bus) -> None:
    objects = await store(bus, "failing")

    def source() -> Iterator[bytes]:
        yield noise(5000)
        raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="disk on fire"):
        await objects.put("o", source(), chunk_size=1000)
    assert await stored(bus, "failing") == 0
    with pytest.raises(NotFoundError):
        await objects.info("o")


async def test_chunks_larger_than_a_message_are_too_large(bus: Bus) -> None:
    objects = await store(bus, "large")
    with pytest.raises(InputError) as caught:
        await objects.put("o", [bytes(3 << 20)], chunk_size=2 << 20)
    assert caught.value.code == "bus.too_large"
    assert await stored(bus, "large") == 0


async def test_deletes_and_lists(bus: Bus) -> None:
    objects = await store(bus, "list")
    assert await objects.list() == []
    for name in ("b", "a", "c/with strange.name*"):
        await objects.put(name, [name.encode()])
    await objects.delete("b")
    assert [info.name for info in await objects.list()] == ["a", "c/with strange.name*"]
    for attempt in (objects.info("b"), objects.delete("b"), objects.get("b")):
        with pytest.raises(NotFoundError):
            await attempt
    await objects.put("b", [b"back"])
    assert await read(objects, "b") == b"back"


@pytest.mark.parametrize("damage", ["missing", "extended", "changed", "swapped"])
async def test_notices_damage(bus: Bus, damage: str) -> None:
    objects = await store(bus, f"damage_{damage}")
    info = await objects.put("o", [noise(3000)], chunk_size=1000)
    subject, stream = f"$O.damage_{damage}.C.{info.nuid}", f"OBJ_damage_{damage}"
    if damage == "missing":
        await erase(bus, stream, 2)
    elif damage == "extended":
        await publish(bus, subject, b"more")
    elif damage == "changed":
        await erase(bus, stream, 3)
        await publish(bus, subject, bytes(1000))
    else:
        await erase(bus, stream, 1)
        await publish(bus, subject, noise(3000)[:1000])
    with pytest.raises(SealError) as caught:
        await read(objects, "o")
    assert caught.value.code == "bus.object_corrupt"


async def test_a_put_through_restarts_is_stored_whole_and_in_order(
    nats_server: EmbeddedNats,
) -> None:
    async with connect(bus_config(nats_server)) as bus:
        objects = await store(bus, "restart")
        content = noise(60_000)

        async def pieces() -> AsyncIterator[bytes]:
            for number in range(60):
                if number in (20, 21, 45):
                    await restart(nats_server)
                yield content[number * 1000 : number * 1000 + 1000]

        info = await objects.put("o", pieces(), chunk_size=1000)
        assert info.chunks == 60
        assert await read(objects, "o") == content
        assert await stored(bus, "restart") == 61


async def test_a_server_killed_under_full_load_does_not_mix_chunks(
    nats_server: EmbeddedNats,
) -> None:
    async with connect(bus_config(nats_server)) as bus:
        objects = await store(bus, "load")
        content = noise(32 << 20)
        sent = asyncio.Event()

        def pieces() -> Iterator[bytes]:
            for start in range(0, len(content), 65536):
                if start == 8 << 20:
                    sent.set()
                yield content[start : start + 65536]

        async with asyncio.TaskGroup() as group:
            putting = group.create_task(objects.put("o", pieces(), chunk_size=65536))
            await sent.wait()
            await restart(nats_server)
            info = await asyncio.wait_for(putting, 40)
        assert info.digest == hashlib.sha256(content).hexdigest()
        assert await read(objects, "o") == content


async def test_an_object_survives_a_restart_also_while_it_is_read(
    nats_server: EmbeddedNats,
) -> None:
    async with connect(bus_config(nats_server)) as bus:
        objects = await store(bus, "reading")
        content = noise(50_000)
        await objects.put("o", [content], chunk_size=1000)
        await restart(nats_server)
        _, chunks = await objects.get("o")
        got = b""
        async for chunk in chunks:
            got += chunk
            if len(got) == 10_000:
                await restart(nats_server)
        assert got == content


async def test_other_clients_read_our_objects_and_we_theirs(nats: EmbeddedNats, bus: Bus) -> None:
    objects = await store(bus, "interop")
    content = noise(300_000)
    await objects.put("ours", [content], headers={"k": "v"})
    config = bus_config(nats)
    client = Client()
    await client.connect(config.url, user=config.user, password=config.password)
    try:
        foreign = await client.jetstream().object_store("interop")
        assert (await foreign.get("ours")).data == content
        await foreign.put("theirs", content)
        names = {info.name for info in await foreign.list()}
    finally:
        await client.close()
    assert names == {"ours", "theirs"}
    assert await read(objects, "theirs") == content
