"""Spans as OTLP: the protobuf message `ExportTraceServiceRequest`, both ways.

Source: opentelemetry-proto 1.x, `trace/v1/trace.proto`. Fields that we write and read:

    ExportTraceServiceRequest  1 resource_spans*
    ResourceSpans              1 resource, 2 scope_spans*
    Resource                   1 attributes*
    ScopeSpans                 1 scope, 2 spans*
    InstrumentationScope       1 name
    Span                       1 trace_id, 2 span_id, 4 parent_span_id, 5 name, 6 kind,
                               7 start (fixed64), 8 end (fixed64), 9 attributes*,
                               13 links*, 15 status, 16 flags (fixed32)
    Link                       1 trace_id, 2 span_id, 6 flags (fixed32)
    Status                     3 code (the text, 2, is left out)
    KeyValue                   1 key, 2 value
    AnyValue                   1 string, 2 bool, 3 int64

The decoder skips other fields, and attributes with other types of value (double, array,
map, bytes), without looking into them: no rule of the allow-list could pass them. It is
stricter than protobuf in three ways: a known field with another wire type is refused,
not skipped; a field that stands once must not stand twice; ids must be well-formed.
"""

from collections.abc import Iterable
from typing import Final

from atoll.telemetry.context import SpanContext
from atoll.telemetry.protobuf import (
    BYTES,
    FIXED32,
    FIXED64,
    VARINT,
    fields,
    malformed,
    put_bytes,
    put_fixed32,
    put_fixed64,
    put_int,
    put_text,
    signed64,
)
from atoll.telemetry.span import AttributeValue, Kind, Span, Status

MAX_EXPORT: Final = 1 << 20
MAX_SPANS: Final = 4096
MAX_ATTRIBUTES: Final = 128
MAX_LINKS: Final = 128
MAX_TEXT: Final = 4096
SCOPE: Final = "atoll"

SERVICE_NAME: Final = "service.name"
SERVICE_INSTANCE: Final = "service.instance.id"

_SAMPLED: Final = 0x01
_TRACE_ID_SIZE: Final = 16
_SPAN_ID_SIZE: Final = 8
_STRING: Final = 1
_BOOL: Final = 2
_INT: Final = 3
_FLAGS: Final = 16
_DEFAULTS: Final[dict[int, int | bytes]] = {VARINT: 0, FIXED32: 0, FIXED64: 0, BYTES: b""}


def encode_spans(spans: Iterable[Span]) -> bytes:
    """One export request; spans of the same service and instance share a resource.

    Writes whatever the spans hold: call `allow.sanitise` first where they leave a process.
    """
    groups: dict[tuple[str, str], list[Span]] = {}
    for span in spans:
        groups.setdefault((span.service, span.instance), []).append(span)
    return b"".join(put_bytes(1, _resource_spans(*key, group)) for key, group in groups.items())


def _resource_spans(service: str, instance: str, spans: list[Span]) -> bytes:
    resource = put_bytes(1, _key_value(SERVICE_NAME, service))
    if instance:
        resource += put_bytes(1, _key_value(SERVICE_INSTANCE, instance))
    scope_spans = put_bytes(1, put_text(1, SCOPE))
    scope_spans += b"".join(put_bytes(2, _span(span)) for span in spans)
    return put_bytes(1, resource) + put_bytes(2, scope_spans)


def _span(span: Span) -> bytes:
    parts = [
        put_bytes(1, bytes.fromhex(span.context.trace_id)),
        put_bytes(2, bytes.fromhex(span.context.span_id)),
        put_bytes(4, bytes.fromhex(span.parent_id)) if span.parent_id else b"",
        put_text(5, span.name),
        put_int(6, span.kind),
        put_fixed64(7, span.start_ns),
        put_fixed64(8, span.end_ns),
        *(put_bytes(9, _key_value(key, value)) for key, value in span.attributes),
        *(put_bytes(13, _link(link)) for link in span.links),
        put_bytes(15, put_int(3, span.status)) if span.status else b"",
        put_fixed32(16, _SAMPLED if span.context.sampled else 0),
    ]
    return b"".join(parts)


def _link(link: SpanContext) -> bytes:
    ids = put_bytes(1, bytes.fromhex(link.trace_id)) + put_bytes(2, bytes.fromhex(link.span_id))
    return ids + put_fixed32(6, _SAMPLED if link.sampled else 0)


def _key_value(key: str, value: AttributeValue) -> bytes:
    if isinstance(value, bool):
        any_value = put_int(2, value)
    elif isinstance(value, int):
        any_value = put_int(3, value)
    else:
        any_value = put_text(1, value)
    return put_text(1, key) + put_bytes(2, any_value)


def decode_spans(raw: bytes) -> tuple[Span, ...]:
    """The spans of an export request, in order.

    Raises:
        MessageError: `telemetry.malformed`; also when a limit of this module is passed.
    """
    if len(raw) > MAX_EXPORT:
        raise malformed(f"{len(raw)} bytes, at most {MAX_EXPORT} are taken")
    spans: list[Span] = []
    for resource_spans in _Message(raw, {1: BYTES}, many={1}).blocks(1, MAX_SPANS):
        part = _Message(resource_spans, {1: BYTES, 2: BYTES}, many={2})
        resource = _Message(part.block(1), {1: BYTES}, many={1})
        labels = dict(_attributes(resource.blocks(1, MAX_ATTRIBUTES)))
        service, instance = labels.get(SERVICE_NAME, ""), labels.get(SERVICE_INSTANCE, "")
        for scope_spans in part.blocks(2, MAX_SPANS):
            found = _Message(scope_spans, {2: BYTES}, many={2}).blocks(2, MAX_SPANS - len(spans))
            spans.extend(_read_span(item, str(service), str(instance)) for item in found)
    return tuple(spans)


