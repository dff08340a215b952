"""The bus as far as we rely on it: JetStream's streams, compare-and-set and work queues.

Modelled: message ids within the duplicate window (looked at before anything else, and after a
restart known only of messages that are still stored), expected last sequence per subject, newest
message by subject or sequence, streams in order, a pull consumer with acknowledgement wait,
delivery counts and their limit, naks with delay, in-progress acks. Settlements are not fenced: an
ack, nak or sign of life of an earlier delivery counts for the current one, as it does with
nats-server. A restart keeps what streams store; it may forget the newest deliveries and acks.

Not modelled: replicas, limits of size and age, a disk that loses what was written.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from atoll.bus.message import Message
from atoll.wire.topology_types import Consumer
from simulation.scheduler import Process, Scheduler

DIRECT: Final = "$JS.API.DIRECT.GET."
CONFLICT: Final = {"error": {"code": 400, "err_code": 10071, "description": "wrong last sequence"}}
FORGETS_MS: Final = 400
"""A restart forgets deliveries and acks that are at most that young."""
FORGETS_LIFE: Final = 0.5
"""How likely it forgets that work goes on, and hands all that is out to others at once."""

Hook = Callable[["Stored"], None]
Answer = Callable[["Stored", int], None]


@dataclass(frozen=True, slots=True)
class Stored:
    seq: int
    subject: str
    payload: bytes
    headers: dict[str, str]
    time: int


@dataclass(kw_only=True)
class StreamModel:
    name: str
    prefix: str
    window_ms: int
    only_newest: bool = False
    """As in a bucket with a history of one."""
    messages: dict[int, Stored] = field(default_factory=dict)
    seq: int = 0
    newest: dict[str, int] = field(default_factory=dict)
    """By subject, and by subject without its last token."""
    ids: dict[str, tuple[int, int]] = field(default_factory=dict)
    hooks: list[Hook] = field(default_factory=list)

    def publish(self, subject: str, payload: bytes, headers: dict[str, str], now: int) -> Any:
        own_id = headers.get("Nats-Msg-Id")
        if own_id is not None:
            known = self.ids.get(own_id)
            if known is not None and now - known[1] <= self.window_ms:
                return {"stream": self.name, "seq": known[0], "duplicate": True}
        expected = headers.get("Nats-Expected-Last-Subject-Sequence")
        if expected is not None and self.newest.get(subject, 0) != int(expected):
            return CONFLICT
        self.seq += 1
        stored = Stored(self.seq, subject, payload, headers, now)
        if self.only_newest and subject in self.newest:
            del self.messages[self.newest[subject]]
        self.messages[self.seq] = stored
        self.newest[subject] = self.newest[subject.rpartition(".")[0]] = self.seq
        if own_id is not None:
            self.ids[own_id] = (self.seq, now)
        for hook in self.hooks:
            hook(stored)
        return {"stream": self.name, "seq": self.seq}

    def last(self, pattern: str) -> Stored | None:
        subject = pattern[:-2] if pattern.endswith((".>", ".*")) else pattern
        return self.messages.get(self.newest.get(subject, 0))

    def crash(self) -> None:
        self.ids = {
            own_id: (one.seq, one.time)
            for one in self.messages.values()
            if (own_id := one.headers.get("Nats-Msg-Id")) is not None
        }


@dataclass(kw_only=True)
class QueueModel:
    """A work queue's one consumer, and the requests that wait for messages."""

    stream: StreamModel
    consumer: Consumer
    scheduler: Scheduler
    counts: dict[int, int] = field(default_factory=dict)
    pending: dict[int, int] = field(default_factory=dict)
    """Delivered and not settled, with the time at which they come again."""
    waiting: dict[tuple[str, int, int], tuple[Callable[[], bool], Answer]] = field(
        default_factory=dict
    )
    journal: list[tuple[int, int, int | None, int | None, Stored | None]] = field(
        default_factory=list
    )

    def pull(
        self, who: tuple[str, int, int], interested: Callable[[], bool], answer: Answer
    ) -> None:
        self.waiting[who] = (interested, answer)
        self.serve()

    def serve(self) -> None:
        """Hand out what is due, first what comes again."""
        now = self.scheduler.now
        while self.waiting:
            seq = next((s for s, due in self.pending.items() if due <= now and self._may(s)), None)
            if seq is None:
                seq = next((s for s in self.stream.messages if s not in self.counts), None)
            if seq is None:
                return
            who = next(iter(self.waiting))
            interested, answer = self.waiting.pop(who)
            if not interested():
                continue
            self._journal(seq)
            self.counts[seq] = self.counts.get(seq, 0) + 1
            self._due(seq, round(self.consumer.ack_wait_s * 1000))
            answer(self.stream.messages[seq], self.counts[seq])

    def exhausted(self, seq: int) -> bool:
        return self.counts.get(seq, 0) >= self.consumer.max_deliver

    def ack(self, seq: int) -> bool:
        """Whether it is recorded; a server that forgot the delivery answers nothing."""
        if seq not in self.pending:
            return seq not in self.stream.messages
        self._journal(seq, self.stream.messages[seq])
        del self.pending[seq], self.counts[seq]
        del self.stream.messages[seq]
        return True

    def nak(self, seq: int, delay_ms: int) -> None:
        if seq in self.pending:
            self._due(seq, delay_ms)

    def progress(self, seq: int) -> None:
        if seq in self.pending and self.pending[seq] > self.scheduler.now:
            self._due(seq, round(self.consumer.ack_wait_s * 1000))

    def crash(self) -> None:
        """The newest changes may be forgotten, and signs of life; requests are."""
        self.waiting.clear()
        since = self.scheduler.now - self.scheduler.rng.randrange(FORGETS_MS)
        while self.journal and self.journal[-1][0] >= since:
            _, seq, count, due, acked = self.journal.pop()
            if acked is not None:
                self.stream.messages[seq] = acked
                self.stream.messages = dict(sorted(self.stream.messages.items()))
            for table, value in ((self.counts, count), (self.pending, due)):
                if value is None:
                    table.pop(seq, None)
                else:
                    table[seq] = value
        self.journal.clear()
        if self.scheduler.rng.random() < FORGETS_LIFE:
            for seq in self.pending:
                self._due(seq, self.scheduler.rng.randrange(4000))

    def _may(self, seq: int) -> bool:
        return self.counts.get(seq, 0) < self.consumer.max_deliver

    def _due(self, seq: int, delay_ms: int) -> None:
        self.pending[seq] = self.scheduler.now + delay_ms
        self.scheduler.after(delay_ms, self.serve)

    def _journal(self, seq: int, acked: Stored | None = None) -> None:
        now = self.scheduler.now
        self.journal.append((now, seq, self.counts.get(seq), self.pending.get(seq), acked))
        if len(self.journal) > 256:
            self.journal = [one for one in self.journal if one[0] >= now - FORGETS_MS]


