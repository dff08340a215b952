"""Putting an asset on a real nats-server: whatever interrupts it, one key seals one content."""

import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from atoll.bus import Bus, ObjectStore, provision, read_stream
from atoll.client import asset_upload
from atoll.client.asset_record import AssetKind, AssetRecord, AssetState
from atoll.client.asset_source import SPAN, Source, Survey, survey
from atoll.client.asset_store import AssetStore
from atoll.client.asset_upload import Put, PutOutcome, require_same
from atoll.client.connection import AtollClient
from atoll.errors import ConflictError, InputError, RefusedError
from atoll.sealing import stream
from atoll.wire import topology
from support.assets import sealed
from support.desk import desk
from support.stack import recorder

SIZE = 3 * SPAN + 1234
REMOTE = "nats://example.org:4222"


@pytest_asyncio.fixture
async def client(bus: Bus) -> AsyncIterator[AtollClient]:
    await provision(bus, object_buckets=[topology.ASSETS])
    async with desk(bus):
        yield AtollClient(bus, recorder())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "data"
    found.write_bytes(bytes(range(256)) * (SIZE // 256) + bytes(SIZE % 256))
    return found


@pytest.fixture
def store(tmp_path: Path) -> AssetStore:
    return AssetStore(tmp_path / "home")


def content(path: Path) -> bytes:
    return path.read_bytes()


def write(path: Path, raw: bytes | bytearray) -> None:
    path.write_bytes(raw)


def begun(store: AssetStore, path: Path, name: str = "data") -> AssetRecord:
    """What is on the disk before anything is sealed."""
    known = known_of(path)
    record = AssetRecord.new(
        name=name,
        provider="me",
        kind=Source(path).kind,
        size=known.size,
        sha256=known.sha256,
        public_digest=False,
        remote=REMOTE,
        created_ms=0,
    )
    store.save(record)
    return record


def known_of(path: Path) -> Survey:
    return survey(Source(path).pieces())


async def put(
    client: AtollClient, store: AssetStore, path: Path, known: Survey | None = None
) -> Put:
    """As another process that finds the record would."""
    return await asset_upload.put(
        client, store, store.load("data"), Source(path), known or known_of(path), remote=REMOTE
    )


async def chunks_of(client: AtollClient, record: AssetRecord) -> list[bytes]:
    """Everything that lies on the bus of this asset, whole or not."""
    subject = f"$O.assets.C.{record.upload_id}"
    messages = read_stream(client.bus, "OBJ_assets", subject)
    return [message.payload async for message in messages]


async def read(client: AtollClient, record: AssetRecord) -> bytes:
    _, chunks = await ObjectStore(client.bus, topology.ASSETS).get(record.asset_id)
    return b"".join([chunk async for chunk in chunks])


class StoppedSourceError(Exception):
    """As if the process had died."""


class Stopping(Source):
    """Stops after some bytes."""

    def pieces(self) -> Iterator[bytes]:
        taken = 0
        for piece in Source.pieces(self):
            if taken >= 2 * SPAN:
                raise StoppedSourceError
            taken += len(piece)
            yield piece


async def interrupt(client: AtollClient, store: AssetStore, path: Path) -> list[bytes]:
    """A put that ends in the middle; what is stored of it."""
    record = store.load("data")
    with pytest.raises(StoppedSourceError):
        await asset_upload.put(client, store, record, Stopping(path), known_of(path), remote=REMOTE)
    assert store.load("data").state is AssetState.UPLOADING
    return await chunks_of(client, record)


async def test_an_asset_is_stored_as_its_record_says(
    client: AtollClient, store: AssetStore, path: Path
) -> None:
    record = begun(store, path)
    ended = await put(client, store, path)
    assert (ended.outcome, ended.kept, ended.sent) == (PutOutcome.UPLOADED, 0, record.sealed_size)
    assert store.load("data") == replace(record, state=AssetState.STORED) == ended.record
    assert await read(client, record) == sealed(record, content(path))


async def test_an_interrupted_one_ends_as_if_it_had_not_been(
    client: AtollClient, store: AssetStore, path: Path
) -> None:
    record = begun(store, path)
    first = await interrupt(client, store, path)
    assert first
    ended = await put(client, store, path)
    assert ended.outcome is PutOutcome.CONTINUED
    assert ended.kept == sum(map(len, first))
    assert ended.kept + ended.sent == record.sealed_size
    assert await read(client, record) == sealed(record, content(path))
    assert (await chunks_of(client, record))[: len(first)] == first


async def test_what_is_stored_is_not_sent_again(
    client: AtollClient, store: AssetStore, path: Path
) -> None:
    begun(store, path)
    await put(client, store, path)
    again = await put(client, store, path)
    assert (again.outcome, again.sent) == (PutOutcome.PRESENT, 0)


@pytest.mark.parametrize("at", [0, SPAN, SIZE - 1])
async def test_a_content_that_changed_between_attempts_is_not_sealed(
    client: AtollClient, store: AssetStore, path: Path, at: int
) -> None:
    record = begun(store, path)
    first = await interrupt(client, store, path)
    raw = bytearray(content(path))
    raw[at] ^= 1
    write(path, raw)
    with pytest.raises(InputError) as caught:
        require_same(record, Source(path), known_of(path), provider="me")
    assert caught.value.code == "asset.changed"
    # Also where somebody forgot to ask.
    with pytest.raises(InputError) as caught:
        await put(client, store, path)
    assert caught.value.code == "asset.changed"
    assert await chunks_of(client, record) == first


@pytest.mark.parametrize("at", [0, SPAN, 2 * SPAN + 5, SIZE - 1])
async def test_a_content_that_changes_after_it_was_read_is_not_sealed(
    client: AtollClient, store: AssetStore, path: Path, at: int
) -> None:
    record = begun(store, path)
    whole = content(path)
    known = known_of(path)
    raw = bytearray(whole)
    raw[at] ^= 1
    write(path, raw)
    with pytest.raises(InputError) as caught:
        await put(client, store, path, known)
    assert caught.value.code == "asset.changed"
    came = b"".join(await chunks_of(client, record))
    assert sealed(record, whole).startswith(came)
    write(path, whole)
    await put(client, store, path)
    assert await read(client, record) == sealed(record, whole)


async def test_no_nonce_of_one_key_seals_two_contents(
    client: AtollClient, store: AssetStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every chunk that is sealed through all of this, by key and nonce."""
    real = stream.ChunkCipher.seal
    seen: dict[tuple[bytes, int, bool], set[bytes]] = {}

    def watched(
        self: stream.ChunkCipher, index: int, plaintext: stream.Buffer, *, last: bool
    ) -> bytes:
        out = real(self, index, plaintext, last=last)
        seen.setdefault((self._prefix, index, last), set()).add(hashlib.sha256(out).digest())
        return out

    monkeypatch.setattr(stream.ChunkCipher, "seal", watched)
    begun(store, path)
    whole = content(path)
    known = known_of(path)
    await interrupt(client, store, path)
    for other in (b"", whole[:-1], whole + b"x", whole[:SPAN], b"x" * SIZE, whole[:SPAN] + b"y"):
        write(path, other)
        for survey_of in (known, known_of(path)):
            with pytest.raises(InputError):
                await put(client, store, path, survey_of)
    write(path, whole)
    await put(client, store, path)
    assert len(seen) == -(-SIZE // 524_272)
    assert {len(outs) for outs in seen.values()} == {1}


async def test_a_lost_object_is_put_back_as_it_was(
    client: AtollClient, store: AssetStore, path: Path
) -> None:
    record = begun(store, path)
    await put(client, store, path)
    before = await read(client, record)
    assert await client.delete_asset(record.asset_id, record.upload_id)
    assert await chunks_of(client, record) == []
    ended = await put(client, store, path)
    assert ended.outcome is PutOutcome.UPLOADED
    assert await read(client, record) == before


async def test_a_half_of_an_asset_is_deleted(
    client: AtollClient, store: AssetStore, path: Path
) -> None:
    record = begun(store, path)
    assert await interrupt(client, store, path)
    assert not await client.delete_asset(record.asset_id, record.upload_id)
    assert await chunks_of(client, record) == []
    assert await client.asset(record.asset_id) is None


async def test_another_object_under_the_id_is_told(
    client: AtollClient, store: AssetStore, path: Path
) -> None:
    record = begun(store, path)
    await ObjectStore(client.bus, topology.ASSETS).put(record.asset_id, [b"theirs"])
    with pytest.raises(ConflictError) as caught:
        await put(client, store, path)
    assert caught.value.code == "asset.other_object"
    assert store.load("data").state is AssetState.UPLOADING


async def test_a_directory_is_put_as_its_archive(
    client: AtollClient, store: AssetStore, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("b", "a"):
        (folder / name).write_bytes(name.encode() * 1000)
    record = begun(store, folder)
    assert record.kind is AssetKind.DIRECTORY
    await put(client, store, folder)
    archive = b"".join(Source(folder).pieces())
    assert await read(client, record) == sealed(record, archive)
    # The same files in another place and order are the same asset.
    other = tmp_path / "other"
    other.mkdir()
    for name in ("a", "b"):
        (other / name).write_bytes(name.encode() * 1000)
    assert (await put(client, store, other)).outcome is PutOutcome.PRESENT


async def test_an_empty_file_is_an_asset(
    client: AtollClient, store: AssetStore, path: Path
) -> None:
    write(path, b"")
    record = begun(store, path)
    await put(client, store, path)
    assert await read(client, record) == sealed(record, b"")


def test_a_name_belongs_to_one_content_and_one_owner(store: AssetStore, path: Path) -> None:
    record = replace(begun(store, path), state=AssetState.STORED)
    known = known_of(path)
    require_same(record, Source(path), known, provider="me")
    for changes, provider in (({"sha256": "00" * 32}, "me"), ({"size": 1}, "me"), ({}, "bob")):
        with pytest.raises(RefusedError) as caught:
            require_same(record, Source(path), replace(known, **changes), provider=provider)
        assert caught.value.code == "asset.exists"
