"""A finished span, and the small recorder that makes them where no SDK may be.

A span has no events and its status has no text. In OpenTelemetry those carry
exception messages and stack traces, which quote the data they failed on.

The current span of a task lives in a context variable, so that a span opened in a
coroutine is the parent of whatever that coroutine calls and of nothing else.
"""

import asyncio
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from atoll.errors import AtollError
from atoll.telemetry.context import SPAN_ID, SpanContext
from atoll.wire import names

AttributeValue = str | int | bool
MAX_TIME: Final = (1 << 64) - 1
DEFAULT_CAPACITY: Final = 4096
"""Finished spans that wait for export; a job makes about thirty."""

_INT64: Final = 1 << 63
_CODE: Final = re.compile(names.CODE)


class Kind(IntEnum):
    """OTLP `Span.SpanKind`, with its numbers."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


class Status(IntEnum):
    """OTLP `Status.StatusCode`, with its numbers."""

    UNSET = 0
    OK = 1
    ERROR = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One finished piece of work in one process.

    `attributes` have unique keys; integers fit 64 bits. `end_ns` may lie before
    `start_ns`: wall clocks step. Names and values are NOT checked against the
    allow-list here; `atoll.telemetry.allow.sanitise` does that.
    """

    service: str
    instance: str
    name: str
    context: SpanContext
    parent_id: str | None
    kind: Kind
    start_ns: int
    end_ns: int
    attributes: tuple[tuple[str, AttributeValue], ...] = ()
    status: Status = Status.UNSET
    links: tuple[SpanContext, ...] = ()

    def __post_init__(self) -> None:
        if self.parent_id is not None and not SPAN_ID.fullmatch(self.parent_id):
            raise ValueError(f"parent id {self.parent_id[:40]!r} is not 16 hex digits")
        if not (0 <= self.start_ns <= MAX_TIME and 0 <= self.end_ns <= MAX_TIME):
            raise ValueError("a span's times are unsigned 64-bit nanoseconds")
        if len(dict(self.attributes)) != len(self.attributes):
            raise ValueError("an attribute key stands twice")
        if not all(fits(value) for _, value in self.attributes):
            raise ValueError("an attribute is not a text, a boolean or a 64-bit integer")

    @property
    def duration_ns(self) -> int:
        return max(0, self.end_ns - self.start_ns)

    def attribute(self, key: str) -> AttributeValue | None:
        return dict(self.attributes).get(key)


def is_int(value: object) -> bool:
    """Whether `value` is an integer; to Python `True` is one, to OTLP it is not."""
    return isinstance(value, int) and not isinstance(value, bool)


def fits(value: object) -> bool:
    """Whether a span can hold `value` as an attribute."""
    if isinstance(value, int) and not isinstance(value, bool):
        return -_INT64 <= value < _INT64
    return isinstance(value, str | bool)


def code_of(error: BaseException) -> str:
    """What a span says about an exception: a stable code, never its text."""
    if isinstance(error, AtollError):
        return error.code if _CODE.fullmatch(error.code) else AtollError.default_code
    if isinstance(error, asyncio.CancelledError | GeneratorExit | KeyboardInterrupt):
        return "cancelled"
    if isinstance(error, TimeoutError):
        return "timeout"
    return AtollError.default_code


class SpanBuffer:
    """Finished spans waiting for export. Never blocks: when full, it drops and counts.

    May be used from several threads, because the OpenTelemetry API may be.
    """

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        self._spans: deque[Span] = deque()
        self._capacity = capacity
        self._lock = threading.Lock()
        self.dropped = 0

    def add(self, span: Span) -> None:
        with self._lock:
            if len(self._spans) < self._capacity:
                self._spans.append(span)
            else:
                self.dropped += 1

    def drain(self) -> tuple[Span, ...]:
        """All waiting spans, oldest first; they wait no longer."""
        with self._lock:
            spans = tuple(self._spans)
            self._spans.clear()
        return spans


_current: ContextVar[SpanContext | None] = ContextVar("atoll_current_span", default=None)


class RecordedSpan:
    """A span that is still open in a `Recorder`."""

    def __init__(self, context: SpanContext, attributes: Mapping[str, AttributeValue]) -> None:
        self.context = context
        self.attributes = dict(attributes)
        self.status = Status.UNSET

    def set(self, key: str, value: AttributeValue) -> None:
        self.attributes[key] = value

    def kept(self) -> tuple[tuple[str, AttributeValue], ...]:
        """What a span can hold. An impossible value is lost: it must not fail the work."""
        return tuple((key, value) for key, value in self.attributes.items() if fits(value))

    def fail(self, code: str) -> None:
        self.status = Status.ERROR
        self.attributes["error.type"] = code


class Recorder:
    """Makes spans with nothing but a clock and a source of randomness.

    Args:
        service: `service.name` of every span.
        instance: `service.instance.id` of every span.
        clock: nanoseconds since 1970-01-01T00:00:00Z.
        random: as many random bytes as asked for.
        capacity: how many finished spans may wait; 0 propagates context and keeps none.
    """

    def __init__(
        self,
        service: str,
        *,
        instance: str,
        clock: Callable[[], int],
        random: Callable[[int], bytes],
        capacity: int = DEFAULT_CAPACITY,
    ) -> None:
        self._service = service
        self._instance = instance
        self._clock = clock
        self._random = random
        self._buffer = SpanBuffer(capacity)

    @property
    def dropped(self) -> int:
        """How many finished spans did not fit."""
        return self._buffer.dropped

    def current(self) -> SpanContext | None:
        """The span in which the caller runs."""
        return _current.get()

    @contextmanager
    def span(
        self,
        name: str,
        *,
        parent: SpanContext | None = None,
        kind: Kind = Kind.INTERNAL,
        attributes: Mapping[str, AttributeValue] | None = None,
        links: tuple[SpanContext, ...] = (),
    ) -> Iterator[RecordedSpan]:
        """As `atoll.telemetry.tracing.Tracer.span`."""
        outer = _current.get()
        parent = parent or outer
        context = self._child_of(parent)
        active = RecordedSpan(context, attributes or {})
        start_ns = self._clock()
        _current.set(context)
        try:
            yield active
        except BaseException as error:
            active.fail(code_of(error))
            raise
        finally:
            # Not a token: a generator may be closed in another context than it began in.
            _current.set(outer)
            if context.sampled:
                span = Span(
                    service=self._service,
                    instance=self._instance,
                    name=name,
                    context=context,
                    parent_id=parent.span_id if parent else None,
                    kind=kind,
                    start_ns=start_ns,
                    end_ns=self._clock(),
                    attributes=active.kept(),
                    status=active.status,
                    links=links,
                )
                self._buffer.add(span)

    def drain(self) -> tuple[Span, ...]:
        """All finished spans, oldest first; the recorder forgets them."""
        return self._buffer.drain()

    def _child_of(self, parent: SpanContext | None) -> SpanContext:
        span_id = self._id(8)
        if parent is None:
            return SpanContext(trace_id=self._id(16), span_id=span_id)
        return SpanContext(trace_id=parent.trace_id, span_id=span_id, sampled=parent.sampled)

    def _id(self, size: int) -> str:
        raw = self._random(size)
        # All zeros means "no id" to W3C Trace Context.
        return raw.hex() if any(raw) else (1).to_bytes(size, "big").hex()
