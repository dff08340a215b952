"""A process's connection: requests that get lost, late, or done twice, and deliveries of work."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from atoll.bus.config import BusConfig
from atoll.bus.connection import ATTEMPT_S, RETRY_PAUSE_S
from atoll.bus.message import Message
from atoll.bus.workqueue import ACK_TIMEOUT_S
from atoll.errors import UnreachableError
from simulation.scheduler import Entry, Process, Sleep, Suspension, Task
from simulation.server import QueueModel, Server, Stored

PULL_MS: Final = 4000
"""After how long a request for work that nobody answered is made again."""


@dataclass(kw_only=True)
class Weather:
    """How bad the network is; each a probability of one message's fate."""

    drop: float = 0.0
    double: float = 0.0
    late: float = 0.0
    late_ms: int = 5000

    def calm(self) -> None:
        self.drop = self.double = self.late = 0.0


class Wire:
    """Carries messages between a process and the server, as the weather has it."""

    def __init__(self, process: Process, server: Server, weather: Weather) -> None:
        self.process = process
        self.server = server
        self.weather = weather

    def delay(self) -> int:
        rng = self.process.scheduler.rng
        if rng.random() < self.weather.late:
            return rng.randrange(self.weather.late_ms)
        return rng.randrange(1, 12)

    def up(self, arrive: Callable[[], None]) -> None:
        """To the server. It arrives whether the sender still lives or not."""
        scheduler, weather = self.process.scheduler, self.weather
        if self.process.cut_off or scheduler.rng.random() < weather.drop:
            return
        scheduler.after(self.delay(), self._at_server, arrive)
        if weather.double and scheduler.rng.random() < weather.double:
            scheduler.after(self.delay(), self._at_server, arrive)

    def down(self, arrive: Callable[[], None]) -> None:
        """To this life of the process."""
        scheduler = self.process.scheduler
        if self.process.cut_off or scheduler.rng.random() < self.weather.drop:
            return
        scheduler.after(self.delay(), self._at_process, arrive, self.process.life)

    def _at_server(self, arrive: Callable[[], None]) -> None:
        if self.server.alive:
            arrive()

    def _at_process(self, arrive: Callable[[], None], life: int) -> None:
        process = self.process
        if process.alive and process.life == life and not process.cut_off:
            arrive()


class Ask(Suspension):
    """One attempt of a request."""

    def __init__(self, wire: Wire, handle: Callable[[], Any], timeout_ms: int, what: str) -> None:
        self._wire, self._handle, self._timeout_ms, self._what = wire, handle, timeout_ms, what
        self._over = False

    def begin(self, task: Task) -> None:
        scheduler = self._wire.process.scheduler
        timer = scheduler.after(self._timeout_ms, self._expire, task)

        def arrive() -> None:
            answer = self._handle()
            if answer is not None:
                self._wire.down(lambda: self._answer(task, timer, answer))

        self._wire.up(arrive)

    def _answer(self, task: Task, timer: Entry, answer: Any) -> None:
        if not self._over:
            self._over = True
            self._wire.process.scheduler.call_off(timer)
            task.resume(answer)

    def _expire(self, task: Task) -> None:
        if not self._over:
            self._over = True
            task.resume(error=UnreachableError(f"{self._what}: no answer", code="bus.timeout"))


class SimBus:
    """`atoll.bus.Bus`, as far as JetStream's requests need it."""

    connected = True
    clustered = False
    config = BusConfig(url="nats://simulated", name="simulated", inbox_prefix="_INBOX")

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    def now(self) -> float:
        return self.wire.process.scheduler.now / 1000

    async def pause(self, seconds: float) -> None:
        await Sleep(round(seconds * 1000))

    async def call(
        self,
        subject: str,
        payload: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float,
        retry: bool = False,
    ) -> Message:
        server, fields = self.wire.server, dict(headers or {})
        answer: Message = await self.ask(
            lambda: server.handle(subject, payload, fields), subject, timeout_s=timeout_s
        )
        return answer

    async def ask(self, handle: Callable[[], Any], what: str, *, timeout_s: float) -> Any:
        """Again and again until it is answered or the time is over."""
        scheduler = self.wire.process.scheduler
        deadline = scheduler.now + round(timeout_s * 1000)
        while True:
            attempt = min(deadline - scheduler.now, round(ATTEMPT_S * 1000))
            try:
                return await Ask(self.wire, handle, max(1, attempt), what)
            except UnreachableError:
                if deadline - scheduler.now <= RETRY_PAUSE_S * 1000:
                    raise
            await Sleep(RETRY_PAUSE_S * 1000)


