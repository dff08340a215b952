"""The shapes of streams, consumers and buckets, as `atoll.wire.topology` declares them.

Pure values. Durations are seconds, sizes bytes; 0 means "no limit" where the field
says so. `atoll.bus.provision` makes the server look like them.
"""

from dataclasses import dataclass
from typing import Final, Literal

Retention = Literal["limits", "workqueue"]
Discard = Literal["new", "old"]
Storage = Literal["file", "memory"]
Persist = Literal["default", "async"]

MANY_CONSUMERS: Final = 65_536
"""Consumers of a stream or bucket at most, where no fewer are declared. Each host and each live
enclave has some; left unsaid, nats-server's own limit counts, which is 1,000 from 2.15 on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a stream takes from another one, and under which subjects: pairs of there and here."""

    stream: str
    renamed: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A JetStream stream.

    `workqueue` keeps a message until it is acknowledged once; `limits` until it is
    too old or too many. `discard="new"` makes a full stream an error for the publisher
    (`bus.full`), `"old"` forgets the oldest.
    """

    name: str
    subjects: tuple[str, ...]
    """Empty with a `source`."""
    source: Source | None = None
    retention: Retention = "limits"
    max_bytes: int
    """0: no limit."""
    max_age_s: float = 0.0
    """0: for ever."""
    max_msg_size: int = 0
    """0: what the server allows."""
    max_msgs_per_subject: int = 0
    """0: no limit."""
    duplicate_window_s: float = 120.0
    """How long a message id is remembered; must cover the publisher's retries."""
    discard: Discard = "new"
    storage: Storage = "file"
    persist: Persist = "default"
    """`async` acknowledges before the message is written (ADR-56), for what may be lost; only
    with one replica, and only where the server is new enough (2.12) and the stream is new."""
    replicas: int = 1
    deny_delete: bool = False
    """No message can be deleted by itself; the server never lets this be taken back."""
    deny_purge: bool = False
    """Likewise for purging."""
    max_consumers: int = MANY_CONSUMERS
    """Fixed when the stream is made; the server cannot change it later."""
    consumer_idle_s: float = 0.0
    """After so long without a reader the server forgets a consumer, durable or not; 0: never."""
    consumer_pending: int = 0
    """The most that a consumer may have delivered and not acknowledged; 0: no limit."""
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """A durable pull consumer with explicit acknowledgement.

    Two waits lie between deliveries. Silence: a delivery that is neither settled nor kept
    alive for `ack_wait_s` goes to somebody else (`backoff_s` replaces that delivery by
    delivery when it is not empty, and must then not be longer than `max_deliver`).
    Failure: one that its worker gives back by `Delivery.retry` waits as `retry_s` says.
    """

    stream: str
    name: str
    filter: str = ""
    """Subject filter; empty: the whole stream."""
    ack_wait_s: float = 30.0
    max_deliver: int = 5
    """-1: no limit."""
    backoff_s: tuple[float, ...] = ()
    retry_s: tuple[float, ...] = ()
    """After the first, second, ... failure; the last one repeats. Empty: at once."""
    max_ack_pending: int = 1000
    """Deliveries held or waiting to be tried again at a time; beyond it nobody gets one."""
    max_waiting: int = 0
    """Workers that may wait for a message at a time; beyond it they are turned away and ask again.
    0: what the server has (512). Fixed when the consumer is made."""
    idle_s: float = 0.0
    """After so long without a reader the server forgets it; 0: never."""
    start_seq: int = 1
    """The first message of the stream that it is for, when it is made."""
    description: str = ""

    @property
    def beat_s(self) -> float:
        """How often the server is told that work on a delivery goes on: three times in the
        wait. With a backoff it counts against the step for the delivery; the shortest is safe
        for all."""
        return min((self.ack_wait_s, *self.backoff_s)) / 3

    @property
    def silence_s(self) -> float:
        """Somebody else gets a delivery at the earliest so long after its worker died: it may
        have died just before the next sign of life."""
        return min((self.ack_wait_s, *self.backoff_s)) - self.beat_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A key-value bucket (NATS ADR-8)."""

    name: str
    history: int = 1
    ttl_s: float = 0.0
    """0: for ever."""
    max_value_size: int = 0
    """0: what the server allows."""
    max_bytes: int = 0
    """0: no limit."""
    storage: Storage = "file"
    replicas: int = 1
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectBucket:
    """An object store bucket (NATS ADR-20)."""

    name: str
    ttl_s: float = 0.0
    """0: for ever."""
    max_bytes: int = 0
    """0: no limit."""
    storage: Storage = "file"
    replicas: int = 1
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Everything that a deployment has on its bus."""

    streams: tuple[Stream, ...]
    consumers: tuple[Consumer, ...]
    buckets: tuple[Bucket, ...]
    object_buckets: tuple[ObjectBucket, ...]
