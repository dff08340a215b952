"""The raw limits, as tasks of `bench.children`: the same bytes and counts without Atoll.

JetStream goes through plain nats-py with as much in flight as Atoll's transfer has.
"""

import asyncio
import hashlib
import json
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import nats
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig, StorageType

from atoll.bus.objects import FETCH
from atoll.bus.upload import CHUNK_SIZE, WINDOW
from bench.report import BenchError

Parameters = dict[str, Any]
Go = Callable[[], Awaitable[None]]

PIECE: Final = 524_272
STREAM: Final = "RAW"
CHUNKS: Final = "raw.chunks"
SMALL: Final = "raw.small"
MESSAGE_SIZE: Final = 1024
TIMEOUT_S: Final = 30.0


async def _connect(given: Parameters) -> Client:
    client: Client = await nats.connect(
        given["url"], user=given["user"], password=given["password"], connect_timeout=5
    )
    return client


async def publish_chunks(given: Parameters, go: Go) -> Parameters:
    """Publish a file in chunks to an empty stream, `WINDOW` unacknowledged at a time."""
    client = await _connect(given)
    stream = client.jetstream()
    await stream.add_stream(name=STREAM, subjects=[CHUNKS, SMALL], storage=StorageType.FILE)
    await stream.purge_stream(STREAM)
    await go()
    began = time.perf_counter()
    flying: deque[asyncio.Task[Any]] = deque()
    async with asyncio.TaskGroup() as group:
        for piece in _pieces(Path(given["path"])):
            if len(flying) >= WINDOW:
                await flying.popleft()
            publishing = stream.publish(CHUNKS, piece, timeout=TIMEOUT_S)
            flying.append(group.create_task(publishing))
    seconds = time.perf_counter() - began
    await client.close()
    return {"seconds": seconds}


async def fetch_chunks(given: Parameters, go: Go) -> Parameters:
    """Fetch what `publish_chunks` stored: `FETCH` chunks asked for, more when half came."""
    client = await _connect(given)
    stream = client.jetstream()
    count = (await stream.stream_info(STREAM)).state.messages
    config = ConsumerConfig(ack_policy=AckPolicy.NONE, inactive_threshold=30.0)
    consumer = (await stream.add_consumer(STREAM, config)).name
    inbox = client.new_inbox()
    incoming = await client.subscribe(inbox)
    await go()
    began = time.perf_counter()
    size = received = asked = 0
    while received < count:
        if asked - received <= FETCH // 2:
            more = FETCH - (asked - received)
            request = {"batch": more, "expires": int(TIMEOUT_S * 1e9)}
            await client.publish(
                f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{consumer}",
                json.dumps(request).encode(),
                reply=inbox,
            )
            asked += more
        message = await incoming.next_msg(TIMEOUT_S)
        if message.subject != CHUNKS:
            raise BenchError(f"the server answered {message.headers}")
        received += 1
        size += len(message.data)
    seconds = time.perf_counter() - began
    await client.close()
    if size != given["size"]:
        raise BenchError(f"fetched {size} bytes, want {given['size']}")
    return {"seconds": seconds}


async def messages(given: Parameters, go: Go) -> Parameters:
    """Publish small messages and consume them with acknowledgement, `WINDOW` at a time."""
    client = await _connect(given)
    stream = client.jetstream()
    await stream.add_stream(name=STREAM, subjects=[CHUNKS, SMALL], storage=StorageType.FILE)
    await stream.purge_stream(STREAM)
    incoming = await stream.pull_subscribe(SMALL, durable="small")
    payload = bytes(MESSAGE_SIZE)

    async def one() -> None:
        await stream.publish(SMALL, payload, timeout=TIMEOUT_S)

    await go()
    began = time.perf_counter()
    await repeat(one, given["count"], WINDOW)
    left = given["count"]
    while left:
        for message in await incoming.fetch(min(left, 256), timeout=TIMEOUT_S):
            await message.ack_sync(timeout=TIMEOUT_S)
            left -= 1
    seconds = time.perf_counter() - began
    await client.close()
    return {"seconds": seconds}


async def aes_seal(given: Parameters, go: Go) -> Parameters:
    """AES-256-GCM encryption of as many bytes, from memory to memory."""
    cipher, nonce, piece = AESGCM(bytes(32)), bytes(12), bytes(PIECE)
    await go()
    began = time.perf_counter()
    for _ in range(_rounds(given)):
        cipher.encrypt(nonce, piece, None)
    return {"seconds": time.perf_counter() - began}


async def aes_open(given: Parameters, go: Go) -> Parameters:
    """The same in the other direction."""
    cipher, nonce = AESGCM(bytes(32)), bytes(12)
    sealed = cipher.encrypt(nonce, bytes(PIECE), None)
    await go()
    began = time.perf_counter()
    for _ in range(_rounds(given)):
        cipher.decrypt(nonce, sealed, None)
    return {"seconds": time.perf_counter() - began}


async def sha256(given: Parameters, go: Go) -> Parameters:
    """SHA-256 over as many bytes, from memory."""
    seen, piece = hashlib.sha256(), bytes(PIECE)
    await go()
    began = time.perf_counter()
    for _ in range(_rounds(given)):
        seen.update(piece)
    return {"seconds": time.perf_counter() - began}


async def starts(given: Parameters, go: Go) -> Parameters:
    """Start and end interpreters that run `code`, `together` at a time."""

    async def one() -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-c", given["code"], env={}
        )
        if await process.wait() != 0:
            raise BenchError(f"{given['code']!r} does not run")

    await go()
    return {"seconds": await repeat(one, given["count"], given["together"])}


async def repeat(one: Callable[[], Awaitable[None]], count: int, together: int) -> float:
    """Seconds that `count` calls take with `together` under way at a time."""
    left = count
    began = time.perf_counter()

    async def lane() -> None:
        nonlocal left
        while left:
            left -= 1
            await one()

    async with asyncio.TaskGroup() as group:
        for _ in range(together):
            group.create_task(lane())
    return time.perf_counter() - began


def _rounds(given: Parameters) -> int:
    return -(-int(given["size"]) // PIECE)


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from iter(lambda: file.read(CHUNK_SIZE), b"")