class SimDelivery:
    """`atoll.bus.Delivery`: held until it is settled."""

    def __init__(self, queue: "SimQueue", stored: Stored, count: int) -> None:
        self._queue = queue
        self.stored = stored
        self.payload = stored.payload
        self.headers: Mapping[str, str] = {}
        self.subject = stored.subject
        self.num_delivered = count
        self.stream_seq = stored.seq

    @property
    def is_last(self) -> bool:
        return self.num_delivered >= self._queue.model.consumer.max_deliver

    @property
    def reply_subject(self) -> str:
        return f"{self.stream_seq}.{self.num_delivered}"

    async def ack(self) -> None:
        queue, seq = self._queue, self.stream_seq
        if not queue.release(self.reply_subject):
            return

        def handle() -> str:
            return "recorded" if queue.model.ack(seq) else "forgotten"

        try:
            answer = await queue.bus.ask(handle, "ack", timeout_s=ACK_TIMEOUT_S)
        except UnreachableError:
            queue.hold(self)
            raise
        if answer == "forgotten":
            raise UnreachableError("not acknowledged", code="bus.ack_lost")

    async def nak(self, delay_s: float = 0.0) -> None:
        queue, seq = self._queue, self.stream_seq
        if queue.release(self.reply_subject):
            queue.bus.wire.up(lambda: queue.model.nak(seq, round(delay_s * 1000)))

    async def retry(self) -> None:
        steps = self._queue.model.consumer.retry_s
        await self.nak(steps[min(self.num_delivered, len(steps)) - 1] if steps else 0.0)

    async def term(self, reason: str) -> None:
        raise AssertionError(f"nothing here is unreadable: {reason}")


class SimQueue:
    """`atoll.bus.WorkQueue`: deliveries of one consumer, kept alive while they are held."""

    def __init__(self, bus: SimBus, model: QueueModel) -> None:
        self.bus = bus
        self.model = model
        self._held: dict[str, SimDelivery] = {}
        self._pulls = 0
        bus.wire.process.spawn(self._keep_alive())

    async def next(self) -> SimDelivery:
        delivery: SimDelivery = await Pull(self)
        return delivery

    def take_over(self, stored: Stored, count: int) -> SimDelivery:
        delivery = SimDelivery(self, stored, count)
        self.hold(delivery)
        self.bus.wire.up(lambda: self.model.progress(stored.seq))
        return delivery

    def hold(self, delivery: SimDelivery) -> None:
        self._held[delivery.reply_subject] = delivery

    def release(self, reply: str) -> bool:
        return self._held.pop(reply, None) is not None

    def number(self) -> int:
        self._pulls += 1
        return self._pulls

    def ask(self, number: int, arrive: Callable[[Stored, int], None]) -> None:
        """Ask for one message; the same number again takes the place of the request before."""
        process, wire = self.bus.wire.process, self.bus.wire
        life = process.life

        def answer(stored: Stored, count: int) -> None:
            wire.down(lambda: arrive(stored, count))

        def interested() -> bool:
            return process.alive and process.life == life

        wire.up(lambda: self.model.pull((process.name, life, number), interested, answer))

    async def _keep_alive(self) -> None:
        wait_ms = self.model.consumer.ack_wait_s * 1000
        while True:
            await Sleep(wait_ms / 3)
            for delivery in tuple(self._held.values()):
                seq = delivery.stream_seq
                self.bus.wire.up(lambda seq=seq: self.model.progress(seq))  # type: ignore[misc]


class Pull(Suspension):
    """Waits for one message, asking again while nobody answers."""

    def __init__(self, queue: SimQueue) -> None:
        self._queue = queue
        self._number = queue.number()
        self._over = False

    def begin(self, task: Task) -> None:
        if not self._over and not task.ended:
            self._queue.ask(self._number, lambda stored, count: self._arrive(task, stored, count))
            task.process.scheduler.after(PULL_MS, self.begin, task)

    def _arrive(self, task: Task, stored: Stored, count: int) -> None:
        queue = self._queue
        if self._over or task.ended:
            queue.bus.wire.up(lambda: queue.model.nak(stored.seq, 0))
            return
        self._over = True
        delivery = SimDelivery(queue, stored, count)
        queue.hold(delivery)
        task.resume(delivery)
