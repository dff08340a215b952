"""An upload that was interrupted goes on behind what is stored; on a real nats-server."""

import asyncio
import hashlib
import json
import random
from collections.abc import AsyncIterator, Iterator

import pytest

from atoll.bus import Bus, ObjectStore, connect, provision, publish
from atoll.bus.upload import CHUNK_SIZE, INDEX_HEADER
from atoll.errors import ConflictError, NotFoundError, UnreachableError
from atoll.wire.topology_types import ObjectBucket
from atoll_cli.nats_server import EmbeddedNats
from support.nats import bus_config, restart

SIZE = 20 * CHUNK_SIZE + 77
ID = "upload-1"


async def store(bus: Bus, name: str) -> ObjectStore:
    await provision(bus, object_buckets=[ObjectBucket(name=name)])
    return ObjectStore(bus, name)


async def state(bus: Bus, name: str) -> dict[str, int]:
    info = await bus.request(f"$JS.API.STREAM.INFO.OBJ_{name}", b"")
    found: dict[str, int] = json.loads(info.payload)["state"]
    return found


def content() -> bytes:
    return random.Random(7).randbytes(SIZE)


class InterruptedSourceError(Exception):
    """The source is gone."""


def until(raw: bytes, chunks: int) -> Iterator[bytes]:
    """The first chunks, and then an end that is none."""
    for at in range(0, chunks * CHUNK_SIZE, CHUNK_SIZE):
        yield raw[at : at + CHUNK_SIZE]
    raise InterruptedSourceError


async def read(objects: ObjectStore, name: str) -> bytes:
    _, chunks = await objects.get(name)
    return b"".join([chunk async for chunk in chunks])


@pytest.mark.parametrize("first", [0, 1, 8, 9, 20])
async def test_only_the_rest_is_sent(bus: Bus, first: int) -> None:
    name = f"rest{first}"
    objects = await store(bus, name)
    raw = content()
    with pytest.raises(InterruptedSourceError):
        await objects.put_resumable("o", until(raw, first), upload_id=ID)
    with pytest.raises(NotFoundError):
        await objects.info("o")
    before = await state(bus, name)
    told: list[tuple[int, int]] = []
    info = await objects.put_resumable(
        "o", [raw], upload_id=ID, told=lambda now, kept: told.append((now, kept))
    )
    after = await state(bus, name)
    # 21 chunks and the metadata; what is stored already uses no further sequence.
    assert after["last_seq"] - before["last_seq"] == 22 - before["messages"]
    assert before["messages"] >= max(0, first - 8)
    assert after["messages"] == 22
    assert (info.size, info.chunks, info.nuid) == (SIZE, 21, ID)
    assert info.digest == hashlib.sha256(raw).hexdigest()
    assert await read(objects, "o") == raw
    assert [now for now, _ in told] == sorted(now for now, _ in told)
    assert told[-1][1] == before["messages"] * CHUNK_SIZE


async def test_what_is_complete_is_not_sent_again(bus: Bus) -> None:
    objects = await store(bus, "complete")
    raw = content()
    first = await objects.put_resumable("o", [raw], upload_id=ID)
    before = await state(bus, "complete")
    again = await objects.put_resumable("o", until(raw, 0), upload_id=ID)
    assert (again.digest, again.revision) == (first.digest, first.revision)
    assert await state(bus, "complete") == before


async def test_another_object_of_the_name_is_left_alone(bus: Bus) -> None:
    objects = await store(bus, "taken")
    await objects.put("o", [b"theirs"])
    with pytest.raises(ConflictError) as caught:
        await objects.put_resumable("o", [b"ours"], upload_id=ID)
    assert caught.value.code == "bus.conflict"
    assert await read(objects, "o") == b"theirs"


async def test_a_cancelled_upload_goes_on(bus: Bus) -> None:
    objects = await store(bus, "cancelled")
    raw = content()
    halfway = asyncio.Event()

    def told(now: int, _: int) -> None:
        if now >= 4 * CHUNK_SIZE:
            halfway.set()

    async with asyncio.TaskGroup() as group:
        putting = group.create_task(objects.put_resumable("o", [raw], upload_id=ID, told=told))
        await halfway.wait()
        putting.cancel()
    assert putting.cancelled()
    stored = (await state(bus, "cancelled"))["messages"]
    assert 4 <= stored <= 21
    await objects.put_resumable("o", [raw], upload_id=ID)
    assert (await state(bus, "cancelled"))["messages"] == 22
    assert await read(objects, "o") == raw


