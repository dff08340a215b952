"""Whoever has a login can rewrite sealed objects and publish releases. It gets them nowhere:
a job fails closed with a code that says why, and the stack goes on serving.
"""

import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any

import msgpack
import pytest
import pytest_asyncio

from atoll.bus import Bus, ObjectStore, publish
from atoll.client.connection import AtollClient
from atoll.computation.manifest import Dataset
from atoll.sealing.stream import CHUNK_SIZE, HEADER_SIZE, TAG_SIZE
from atoll.wire import schema, subjects, topology
from atoll.wire.messages import EventType, JobEvent, JobState
from support import wat
from support.client import (
    ALGORITHM,
    INVOCATION,
    Draft,
    drafted,
    ended,
    party,
    reached,
    release,
    releases_for,
    see_through,
    submit,
    told,
    until,
)
from support.stack import Stack

THREE_CHUNKS = 2 * CHUNK_SIZE + 1000
"""Bytes of a dataset that is sealed in three chunks."""


@pytest_asyncio.fixture
async def client(stack: Stack) -> AsyncIterator[AtollClient]:
    async with stack.client() as connected:
        yield connected


@pytest_asyncio.fixture
async def bus(stack: Stack) -> AsyncIterator[Bus]:
    """Whoever has the bus, and may write anything there."""
    async with stack.bus("operator") as connected:
        yield connected


async def rewrite(bus: Bus, draft: Draft, change: Callable[[bytes], bytes]) -> None:
    """Replace the sealed bytes of dataset `in`, with the right digest of the wrong bytes."""
    store = ObjectStore(bus, topology.ASSETS)
    name = draft.assets["in"].ref.asset_id
    _, chunks = await store.get(name)
    sealed = b"".join([chunk async for chunk in chunks])
    changed = change(sealed)
    assert changed != sealed
    await store.put(name, [changed])


def at(offset: int) -> Callable[[bytes], bytes]:
    """Flip one bit."""
    return lambda raw: raw[:offset] + bytes([raw[offset] ^ 1]) + raw[offset + 1 :]


def split(sealed: bytes) -> tuple[bytes, list[bytes]]:
    """The header and the sealed chunks."""
    body = sealed[HEADER_SIZE:]
    chunks = [body[start : start + CHUNK_SIZE] for start in range(0, len(body), CHUNK_SIZE)]
    assert len(chunks) == 3
    return sealed[:HEADER_SIZE], chunks


def reordered(sealed: bytes) -> bytes:
    header, (first, second, last) = split(sealed)
    return header + second + first + last


def repeated(sealed: bytes) -> bytes:
    header, (first, second, last) = split(sealed)
    return header + first + first + second + last


def without_a_chunk(sealed: bytes) -> bytes:
    header, (first, _, last) = split(sealed)
    return header + first + last


def without_the_last(sealed: bytes) -> bytes:
    header, (first, second, _) = split(sealed)
    return header + first + second


TAMPERED = {
    "a flipped bit in the magic": (at(0), "asset.header"),
    "another version": (at(9), "asset.header"),
    "a flipped bit in the asset id": (at(20), "asset.other_asset"),
    "a flipped bit in the nonce prefix": (at(35), "asset.corrupt"),
    "a flipped bit in the first chunk": (at(HEADER_SIZE), "asset.corrupt"),
    "a flipped bit in the last tag": (at(-1), "asset.corrupt"),
    "chunks in another order": (reordered, "asset.corrupt"),
    "a chunk twice": (repeated, "asset.corrupt"),
    "a chunk left out": (without_a_chunk, "asset.corrupt"),
    "the last chunk left out": (without_the_last, "asset.truncated"),
    "the last byte left out": (lambda raw: raw[:-1], "asset.corrupt"),
    "nothing at all": (lambda _: b"", "asset.truncated"),
    "a byte more": (lambda raw: raw + b"\0", "asset.corrupt"),
    "a chunk more": (lambda raw: raw + bytes(CHUNK_SIZE), "asset.corrupt"),
}


FULL_CHUNKS = 2 * (CHUNK_SIZE - TAG_SIZE)
"""Bytes of a dataset whose last chunk is full, so that its end shows only in the nonce."""


async def failure(client: AtollClient, draft: Draft) -> JobEvent:
    """See a job through that must fail."""
    last = (await see_through(client, draft))[-1]
    assert last.type is EventType.FAILED
    assert last.reason is not None
    return last


def code_of(event: JobEvent) -> str | None:
    return event.reason.code if event.reason else None


