"""Spans for tests: by hand, and by hypothesis."""

from hypothesis import strategies as st

from atoll.telemetry import names
from atoll.telemetry.context import SpanContext
from atoll.telemetry.span import AttributeValue, Kind, Span, Status

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def make(
    number: int,
    *,
    parent: int | None = None,
    name: str = names.JOB_RUN,
    service: str = names.GATEWAY,
    instance: str = "one",
    start: int = 0,
    end: int = 1000,
    trace: str = TRACE,
    status: Status = Status.UNSET,
    attributes: dict[str, AttributeValue] | None = None,
) -> Span:
    return Span(
        service=service,
        instance=instance,
        name=name,
        context=SpanContext(trace_id=trace, span_id=f"{number:016x}"),
        parent_id=f"{parent:016x}" if parent else None,
        kind=Kind.INTERNAL,
        start_ns=start,
        end_ns=end,
        attributes=tuple((attributes or {}).items()),
        status=status,
    )


def hex_ids(size: int) -> st.SearchStrategy[str]:
    return st.binary(min_size=size, max_size=size).filter(any).map(bytes.hex)


contexts = st.builds(SpanContext, trace_id=hex_ids(16), span_id=hex_ids(8), sampled=st.booleans())
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = texts | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1)
times = st.integers(0, (1 << 64) - 1)
attributes = st.dictionaries(texts, values, max_size=4).map(lambda items: tuple(items.items()))
spans = st.builds(
    Span,
    service=texts,
    instance=texts,
    name=texts,
    context=contexts,
    parent_id=st.none() | hex_ids(8),
    kind=st.sampled_from(Kind),
    start_ns=times,
    end_ns=times,
    attributes=attributes,
    status=st.sampled_from(Status),
    links=st.lists(contexts, max_size=2).map(tuple),
)
