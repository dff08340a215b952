"""Events as a reader outside sees them: replayed from any point, or kept for under a name.

A durable consumer is the server's memory of what a reader has settled. Whoever may read
events may make one; several readers of one name share its events.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from atoll.bus import Delivery, StreamMessage, WorkQueue, ensure_consumer, read_stream
from atoll.client.connection import AtollClient
from atoll.errors import ConflictError, MessageError
from atoll.telemetry.context import extract, render
from atoll.wire import cloudevents, subjects
from atoll.wire.cloudevents import Event
from atoll.wire.messages import JobEvent
from atoll.wire.topology_types import Consumer

ACK_WAIT_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An event, its place among all events, and the trace that it belongs to."""

    place: int
    event: Event
    traceparent: str

    def structured(self) -> dict[str, object]:
        """In the JSON format of CloudEvents."""
        return cloudevents.structured(self.event, self.traceparent, place=self.place)


async def replay(
    client: AtollClient, job_id: str | None, *, after: int, follow: bool
) -> AsyncGenerator[Told, None]:
    """A job's events behind its number `after`, or all events behind the place `after`.

    In order, each once. With `follow` it waits for more; the caller stops when it has seen enough.

    Raises:
        MessageError: what stands there is no event.
    """
    start = 1 if job_id else after + 1
    messages = read_stream(
        client.bus, client.history, _filter(job_id), start_seq=start, follow=follow
    )
    async with aclosing(messages):
        async for item in messages:
            told = _told(item.seq, item.subject, item)
            if job_id is not None and isinstance(told.event, JobEvent):
                if told.event.seq <= after:
                    continue
                after = told.event.seq
            yield told


@asynccontextmanager
async def durable(
    client: AtollClient, name: str, job_id: str | None, *, after: int = 0
) -> AsyncIterator[AsyncGenerator[Told, None]]:
    """Events that nobody settled under `name` yet, in order; it waits for more.

    An event is settled when the next one is asked for, so a reader that dies in between gets
    it again. The first reader of a name decides from where on and about which job.

    Raises:
        ConflictError: `events.other_consumer`: the name stands for events of other jobs.
    """
    consumer = Consumer(
        stream=client.history,
        name=name,
        filter=_filter(job_id),
        ack_wait_s=ACK_WAIT_S,
        max_deliver=-1,
        # One at a time: what comes again comes before what follows it.
        max_ack_pending=1,
        start_seq=after + 1,
    )
    try:
        await ensure_consumer(client.bus, consumer)
    except ConflictError as error:
        raise ConflictError(
            f"the durable consumer {name!r} exists and starts elsewhere or is about other jobs",
            code="events.other_consumer",
            hint="use another name, or leave out what differs",
        ) from error
    try:
        async with WorkQueue(client.bus, consumer) as queue, aclosing(_settling(queue)) as events:
            yield events
    except BaseExceptionGroup as group:
        # The queue has tasks of its own; what the reader raised is not theirs.
        if len(group.exceptions) != 1:
            raise
        raise group.exceptions[0] from None


async def _settling(queue: WorkQueue) -> AsyncGenerator[Told, None]:
    while True:
        delivery = await queue.next()
        try:
            told = _told(delivery.stream_seq, delivery.subject, delivery)
        except MessageError:
            await delivery.ack()  # it will never be one
            continue
        yield told
        await delivery.ack()


def _filter(job_id: str | None) -> str:
    if job_id is None:
        return subjects.EVENT.wildcard
    return subjects.EVENT.under(cloudevents.JOB, job_id)


def _told(place: int, subject: str, message: StreamMessage | Delivery) -> Told:
    context = extract(message.headers)
    return Told(
        place=place,
        event=cloudevents.read(subject, message.headers, message.payload),
        traceparent=render(context) if context else "",
    )