def split_by_trace(raw: bytes) -> dict[str, bytes]:
    """One export request per trace id, in order of appearance.

    Raises:
        MessageError: `telemetry.malformed`.
    """
    return {trace_id: encode_spans(spans) for trace_id, spans in by_trace(decode_spans(raw))}


def by_trace(spans: Iterable[Span]) -> Iterable[tuple[str, list[Span]]]:
    """The spans of each trace, in order of appearance."""
    groups: dict[str, list[Span]] = {}
    for span in spans:
        groups.setdefault(span.context.trace_id, []).append(span)
    return groups.items()


_SPAN_FIELDS: Final = {
    **dict.fromkeys((1, 2, 4, 5, 9, 13, 15), BYTES),
    6: VARINT,
    7: FIXED64,
    8: FIXED64,
    16: FIXED32,
}


def _read_span(raw: bytes, service: str, instance: str) -> Span:
    span = _Message(raw, _SPAN_FIELDS, many={9, 13})
    # 0 is "unspecified", which the specification reads as internal.
    kind, status = span.number(6) or Kind.INTERNAL, _Message(span.block(15), {3: VARINT}).number(3)
    if kind not in set(Kind) or status not in set(Status):
        raise malformed(f"span kind {kind}, status {status}")
    return Span(
        service=service,
        instance=instance,
        name=span.text(5),
        # Only sampled spans are exported, and senders older than the flags field leave it out.
        context=_context(span, sampled=bool(span.number(_FLAGS) & _SAMPLED) or _FLAGS not in span),
        parent_id=_id(span.block(4), _SPAN_ID_SIZE) if span.block(4) else None,
        kind=Kind(kind),
        start_ns=span.number(7),
        end_ns=span.number(8),
        attributes=_attributes(span.blocks(9, MAX_ATTRIBUTES)),
        status=Status(status),
        links=tuple(_read_link(link) for link in span.blocks(13, MAX_LINKS)),
    )


def _read_link(raw: bytes) -> SpanContext:
    link = _Message(raw, {1: BYTES, 2: BYTES, 6: FIXED32})
    return _context(link, sampled=bool(link.number(6) & _SAMPLED))


def _context(message: "_Message", *, sampled: bool) -> SpanContext:
    return SpanContext(
        trace_id=_id(message.block(1), _TRACE_ID_SIZE),
        span_id=_id(message.block(2), _SPAN_ID_SIZE),
        sampled=sampled,
    )


def _id(raw: bytes, size: int) -> str:
    if len(raw) != size or not any(raw):
        raise malformed(f"an id that is not {size} bytes, or is all zeros")
    return raw.hex()


def _attributes(raws: list[bytes]) -> tuple[tuple[str, AttributeValue], ...]:
    found: dict[str, AttributeValue | None] = {}
    for raw in raws:
        pair = _Message(raw, {1: BYTES, 2: BYTES})
        key = pair.text(1)
        if key in found:
            raise malformed("an attribute key that stands twice")
        found[key] = _any_value(pair.block(2))
    return tuple((key, value) for key, value in found.items() if value is not None)


def _any_value(raw: bytes) -> AttributeValue | None:
    value = _Message(raw, {_STRING: BYTES, _BOOL: VARINT, _INT: VARINT})
    if sum(number in value for number in (_STRING, _BOOL, _INT)) > 1:
        raise malformed("an attribute with several values")
    if _STRING in value:
        return value.text(_STRING)
    if _BOOL in value:
        return bool(value.number(_BOOL))
    return signed64(value.number(_INT)) if _INT in value else None


class _Message:
    """The known fields of one message; what is absent reads as its default."""

    def __init__(
        self, raw: bytes, known: dict[int, int], many: set[int] | frozenset[int] = frozenset()
    ) -> None:
        self._known = known
        self._found: dict[int, list[int | bytes]] = {}
        for number, wire_type, value in fields(raw):
            if number not in known:
                continue
            if wire_type != known[number]:
                raise malformed(f"field {number} has wire type {wire_type}")
            values = self._found.setdefault(number, [])
            if values and number not in many:
                raise malformed(f"field {number} stands twice")
            values.append(value)

    def __contains__(self, number: int) -> bool:
        return number in self._found

    def number(self, number: int) -> int:
        return int(self._one(number))

    def block(self, number: int) -> bytes:
        return bytes(self._one(number))

    def text(self, number: int) -> str:
        raw = self.block(number)
        if len(raw) > MAX_TEXT:
            raise malformed(f"a text of {len(raw)} bytes, at most {MAX_TEXT} are taken")
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise malformed("a text that is not UTF-8") from error

    def blocks(self, number: int, limit: int) -> list[bytes]:
        values = self._found.get(number, [])
        if len(values) > limit:
            raise malformed(f"field {number} stands {len(values)} times, want at most {limit}")
        return [bytes(value) for value in values]

    def _one(self, number: int) -> int | bytes:
        return self._found.get(number, [_DEFAULTS[self._known[number]]])[0]