async def test_chunks_out_of_order_are_put_right(bus: Bus) -> None:
    objects = await store(bus, "astray")
    raw = content()
    with pytest.raises(InterruptedSourceError):
        await objects.put_resumable("o", until(raw, 5), upload_id=ID)
    stored = (await state(bus, "astray"))["messages"]
    # As a lost connection leaves them: one is missing, one came twice.
    for index in (stored + 1, stored + 2, 0):
        block = raw[index * CHUNK_SIZE : (index + 1) * CHUNK_SIZE]
        await publish(bus, f"$O.astray.C.{ID}", block, headers={INDEX_HEADER: str(index)})
    await objects.put_resumable("o", [raw], upload_id=ID)
    assert await read(objects, "o") == raw
    assert (await state(bus, "astray"))["messages"] == 22


async def test_a_straggler_of_the_dead_process_does_no_harm(bus: Bus) -> None:
    objects = await store(bus, "straggler")
    raw = content()
    with pytest.raises(InterruptedSourceError):
        await objects.put_resumable("o", until(raw, 5), upload_id=ID)

    async def pieces() -> AsyncIterator[bytes]:
        yield raw[: 15 * CHUNK_SIZE]
        late = raw[6 * CHUNK_SIZE : 7 * CHUNK_SIZE]
        await publish(bus, f"$O.straggler.C.{ID}", late, headers={INDEX_HEADER: "6"})
        yield raw[15 * CHUNK_SIZE :]

    await objects.put_resumable("o", pieces(), upload_id=ID)
    assert await read(objects, "o") == raw
    assert (await state(bus, "straggler"))["messages"] == 22


async def test_more_stored_than_there_is_is_told(bus: Bus) -> None:
    objects = await store(bus, "more")
    with pytest.raises(InterruptedSourceError):
        await objects.put_resumable("o", until(content(), 12), upload_id=ID)
    with pytest.raises(UnreachableError) as caught:
        await objects.put_resumable("o", [b"short"], upload_id=ID)
    assert caught.value.code == "bus.data_lost"
    with pytest.raises(NotFoundError):
        await objects.info("o")


async def test_an_upload_is_given_up_and_begun_anew(bus: Bus) -> None:
    objects = await store(bus, "abandoned")
    raw = content()
    with pytest.raises(InterruptedSourceError):
        await objects.put_resumable("o", until(raw, 12), upload_id=ID)
    await objects.abandon(ID)
    await objects.abandon(ID)
    assert (await state(bus, "abandoned"))["messages"] == 0
    await objects.put_resumable("o", [raw], upload_id=ID)
    await objects.delete("o")
    await objects.put_resumable("o", [raw], upload_id=ID)
    assert await read(objects, "o") == raw


async def test_goes_on_through_a_restart_of_the_server(nats_server: EmbeddedNats) -> None:
    async with connect(bus_config(nats_server)) as bus:
        objects = await store(bus, "restart")
        raw = content()
        with pytest.raises(InterruptedSourceError):
            await objects.put_resumable("o", until(raw, 12), upload_id=ID)
        await restart(nats_server)
        await objects.put_resumable("o", [raw], upload_id=ID)
        assert await read(objects, "o") == raw


async def test_a_server_killed_under_way_does_not_mix_chunks(nats_server: EmbeddedNats) -> None:
    async with connect(bus_config(nats_server)) as bus:
        objects = await store(bus, "killed")
        raw = content()
        with pytest.raises(InterruptedSourceError):
            await objects.put_resumable("o", until(raw, 5), upload_id=ID)

        async def pieces() -> AsyncIterator[bytes]:
            for at in range(0, SIZE, CHUNK_SIZE):
                if at in {10 * CHUNK_SIZE, 16 * CHUNK_SIZE}:
                    await restart(nats_server)
                yield raw[at : at + CHUNK_SIZE]

        await objects.put_resumable("o", pieces(), upload_id=ID)
        assert await read(objects, "o") == raw
        assert (await state(bus, "killed"))["messages"] == 22
