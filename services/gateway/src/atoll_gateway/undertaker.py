"""Makes dead letters of messages that the bus no longer delivers, and ends their jobs.

Such a message stays in its queue for ever, where nobody sees it. The server says once that
it gave up; the stream ADVISORIES keeps that word, and a gateway works it off:

    keep a letter -> end the job, if it asked for an enclave -> erase it from the queue -> ack

A spawn request whose job has ended needs no letter. Each step may be repeated, so any number
of gateways may do this and die in the middle. A server that is killed may lose its word. So
every gateway also looks, now and then, for what a queue still holds although its consumers
have nothing outstanding.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from atoll.bus import Bus, Delivery, WorkQueue, message_at
from atoll.bus import dead_letter as dead
from atoll.bus.dead_letter import Letter
from atoll.bus.jetstream import api, erase, message_after
from atoll.errors import AtollError, InputError, MessageError, NotFoundError
from atoll.wire import schema, subjects, topology
from atoll.wire.messages import SpawnRequest
from atoll.wire.topology_types import Consumer
from atoll_gateway import core
from atoll_gateway.ledger import Ledger

_log = logging.getLogger(__name__)

EXHAUSTED: Final = "queue.exhausted"
"""Delivered as often as the queue allows, and never settled."""

TERMINATED: Final = "queue.terminated"
"""Given up by its worker, who kept no letter."""

DELETED: Final = "Unacknowledged message was deleted"
"""The server's reason (nats-server, consumer.go) when a message left its stream before its consumer
knew of an acknowledgement."""

LOOK_S: Final = 30.0
MAX_ADVISORY: Final = 8192
MAX_LOOKED_AT: Final = 1000
"""Messages of one queue in one look."""

_SPAWN_ID: Final = "spawn."


@dataclass(frozen=True, slots=True)
class Advisory:
    """The server's word that it does not deliver a message again."""

    stream: str
    sequence: int
    deliveries: int
    terminated: bool
    text: str

    @classmethod
    def parse(cls, subject: str, payload: bytes) -> "Advisory":
        """Read one as ADVISORIES keeps it (`io.nats.jetstream.advisory.v1.*`).

        Raises:
            MessageError: `advisory.malformed`.
        """
        terminated = subject.startswith(subjects.TERMINATED.template.partition("{")[0])
        kind = subjects.TERMINATED if terminated else subjects.EXHAUSTED
        try:
            stream, _ = kind.read(subject)
            value = json.loads(payload) if len(payload) <= MAX_ADVISORY else None
        except (InputError, ValueError, RecursionError) as error:
            raise _malformed() from error
        fields = value if isinstance(value, dict) else {}
        sequence, deliveries = fields.get("stream_seq"), fields.get("deliveries")
        if type(sequence) is not int or type(deliveries) is not int or sequence < 1:
            raise _malformed()
        text = str(fields.get("reason", ""))
        return cls(stream, sequence, max(deliveries, 0), terminated, text)


def _malformed() -> MessageError:
    return MessageError("an advisory of the server is malformed", code="advisory.malformed")


