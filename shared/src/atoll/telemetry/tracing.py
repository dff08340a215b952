"""The one interface through which all Atoll code makes spans.

    with tracer.span(names.OPEN_ASSET, attributes={names.ASSET_ID: asset_id}) as span:
        headers: dict[str, str] = {}
        inject(headers, span.context)
        ...
        span.set(names.ASSET_SIZE, size)

The agent's implementation is `span.Recorder`, the services' is `otel.OtelTracer`.
A queue consumer takes the producer's span as its parent, not as a link: each of our
queue messages is processed for one job, and one tree is what a person wants to read.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from atoll.telemetry.context import SpanContext
from atoll.telemetry.span import AttributeValue, Kind


class ActiveSpan(Protocol):
    """A span that is still open."""

    @property
    def context(self) -> SpanContext | None:
        """What to send along with messages; None when the operator turned tracing off."""

    def set(self, key: str, value: AttributeValue) -> None:
        """Add an attribute. Whether it leaves the process is for `allow` to say."""

    def fail(self, code: str) -> None:
        """Mark the span as failed, with a stable error code."""


class Tracer(Protocol):
    """Makes spans."""

    def current(self) -> SpanContext | None:
        """The span in which the caller runs, or None."""

    def span(
        self,
        name: str,
        *,
        parent: SpanContext | None = None,
        kind: Kind = Kind.INTERNAL,
        attributes: Mapping[str, AttributeValue] | None = None,
        links: tuple[SpanContext, ...] = (),
    ) -> AbstractContextManager[ActiveSpan]:
        """Open a span and make it the current one until the block ends.

        The parent is `parent`, else the current span, else the span starts a trace.
        An exception that leaves the block marks the span as failed, with the
        exception's stable code and nothing of its text, and goes on.
        """
