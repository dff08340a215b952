"""Taking work from a queue: pull one, hold it, settle it.

Delivery is at least once. What makes an effect happen once is the caller's: do it
idempotently (KV create or update), make it durable, then `ack`, which returns only when
the server has recorded it. While a delivery is held, the server is told every third of
the acknowledgement wait that work goes on; when this process dies, that stops, and
somebody else gets the message.

Needs permission for `$JS.API.CONSUMER.MSG.NEXT.<stream>.<consumer>` and
`$JS.ACK.<stream>.<consumer>.>`; after a server was killed `$JS.API.DIRECT.GET.<stream>`, on a
cluster `$JS.API.STREAM.MSG.GET.<stream>`, and `$JS.API.STREAM.INFO.<stream>`.
"""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self

from atoll.ascii_text import printable
from atoll.bus.connection import RETRY_PAUSE_S, Bus
from atoll.bus.jetstream import api, message_at
from atoll.bus.message import AckSubject, Message
from atoll.bus.pull import Interrupted, Puller
from atoll.errors import AtollError, MessageError, NotFoundError, UnreachableError
from atoll.wire.topology_types import Consumer

ACK_TIMEOUT_S: Final = 20.0
ACK_ATTEMPT_S: Final = 2.0
MAX_REASON: Final = 256
_NANOSECOND: Final = 1_000_000_000
_GONE_LIMIT: Final = 20
"""Times a consumer may seem gone in a row before we believe it: a server that just
started answers so for the moments in which it reads its streams."""

_LEADERLESS_LIMIT: Final = 30
"""The same on a cluster, each time a second after the stream was seen to have a leader: as
long as there is none, and while the consumer elects its own, nobody serves it either."""

_LEADERLESS_PAUSE_S: Final = 1.0


class Delivery:
    """One message of a work queue, held until it is settled.

    Exactly one of `ack`, `nak` and `term` counts; further calls do nothing.
    """

    def __init__(self, queue: "WorkQueue", message: Message, place: AckSubject) -> None:
        self._queue = queue
        self._reply = message.reply
        self.payload = message.payload
        self.headers = message.headers
        self.subject = message.subject
        self.num_delivered = place.num_delivered
        """1 the first time, as far as the server remembers."""
        self.stream_seq = place.stream_seq
        self.stored = place.time
        """When the queue stored it (server's clock, whole microseconds)."""

    @property
    def is_last(self) -> bool:
        """Whether the server will not deliver it again: settle it, or it is a dead letter."""
        return 0 < self._queue.consumer.max_deliver <= self.num_delivered

    async def ack(self) -> None:
        """It is done. Returns when the server has recorded that (double ack).

        A server that was killed may have forgotten that it delivered this message and then
        leaves an ack unanswered. Then the stream is asked: in a work queue an
        acknowledged message is gone, so this is settled either way.

        Raises:
            UnreachableError: `bus.ack_lost`: not recorded, the message comes again (in a
                stream with `limits` retention: perhaps). `bus.unreachable`: nobody knows.
        """
        if not self._queue.release(self._reply):
            return
        try:
            async with asyncio.timeout(ACK_TIMEOUT_S):
                await self._record()
        except TimeoutError as error:
            self._queue.hold(self)
            raise UnreachableError(
                f"{self.subject}: no server to acknowledge to", code="bus.unreachable"
            ) from error
        except asyncio.CancelledError:
            # Not settled after all: the caller may ack again.
            self._queue.hold(self)
            raise

    async def _record(self) -> None:
        bus, consumer = self._queue.bus, self._queue.consumer
        while True:
            try:
                await bus.call(self._reply, b"+ACK", timeout_s=ACK_ATTEMPT_S)
            except UnreachableError as error:
                if error.code == "bus.timeout":
                    if await message_at(bus, consumer.stream, self.stream_seq) is None:
                        return
                    raise UnreachableError(
                        f"{self.subject}: message {self.stream_seq} was not acknowledged and "
                        "comes again",
                        code="bus.ack_lost",
                    ) from error
            else:
                return
            await asyncio.sleep(RETRY_PAUSE_S)

    async def nak(self, delay_s: float = 0.0) -> None:
        """Not now: deliver it again, after `delay_s`."""
        if self._queue.release(self._reply):
            body = b"-NAK"
            if delay_s > 0:
                body += b" " + json.dumps({"delay": int(delay_s * _NANOSECOND)}).encode()
            await self._queue.bus.send(self._reply, body)

    async def retry(self) -> None:
        """It failed: deliver it again after the pause that the consumer's `retry_s` names for
        this delivery. After the last one it becomes a dead letter."""
        steps = self._queue.consumer.retry_s
        await self.nak(delay_s=steps[min(self.num_delivered, len(steps)) - 1] if steps else 0.0)

    async def term(self, reason: str) -> None:
        """Never: do not deliver it again. `reason` goes into the server's advisory."""
        if self._queue.release(self._reply):
            line = printable(reason, MAX_REASON)
            await self._queue.bus.send(self._reply, f"+TERM {line}".encode())

    @property
    def reply_subject(self) -> str:
        """Where settlements go; identifies this delivery."""
        return self._reply