@pytest.mark.parametrize("what", TAMPERED)
async def test_a_rewritten_asset_fails_the_job(client: AtollClient, what: str, bus: Bus) -> None:
    change, code = TAMPERED[what]
    draft = await drafted(
        client, party(), wat.echo(), data={"in": secrets.token_bytes(THREE_CHUNKS)}
    )
    await rewrite(bus, draft, change)
    last = await failure(client, draft)
    assert code_of(last) == code
    assert last.reason is not None
    assert "'in'" in last.reason.message


async def test_an_asset_that_goes_on_after_its_end_fails_the_job(
    client: AtollClient, bus: Bus
) -> None:
    draft = await drafted(
        client, party(), wat.echo(), data={"in": secrets.token_bytes(FULL_CHUNKS)}
    )
    await rewrite(bus, draft, lambda raw: raw + bytes(CHUNK_SIZE))
    assert code_of(await failure(client, draft)) == "asset.extended"


async def test_two_assets_in_each_other_s_place_fail_the_job(client: AtollClient, bus: Bus) -> None:
    draft = await drafted(client, party(), wat.echo(), data={"in": b"one", "other": b"two"})
    store = ObjectStore(bus, topology.ASSETS)
    names = [draft.assets[name].ref.asset_id for name in ("in", "other")]
    contents = [[chunk async for chunk in (await store.get(name))[1]] for name in names]
    for name, content in zip(names, reversed(contents), strict=True):
        await store.put(name, content)
    assert code_of(await failure(client, draft)) == "asset.other_asset"


async def test_another_asset_of_the_same_party_under_this_id_fails_the_job(
    client: AtollClient, bus: Bus
) -> None:
    """Header and id are right, the key is another asset's."""
    keys = party()
    draft = await drafted(client, keys, wat.echo(), data={"in": b"agreed"})
    other = await drafted(client, keys, wat.echo(), data={"in": b"foiled"})
    store = ObjectStore(bus, topology.ASSETS)
    _, chunks = await store.get(other.assets["in"].ref.asset_id)
    foreign = b"".join([chunk async for chunk in chunks])
    await rewrite(bus, draft, lambda own: own[:HEADER_SIZE] + foreign[HEADER_SIZE:])
    assert code_of(await failure(client, draft)) == "asset.corrupt"


async def test_an_asset_that_was_never_uploaded_fails_the_job(client: AtollClient) -> None:
    draft = await drafted(client, party(), wat.echo(), data={"in": b"here"})
    missing = replace(draft.assets["in"].ref, asset_id=secrets.token_hex(16))
    fresh = replace(draft.assets["in"].secrets, asset_id=bytes.fromhex(missing.asset_id))
    assets = {**draft.assets, "in": replace(draft.assets["in"], ref=missing, secrets=fresh)}
    draft = replace(draft.changed(datasets={"in": Dataset(asset=missing)}), assets=assets)
    assert code_of(await failure(client, draft)) == "asset.not_found"


@pytest.mark.parametrize("name", ["in", ALGORITHM, INVOCATION])
async def test_content_that_is_not_what_was_agreed_fails_the_job(
    client: AtollClient, name: str
) -> None:
    draft = await drafted(client, party(), wat.echo(), data={"in": b"agreed"})
    wrong = replace(draft.assets[name].ref, commitment=secrets.token_hex(32))
    changes: dict[str, Any] = {"datasets": {name: Dataset(asset=wrong)}}
    (step,) = draft.manifest.steps
    if name == ALGORITHM:
        changes = {"steps": (replace(step, algorithm=wrong),)}
    elif name == INVOCATION:
        changes = {"steps": (replace(step, invocation=wrong),)}
    assert code_of(await failure(client, draft.changed(**changes))) == "asset.digest"


@pytest.mark.parametrize("size", [0, 5, 7, 1 << 20])
async def test_content_of_another_size_fails_the_job(client: AtollClient, size: int) -> None:
    draft = await drafted(client, party(), wat.echo(), data={"in": b"agreed"})
    wrong = replace(draft.assets["in"].ref, size=size)
    assert (
        code_of(await failure(client, draft.changed(datasets={"in": Dataset(asset=wrong)})))
        == "asset.size"
    )


async def publish_release(bus: Bus, enclave_id: str, raw: bytes) -> None:
    """What whoever has the bus can send to an enclave."""
    await publish(bus, subjects.RELEASE.of(enclave_id), raw)


BOMB = b"\xdd\xff\xff\xff\xff" * 180_000
"""900 KB of arrays that each claim 2^32 items."""

