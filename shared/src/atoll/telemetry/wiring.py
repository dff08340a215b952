"""How spans and messages meet: trace context into and out of headers, spans onto the bus."""

from collections.abc import Mapping
from contextlib import AbstractContextManager

from atoll.bus import Bus, publish
from atoll.telemetry.context import extract, inject
from atoll.telemetry.export import Publish
from atoll.telemetry.names import messaging_span
from atoll.telemetry.span import Kind
from atoll.telemetry.tracing import ActiveSpan, Tracer
from atoll.wire import subjects
from atoll.wire.subjects import Subject


def headers(tracer: Tracer) -> dict[str, str]:
    """Headers that make the receiver's span a child of the current one."""
    result: dict[str, str] = {}
    inject(result, tracer.current())
    return result


def consume(
    tracer: Tracer, name: str, message_headers: Mapping[str, str]
) -> AbstractContextManager[ActiveSpan]:
    """The span of working off one queue message."""
    return tracer.span(name, parent=extract(message_headers), kind=Kind.CONSUMER)


def serve(
    tracer: Tracer, subject: Subject, message_headers: Mapping[str, str]
) -> AbstractContextManager[ActiveSpan]:
    """The span of answering one request."""
    return tracer.span(
        messaging_span("process", subject), parent=extract(message_headers), kind=Kind.SERVER
    )


def bus_publisher(bus: Bus) -> Publish:
    """Sends batches of spans to the telemetry stream."""

    async def send(trace_id: str, raw: bytes) -> None:
        await publish(bus, subjects.TELEMETRY_TRACES.of(trace_id), raw)

    return send