class Reader:
    """Somebody who follows a stream in order, through everything."""

    def __init__(self, process: Process, pattern: str, told: Callable[[Stored], None]) -> None:
        self.process, self.pattern, self.told = process, pattern, told
        self.life = process.life
        self.after = 0
        self.scheduled = False

    @property
    def gone(self) -> bool:
        return self.life != self.process.life or not self.process.alive

    def wants(self, one: Stored) -> bool:
        return one.subject.startswith(self.pattern)


class Server:
    """One nats-server."""

    def __init__(self, scheduler: Scheduler, streams: tuple[StreamModel, ...]) -> None:
        self.scheduler = scheduler
        self.alive = True
        self.streams = {stream.name: stream for stream in streams}
        self._by_prefix = tuple(sorted(streams, key=lambda one: -len(one.prefix)))
        self.queues: dict[str, QueueModel] = {}
        self.readers: dict[str, list[Reader]] = {name: [] for name in self.streams}
        for stream in streams:
            stream.hooks.append(lambda one, name=stream.name: self._published(name, one))  # type: ignore[misc]

    def add_queue(self, stream: str, consumer: Consumer) -> QueueModel:
        queue = QueueModel(stream=self.streams[stream], consumer=consumer, scheduler=self.scheduler)
        self.queues[stream] = queue
        self.streams[stream].hooks.append(lambda _: queue.serve())
        return queue

    def handle(self, subject: str, payload: bytes, headers: dict[str, str]) -> Message:
        """The answer to a request, as it goes over the wire."""
        if subject.startswith(DIRECT):
            name, _, rest = subject[len(DIRECT) :].partition(".")
            stream = self.streams[name]
            if rest:
                return _found(stream.last(rest))
            asked = json.loads(payload)
            if "seq" in asked:
                return _found(stream.messages.get(asked["seq"]))
            return _found(stream.last(asked["last_by_subj"]))
        stream = next(one for one in self._by_prefix if subject.startswith(one.prefix))
        answer = stream.publish(subject, payload, headers, self.scheduler.now)
        return _message(json.dumps(answer).encode())

    def follow(
        self, process: Process, stream: str, pattern: str, told: Callable[[Stored], None]
    ) -> None:
        """Tell of everything that is and will be stored under a prefix, in order."""
        reader = Reader(process, pattern, told)
        self.readers[stream].append(reader)
        self._wake(stream, reader)

    def crash(self) -> None:
        self.alive = False
        for stream in self.streams.values():
            stream.crash()
        for queue in self.queues.values():
            queue.crash()

    def _published(self, stream: str, one: Stored) -> None:
        readers = self.readers[stream]
        for reader in readers:
            if reader.wants(one):
                self._wake(stream, reader)
        if len(readers) > 8 and any(reader.gone for reader in readers):
            self.readers[stream] = [reader for reader in readers if not reader.gone]

    def _wake(self, stream: str, reader: Reader) -> None:
        if not reader.scheduled:
            reader.scheduled = True
            rng = self.scheduler.rng
            delay = rng.randrange(1, 30) if rng.random() < 0.95 else rng.randrange(30, 3000)
            self.scheduler.after(delay, self._pump, stream, reader)

    def _pump(self, stream: str, reader: Reader) -> None:
        if reader.gone:
            return
        if not self.alive or reader.process.cut_off:
            self.scheduler.after(500, self._pump, stream, reader)
            return
        reader.scheduled = False
        model = self.streams[stream]
        due = [one for one in self._behind(model, reader) if reader.wants(one)]
        reader.after = model.seq
        for one in due:
            reader.told(one)

    @staticmethod
    def _behind(model: StreamModel, reader: Reader) -> list[Stored]:
        found = []
        for seq in reversed(model.messages):
            if seq <= reader.after:
                break
            found.append(model.messages[seq])
        return found[::-1]


def _found(one: Stored | None) -> Message:
    if one is None:
        return _message(b"", status="404")
    placed = {
        **one.headers,
        "Nats-Sequence": str(one.seq),
        "Nats-Subject": one.subject,
        "Nats-Time-Stamp": "2026-01-01T00:00:00Z",
    }
    return _message(one.payload, headers=placed)


def _message(
    payload: bytes, *, headers: dict[str, str] | None = None, status: str | None = None
) -> Message:
    return Message(
        subject="",
        reply="",
        payload=payload,
        headers=headers or {},
        status=status,
        description="",
    )
