"""How spans and messages meet: trace context into and out of headers, spans onto the bus."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from typing import TypeVar

from atoll.bus import Bus, Endpoint, Reply, publish
from atoll.telemetry.context import extract, inject
from atoll.telemetry.export import Publish
from atoll.telemetry.names import messaging_span
from atoll.telemetry.span import Kind
from atoll.telemetry.tracing import ActiveSpan, Tracer
from atoll.wire import endpoints, media, subjects
from atoll.wire.subjects import Subject

RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")


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


def endpoint(
    row: endpoints.Endpoint[RequestT, ReplyT],
    operation: Callable[[RequestT], Awaitable[ReplyT]],
    tracer: Tracer,
) -> Endpoint:
    """A row of the endpoint table as a service answers it: decoded, in a span, encoded.

    Whoever asks in JSON (`content-type`) is answered in JSON.
    """

    async def handle(payload: bytes, message_headers: Mapping[str, str]) -> Reply:
        with serve(tracer, row.subject, message_headers):
            kind = media.of(message_headers)
            answer = await operation(media.decode(row.request, payload, kind))
            return Reply(payload=media.encode(answer, kind), headers={media.CONTENT_TYPE: kind})

    return Endpoint(name=row.name, subject=row.subject.template, handler=handle)


def tenants_endpoint(
    row: endpoints.Endpoint[RequestT, ReplyT],
    operation: Callable[[RequestT, str], Awaitable[ReplyT]],
    tracer: Tracer,
) -> Endpoint:
    """The same of a row that is answered by what tenant asks.

    The tenant is read off the subject, where the bus put it. A message that a consumer delivers
    here has the subject that it is stored under, and is no request.
    """
    served = subjects.of_tenants(row.subject)

    async def handle(subject: str, payload: bytes, message_headers: Mapping[str, str]) -> Reply:
        (tenant,) = served.read(subject)
        with serve(tracer, row.subject, message_headers):
            kind = media.of(message_headers)
            answer = await operation(media.decode(row.request, payload, kind), tenant)
            return Reply(payload=media.encode(answer, kind), headers={media.CONTENT_TYPE: kind})

    name = f"{row.subject.template.split('.')[2]}-{row.name}"
    return Endpoint(name=name, subject=served.wildcard, handler=handle, addressed=True)


def bus_publisher(bus: Bus) -> Publish:
    """Sends batches of spans to the telemetry stream."""

    async def send(trace_id: str, raw: bytes) -> None:
        await publish(bus, subjects.TELEMETRY_TRACES.of(trace_id), raw)

    return send