GARBAGE = {
    "nothing": (b"", "message.malformed"),
    "noise": (secrets.token_bytes(4096), "message.malformed"),
    "a MessagePack bomb": (BOMB, "message.too_large"),
    "a deep MessagePack bomb": (b"\x91" * 8000, "message.malformed"),
    "no map": (msgpack.packb([1, 2]), "message.invalid"),
    "invalid UTF-8": (b"\x81\xa7version\xa2\xff\xfe", "message.malformed"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A job whose enclave waits for keys."""

    draft: Draft
    event: JobEvent

    @property
    def enclave_id(self) -> str:
        assert self.event.enclave_id is not None
        return self.event.enclave_id


async def waiting(client: AtollClient) -> Waiting:
    draft = await drafted(client, party(), wat.echo(), data={"in": b"content"})
    view = await submit(client, draft)
    events = await until(client, view.job_id, reached(JobState.AWAITING_ASSETS))
    return Waiting(draft=draft, event=events[-1])


async def refused_then_completes(client: AtollClient, job: Waiting) -> JobEvent:
    """The notice of a refused release; afterwards the right releases still count."""
    notice = (await until(client, job.event.job_id, told(EventType.RELEASE_REFUSED)))[-1]
    assert notice.state is JobState.AWAITING_ASSETS
    await release(client, job.draft, job.event)
    events = await until(client, job.event.job_id, ended)
    assert events[-1].state is JobState.COMPLETED
    assert events[-1].attempt == 1
    return notice


@pytest.mark.parametrize("what", GARBAGE)
async def test_garbage_instead_of_a_release_is_refused(
    client: AtollClient, what: str, bus: Bus
) -> None:
    raw, code = GARBAGE[what]
    job = await waiting(client)
    await publish_release(bus, job.enclave_id, raw)
    assert code_of(await refused_then_completes(client, job)) == code


WRONG_RELEASES: dict[str, tuple[dict[str, Any], str]] = {
    "signed by another party": ({"provider": party("me")}, "release.signature"),
    "of another party": ({"provider": party("eve")}, "release.wrong_party"),
    "for another job": ({"job_id": "j" + "0" * 25}, "release.other_job"),
    "for another attempt": ({"attempt": 2}, "release.stale_attempt"),
    "for another manifest": ({"manifest_digest": bytes(32)}, "release.other_manifest"),
    "for other evidence": ({"evidence_digest": bytes(32)}, "release.other_evidence"),
    "for another asset": ({"asset_id": bytes(16)}, "release.other_asset"),
    "for an asset that nobody agreed on": ({"asset_name": "more"}, "release.undeclared_asset"),
    "wrapped to another enclave": (
        {"enclave_hpke_key": party().public.hpke_key},
        "release.wrapped",
    ),
}


@pytest.mark.parametrize("what", WRONG_RELEASES)
async def test_a_wrong_release_is_refused(client: AtollClient, what: str, bus: Bus) -> None:
    changes, code = WRONG_RELEASES[what]
    job = await waiting(client)
    wrong = await releases_for(client, job.draft, job.event, **changes)
    await publish_release(bus, job.enclave_id, schema.encode(wrong["in"]))
    notice = await refused_then_completes(client, job)
    assert code_of(notice) == code


async def test_the_release_of_an_earlier_job_is_refused(client: AtollClient, bus: Bus) -> None:
    earlier, job = await waiting(client), await waiting(client)
    old = (await releases_for(client, earlier.draft, earlier.event))["in"]
    await release(client, earlier.draft, earlier.event)
    await until(client, earlier.event.job_id, ended)
    await publish_release(bus, job.enclave_id, schema.encode(old))
    assert code_of(await refused_then_completes(client, job)) == "release.other_job"


async def test_a_release_with_an_unknown_field_is_refused(client: AtollClient, bus: Bus) -> None:
    job = await waiting(client)
    good = (await releases_for(client, job.draft, job.event))["in"]
    plain = {**schema.to_plain(good), "surprise": 1}
    await publish_release(bus, job.enclave_id, msgpack.packb(plain))
    assert code_of(await refused_then_completes(client, job)) == "message.invalid"


async def test_a_release_of_an_unknown_version_is_refused(client: AtollClient, bus: Bus) -> None:
    job = await waiting(client)
    good = (await releases_for(client, job.draft, job.event))["in"]
    plain = {**schema.to_plain(good), "version": 2}
    await publish_release(bus, job.enclave_id, msgpack.packb(plain))
    assert code_of(await refused_then_completes(client, job)) == "message.invalid"


async def test_a_flood_of_bad_releases_neither_ends_the_job_nor_fills_its_history(
    client: AtollClient, bus: Bus
) -> None:
    job = await waiting(client)
    for number in range(60):
        await publish_release(bus, job.enclave_id, b"flood %d" % number)
    await release(client, job.draft, job.event)
    events = await until(client, job.event.job_id, ended)
    assert events[-1].state is JobState.COMPLETED
    assert len([one for one in events if one.type is EventType.RELEASE_REFUSED]) == 16