class Undertaker:
    """What one gateway does for all of them; `further` names the consumers of work queues that
    this deployment has beside those of the topology."""

    def __init__(
        self, bus: Bus, ledger: Ledger, further: Callable[[], Iterable[Consumer]] = tuple
    ) -> None:
        self._bus = bus
        self._ledger = ledger
        self._further = further
        self._left = _Left()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._work())
            group.create_task(self._look_again())

    async def _work(self) -> None:
        async with WorkQueue(self._bus, topology.UNDERTAKER_CONSUMER) as queue:
            while True:
                delivery = await queue.next()
                try:
                    await self._handle(delivery)
                except AtollError as error:
                    _log.warning("advisory %d: %s", delivery.stream_seq, error)
                    queue.release(delivery.reply_subject)

    async def _handle(self, delivery: Delivery) -> None:
        try:
            advisory = Advisory.parse(delivery.subject, delivery.payload)
        except MessageError as error:
            # Not of this server version's making; `look` finds what it was about.
            _log.error("%s: %r", error, delivery.payload[:200])
            await delivery.term(error.code)
            return
        try:
            await self.settle(advisory, told=delivery.stored)
        except AtollError as error:
            _log.warning(
                "message %d of %s cannot be kept yet: %s (%s)",
                *(advisory.sequence, advisory.stream, error, error.code),
            )
            await delivery.retry()
            return
        await delivery.ack()

    async def settle(self, advisory: Advisory, *, told: datetime) -> None:
        """Keep the message that `advisory` is about, with all that follows."""
        stream, sequence = advisory.stream, advisory.sequence
        message = await message_at(self._bus, stream, sequence)
        if message is None:
            if not advisory.terminated:
                return  # erased by whoever settled this before, or purged
            if advisory.text == DELETED:
                # A server that is killed may forget an acknowledgement and remember what that
                # erased; nobody else erases from these streams but who purges them.
                _log.warning("message %d of %s is gone: acknowledged or purged", sequence, stream)
                return
            await self._terminated(advisory, told)
            return
        letter = Letter.about(
            message,
            stream=stream,
            code=TERMINATED if advisory.terminated else EXHAUSTED,
            text=advisory.text or f"delivered {advisory.deliveries} times and never settled",
            deliveries=advisory.deliveries,
        )
        await self._bury(letter)

    async def _bury(self, letter: Letter) -> None:
        if await self._is_over(letter):
            # Its work was done and only its acknowledgement was lost: nothing to tell.
            await erase(self._bus, letter.stream, letter.sequence)
            return
        if await dead.keep(self._bus, letter):
            _log.error("message %d of %s is a dead letter", letter.sequence, letter.stream)
        await self._mourn(letter)
        await erase(self._bus, letter.stream, letter.sequence)

    async def _terminated(self, advisory: Advisory, told: datetime) -> None:
        """Whoever terminates a message keeps it first; if not, keep at least that it was."""
        letter = await dead.about(self._bus, advisory.stream, advisory.sequence)
        if letter is None:
            letter = Letter(
                stream=advisory.stream,
                subject="unknown",
                sequence=advisory.sequence,
                deliveries=advisory.deliveries,
                code=TERMINATED,
                text=dead.one_line(advisory.text),
                stored=told,
                headers={},
                payload=b"",
                size=0,
                state=dead.LOST,
            )
            await dead.keep(self._bus, letter)
            _log.error("message %d of %s was terminated", letter.sequence, letter.stream)
        await self._mourn(letter)

    async def _is_over(self, letter: Letter) -> bool:
        job_id = job_of(letter)
        try:
            return job_id is not None and (await self._ledger.get(job_id)).state.terminal
        except NotFoundError:
            return False

    async def _mourn(self, letter: Letter) -> None:
        """Nothing accepted is lost: a job that nobody starts any more ends."""
        job_id = job_of(letter)
        if job_id is None:
            return
        try:
            await self._ledger.apply(job_id, core.Undeliverable())
        except NotFoundError:
            _log.warning("a spawn request for job %s, which nobody knows", job_id)

    async def _look_again(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.look()
            except AtollError as error:
                _log.warning("a look at the queues failed: %s", error.code)

    async def look(self) -> None:
        """Bury what was seen left behind at the last look as well."""
        for queue in topology.QUEUES:
            for consumer in topology.WORKERS[queue.name][1]:
                await self._look_at(consumer)
        for consumer in self._further():
            with contextlib.suppress(NotFoundError):  # it is made again, or it was retired
                await self._look_at(consumer)

    async def _look_at(self, consumer: Consumer) -> None:
        info = await api(self._bus, f"CONSUMER.INFO.{consumer.stream}.{consumer.name}")
        delivered = _delivered(info)
        found: dict[int, Letter] = {}
        sequence = 1
        pattern = consumer.filter or ">"
        while len(found) < MAX_LOOKED_AT:
            message = await message_after(self._bus, consumer.stream, sequence, pattern)
            if message is None or message.seq > delivered:
                break
            sequence = message.seq + 1
            text = "found in its queue with nobody to settle it"
            found[message.seq] = Letter.about(
                message, stream=consumer.stream, code=EXHAUSTED, text=text, deliveries=0
            )
        for number in self._left.twice(consumer, frozenset(found)):
            await self._bury(found[number])


@dataclass(slots=True)
class _Left:
    """What the last look found, by consumer: a message that is being acknowledged at this
    moment also seems left behind, once."""

    seen: dict[str, frozenset[int]] = field(default_factory=dict)

    def twice(self, consumer: Consumer, found: frozenset[int]) -> list[int]:
        key = f"{consumer.stream} {consumer.name}"
        again = sorted(found & self.seen.get(key, frozenset()))
        self.seen[key] = found - frozenset(again)
        return again


def _delivered(info: Mapping[str, Any]) -> int:
    """The newest message that a consumer handed out, if it waits for nothing; else 0."""
    place = info.get("delivered")
    sequence = place.get("stream_seq") if isinstance(place, dict) else None
    return sequence if info.get("num_ack_pending") == 0 and type(sequence) is int else 0


def job_of(letter: Letter) -> str | None:
    """The job that a dead spawn request was for."""
    if letter.stream != topology.SPAWN.name:
        return None
    try:
        return schema.decode(SpawnRequest, letter.payload).job_id
    except MessageError:
        # What the gateway itself published has the job in its message id as well.
        name = letter.message_id.removeprefix(_SPAWN_ID)
        return name if name != letter.message_id and name else None
