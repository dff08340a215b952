"""The tracing interface over the OpenTelemetry SDK, for services and the CLI.

Services use the SDK so that spans of other instrumentation in the same process join the
same trace; the provider is available as `ServiceTracing.provider`. What leaves the
process passes the allow-list all the same: a foreign span keeps its place in the tree
and loses its name and attributes.

The sampler is fixed (follow the parent, else record), because `atoll trace` needs whole
traces. `OTEL_SDK_DISABLED=true`, which the SDK reads itself, turns recording off.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace.status import StatusCode

from atoll.telemetry import export, names, otlp
from atoll.telemetry.context import SpanContext
from atoll.telemetry.span import (
    DEFAULT_CAPACITY,
    MAX_TIME,
    AttributeValue,
    Kind,
    Span,
    SpanBuffer,
    Status,
    code_of,
    fits,
)

_KINDS = {kind: trace.SpanKind[kind.name] for kind in Kind}
_KINDS_BACK = {theirs: ours for ours, theirs in _KINDS.items()}
_STATUS = {
    StatusCode.UNSET: Status.UNSET,
    StatusCode.OK: Status.OK,
    StatusCode.ERROR: Status.ERROR,
}


class OtelSpan:
    """An open span of the SDK."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def context(self) -> SpanContext | None:
        return _context(self._span.get_span_context())

    def set(self, key: str, value: AttributeValue) -> None:
        self._span.set_attribute(key, value)

    def fail(self, code: str) -> None:
        self._span.set_attribute(names.ERROR_TYPE, code)
        self._span.set_status(StatusCode.ERROR)


class OtelTracer:
    """`tracing.Tracer` over an OpenTelemetry tracer."""

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

    def current(self) -> SpanContext | None:
        return _context(trace.get_current_span().get_span_context())

    @contextmanager
    def span(
        self,
        name: str,
        *,
        parent: SpanContext | None = None,
        kind: Kind = Kind.INTERNAL,
        attributes: Mapping[str, AttributeValue] | None = None,
        links: tuple[SpanContext, ...] = (),
    ) -> Iterator[OtelSpan]:
        """As `atoll.telemetry.tracing.Tracer.span`."""
        context = None
        if parent is not None:
            context = trace.set_span_in_context(trace.NonRecordingSpan(_foreign(parent)))
        with self._tracer.start_as_current_span(
            name,
            context=context,
            kind=_KINDS[kind],
            attributes=dict(attributes or {}),
            links=[trace.Link(_foreign(link)) for link in links],
            # The SDK would store the exception's text and stack.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            active = OtelSpan(span)
            try:
                yield active
            except BaseException as error:
                active.fail(code_of(error))
                raise


class ServiceTracing:
    """A service's tracer and the way its spans go out.

    Args:
        service_name: one of `names.SERVICES`.
        publish: takes a trace id and OTLP bytes, see `export.Publish`.
        instance: `service.instance.id`, a token.
        capacity: finished spans that may wait; more are dropped and counted.
    """

    def __init__(
        self,
        service_name: str,
        publish: export.Publish,
        *,
        instance: str,
        interval_s: float = export.DEFAULT_INTERVAL_S,
        capacity: int = DEFAULT_CAPACITY,
    ) -> None:
        self._buffer = SpanBuffer(capacity)
        self._exporter = export.Exporter(self._buffer.drain, publish, interval_s=interval_s)
        labels = {otlp.SERVICE_NAME: service_name, otlp.SERVICE_INSTANCE: instance}
        self.provider = TracerProvider(
            sampler=ParentBased(ALWAYS_ON), resource=Resource(labels), shutdown_on_exit=False
        )
        self.provider.add_span_processor(_Collect(self._buffer, service_name, instance))
        self.tracer = OtelTracer(self.provider.get_tracer(otlp.SCOPE))

    @property
    def exported(self) -> int:
        """Spans that `publish` took."""
        return self._exporter.exported

    @property
    def lost(self) -> int:
        """Spans that never left: dropped because the buffer was full, or not published."""
        return self._buffer.dropped + self._exporter.failed

    async def run(self) -> None:
        """Export in the background until cancelled."""
        await self._exporter.run()

    async def flush(self, timeout_s: float) -> bool:
        """Export what is waiting; False when the deadline came first."""
        return await self._exporter.flush(timeout_s)


class _Collect(SpanProcessor):
    """Puts each finished span into a buffer, in our form; does no input or output."""

    def __init__(self, buffer: SpanBuffer, service: str, instance: str) -> None:
        self._buffer = buffer
        self._service = service
        self._instance = instance

    def on_end(self, span: ReadableSpan) -> None:
        context = _context(span.get_span_context())
        if context is not None and context.sampled:
            self._buffer.add(_from_sdk(span, context, self._service, self._instance))


def _from_sdk(span: ReadableSpan, context: SpanContext, service: str, instance: str) -> Span:
    parent = _context(span.parent)
    links = (_context(link.context) for link in span.links)
    return Span(
        service=service,
        instance=instance,
        name=span.name,
        context=context,
        parent_id=parent.span_id if parent else None,
        kind=_KINDS_BACK[span.kind],
        start_ns=min(max(span.start_time or 0, 0), MAX_TIME),
        end_ns=min(max(span.end_time or 0, 0), MAX_TIME),
        attributes=tuple(_attributes(span.attributes or {})),
        status=_STATUS[span.status.status_code],
        links=tuple(link for link in links if link is not None),
    )


def _attributes(attributes: Mapping[str, object]) -> Iterator[tuple[str, AttributeValue]]:
    """Those that `Span` can hold; foreign instrumentation may set floats and lists."""
    for key, value in attributes.items():
        if isinstance(value, str | int) and fits(value):
            yield key, value


def _context(context: trace.SpanContext | None) -> SpanContext | None:
    if context is None or not context.is_valid:
        return None
    return SpanContext(
        trace_id=f"{context.trace_id:032x}",
        span_id=f"{context.span_id:016x}",
        sampled=context.trace_flags.sampled,
    )


def _foreign(context: SpanContext) -> trace.SpanContext:
    return trace.SpanContext(
        trace_id=int(context.trace_id, 16),
        span_id=int(context.span_id, 16),
        is_remote=True,
        trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED if context.sampled else 0),
    )
