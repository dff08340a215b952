"""Reading a stream in order, without gaps, through reconnects.

The reader is what ADR-17 calls an ordered consumer, on pull: a nameless consumer in
the server's memory that acknowledges nothing and counts its deliveries. When a count is
missing, the connection was lost or the consumer disappeared, a new one starts at the
sequence after the last message handed out, so the caller sees each message once.

Needs permission for `$JS.API.CONSUMER.CREATE.<stream>.>`,
`$JS.API.CONSUMER.MSG.NEXT.<stream>.>`, `$JS.API.CONSUMER.DELETE.<stream>.>`.

Not checked: whether the stream dropped messages by its own limits while the reader was
away, and whether it was deleted and made anew.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Final, Literal

from atoll.bus import jetstream
from atoll.bus.connection import RETRY_PAUSE_S, Bus
from atoll.bus.message import AckSubject, StreamMessage
from atoll.bus.pull import Interrupted, Puller
from atoll.bus.subjects import require_filter
from atoll.errors import AtollError, MessageError, UnreachableError
from atoll.wire.names import require_token

BATCH: Final = 256
BATCH_BYTES: Final = 4 << 20
PATIENCE_S: Final = 30.0
"""How long a reader that does not follow waits for the server to come back."""

_INACTIVE_S: Final = 30
_NANOSECOND: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What to read and how; for the other modules of this package."""

    stream: str
    filter: str
    start_seq: int = 1
    follow: bool = False
    deliver: Literal["all", "last_per_subject"] = "all"
    """`last_per_subject` applies to the first consumer; later ones start by sequence."""
    headers_only: bool = False
    batch: int = BATCH
    low_water: int = 0
    max_bytes: int = BATCH_BYTES


def read_stream(
    bus: Bus, stream: str, subject: str, *, start_seq: int = 1, follow: bool = False
) -> AsyncGenerator[StreamMessage, None]:
    """Every stored message that matches `subject`, from `start_seq` on, in order, once.

    Without `follow` it ends at the message that was the newest when it was sent; with
    it, it waits for more, for ever, also while the server is away. Use
    `contextlib.aclosing` around it when leaving the loop early.

    Raises:
        NotFoundError: `bus.not_found`: no such stream.
        UnreachableError: without `follow`, the server was away for 30 s.
        RefusedError: `bus.permission`.
    """
    return read(bus, Reading(stream=stream, filter=subject, start_seq=start_seq, follow=follow))


async def read(bus: Bus, reading: Reading) -> AsyncGenerator[StreamMessage, None]:
    """`read_stream` with all options."""
    require_token(reading.stream, "stream")
    require_filter(reading.filter)
    last = 0
    while True:
        consumer, pending = await _create(bus, reading, last)
        if pending == 0 and not reading.follow:
            await _delete(bus, reading.stream, consumer)
            return
        puller = Puller(
            bus,
            reading.stream,
            consumer,
            batch=reading.batch,
            low_water=reading.low_water,
            max_bytes=reading.max_bytes,
        )
        try:
            await puller.open()
            expected = 1
            while True:
                raw = await puller.next()
                place = AckSubject.parse(raw.reply)
                if place.consumer != consumer:
                    continue
                if place.consumer_seq != expected:
                    break
                expected += 1
                last = place.stream_seq
                yield StreamMessage(
                    seq=place.stream_seq,
                    subject=raw.subject,
                    headers=raw.headers,
                    payload=raw.payload,
                    time=place.time,
                    pending=place.pending,
                )
                if place.pending == 0 and not reading.follow:
                    return
        except Interrupted:
            pass
        finally:
            await puller.close()
            await _delete(bus, reading.stream, consumer)


async def _create(bus: Bus, reading: Reading, last: int) -> tuple[str, int]:
    """A new consumer that starts after `last`, and how many messages wait for it."""
    # Not to be guessed: who knows a consumer's name can take its messages.
    name = f"r{secrets.token_hex(16)}"
    config: dict[str, Any] = {
        "name": name,
        "filter_subject": reading.filter,
        "ack_policy": "none",
        "replay_policy": "instant",
        "max_deliver": 1,
        "mem_storage": True,
        "num_replicas": 1,
        "inactive_threshold": _INACTIVE_S * _NANOSECOND,
        "headers_only": reading.headers_only,
    }
    if last == 0 and reading.deliver == "last_per_subject":
        config["deliver_policy"] = "last_per_subject"
    else:
        config["deliver_policy"] = "by_start_sequence"
        config["opt_start_seq"] = last + 1 if last else max(1, reading.start_seq)
    verb = f"CONSUMER.CREATE.{reading.stream}.{name}"
    if reading.filter != ">":
        # The filter stands in the subject too, so that permissions can hold us to it.
        verb = f"{verb}.{reading.filter}"
    body = {"stream_name": reading.stream, "config": config, "action": "create"}
    while True:
        try:
            info = await jetstream.api(bus, verb, body, timeout_s=PATIENCE_S)
            break
        except UnreachableError:
            if not reading.follow:
                raise
        await asyncio.sleep(RETRY_PAUSE_S)
    pending = info.get("num_pending")
    if not isinstance(pending, int):
        raise MessageError(f"{reading.stream}: not a consumer", code="bus.reply")
    return name, pending


async def _delete(bus: Bus, stream: str, consumer: str) -> None:
    # Without waiting for the answer: this also runs while being cancelled, and the
    # server forgets an inactive consumer by itself.
    if bus.connected:
        with contextlib.suppress(AtollError):
            await bus.send(f"{bus.config.api}.CONSUMER.DELETE.{stream}.{consumer}", b"")