class WorkQueue:
    """Deliveries of one durable consumer, one for each `next`.

    An async context manager; at the end, deliveries still held are handed back so that
    another process gets them at once.
    """

    def __init__(self, bus: Bus, consumer: Consumer) -> None:
        self.bus = bus
        self.consumer = consumer
        self._held: dict[str, Delivery] = {}
        self._idle: list[Puller] = []
        self._gone = 0
        """How often in a row the consumer seemed gone."""
        self._tasks = asyncio.TaskGroup()
        self._beat: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._beat = self._tasks.create_task(self._keep_alive())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._beat is not None:
            self._beat.cancel()
        for delivery in tuple(self._held.values()):
            with contextlib.suppress(AtollError):
                await delivery.nak()
        for puller in self._idle:
            await puller.close()
        await self._tasks.__aexit__(kind, error, trace)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delivery:
        return await self.next()

    async def next(self) -> Delivery:
        """Ask for one message and wait for it, for ever, through reconnects.

        Nothing is fetched ahead: call it when there is capacity. Several tasks may call
        it at once. When it is cancelled, a message on its way is handed back.

        Raises:
            NotFoundError: `bus.not_found`: the consumer does not exist.
            RefusedError: `bus.permission`.
        """
        puller = self._idle.pop() if self._idle else await self._open()
        try:
            message = await self._take(puller)
        except BaseException:
            self._tasks.create_task(puller.retire(self._hand_back))
            raise
        if puller.settled:
            self._idle.append(puller)
        else:
            # A request that was taken for lost may still be answered: hand that back.
            self._tasks.create_task(puller.retire(self._hand_back))
        delivery = Delivery(self, message, AckSubject.parse(message.reply))
        self.hold(delivery)
        return delivery

    async def take(self, *, wait: bool, recalled: asyncio.Event | None = None) -> Delivery | None:
        """One message, or None: there is none now, or with `wait` none came in a while.

        For those who ask several queues and have room for one message of one of them: after
        `None` nothing more comes of this request. `recalled` ends the wait early; what was on
        its way by then is the answer.

        Raises:
            NotFoundError, RefusedError: as `next`.
        """
        puller = self._idle.pop() if self._idle else await self._open()
        loop = asyncio.get_running_loop()
        asking = loop.create_task(puller.once(wait=wait))
        waiting: set[asyncio.Task[Any]] = {asking}
        if recalled is not None:
            waiting.add(loop.create_task(recalled.wait()))
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                message = await self._recall(puller, asking)
            else:
                message = await self._answer(asking)
                if puller.settled:
                    self._idle.append(puller)
                else:
                    self._tasks.create_task(puller.retire(self._hand_back))
        except BaseException:
            asking.cancel()
            self._tasks.create_task(puller.retire(self._hand_back))
            raise
        finally:
            for task in waiting - {asking}:
                task.cancel()
        if message is None:
            return None
        delivery = Delivery(self, message, AckSubject.parse(message.reply))
        self.hold(delivery)
        return delivery

    async def _answer(self, asking: "asyncio.Task[Message | None]") -> Message | None:
        try:
            message = asking.result()
        except Interrupted as reason:
            self._gone = self._gone + 1 if reason.gone else 0
            if self._gone > _GONE_LIMIT and await self._does_not_exist(self._gone - _GONE_LIMIT):
                raise self._missing() from reason
            await asyncio.sleep(RETRY_PAUSE_S)
            return None
        self._gone = 0
        return message

    async def _recall(self, puller: Puller, asking: asyncio.Task[Any]) -> Message | None:
        """Withdraw a request; the server has heard of it when this returns."""
        asking.cancel()
        await asyncio.wait({asking})
        late: list[Message] = []

        async def keep(message: Message) -> None:
            if late:
                await self._hand_back(message)
            else:
                late.append(message)

        await puller.retire(keep)
        return late[0] if late else None

    async def take_over(
        self, reply: str, *, subject: str, payload: bytes, headers: Mapping[str, str]
    ) -> Delivery:
        """A delivery that an earlier process took and did not settle; held again from now on.

        The server is told at once that work goes on. Whether the delivery is still the
        newest of its message it does not say: the caller must know from elsewhere.

        Raises:
            MessageError: `bus.not_a_delivery`: not one of this consumer's.
        """
        place = AckSubject.parse(reply)
        if (place.stream, place.consumer) != (self.consumer.stream, self.consumer.name):
            raise MessageError(
                f"{reply[:80]!r} is no delivery of {self.consumer.name}",
                code="bus.not_a_delivery",
            )
        message = Message(
            subject=subject,
            reply=reply,
            payload=payload,
            headers=dict(headers),
            status=None,
            description="",
        )
        delivery = Delivery(self, message, place)
        self.hold(delivery)
        await self.bus.send(reply, b"+WPI")
        return delivery

    async def _take(self, puller: Puller) -> Message:
        gone = 0
        while True:
            try:
                return await puller.next()
            except Interrupted as reason:
                gone = gone + 1 if reason.gone else 0
                if gone > _GONE_LIMIT and await self._does_not_exist(gone - _GONE_LIMIT):
                    raise self._missing() from reason
            await asyncio.sleep(RETRY_PAUSE_S)

    async def _does_not_exist(self, count: int) -> bool:
        if not self.bus.clustered:
            return True
        await asyncio.sleep(_LEADERLESS_PAUSE_S)
        try:
            info = await api(self.bus, f"STREAM.INFO.{self.consumer.stream}")
        except UnreachableError:
            return False
        led = isinstance(cluster := info.get("cluster"), dict) and bool(cluster.get("leader"))
        return led and count > _LEADERLESS_LIMIT

    def _missing(self) -> NotFoundError:
        return NotFoundError(
            f"consumer {self.consumer.name} of stream {self.consumer.stream} does not exist",
            code="bus.not_found",
        )

    async def _open(self) -> Puller:
        puller = Puller(self.bus, self.consumer.stream, self.consumer.name, batch=1)
        await puller.open()
        return puller

    async def _hand_back(self, message: Message) -> None:
        await self.bus.send(message.reply, b"-NAK")

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self.consumer.beat_s)
            for reply in tuple(self._held):
                with contextlib.suppress(AtollError):
                    await self.bus.send(reply, b"+WPI")

    def is_idle(self) -> bool:
        """Whether no delivery is held."""
        return not self._held

    # For Delivery.

    def hold(self, delivery: Delivery) -> None:
        """Keep `delivery` alive at the server."""
        self._held[delivery.reply_subject] = delivery

    def release(self, reply: str) -> bool:
        """Stop keeping it alive; False when it was not held."""
        return self._held.pop(reply, None) is not None
