import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from atoll.errors import MessageError
from atoll.telemetry import otlp
from atoll.telemetry.otlp import decode_spans, encode_spans, split_by_trace
from atoll.telemetry.protobuf import fields, put_bytes, put_fixed32, put_int
from atoll.telemetry.span import AttributeValue, Span
from unit.telemetry.spans import TRACE, make, spans

lists = st.lists(spans, max_size=4)


def value_of(pair: KeyValue) -> AttributeValue:
    kind = pair.value.WhichOneof("value")
    assert kind in {"string_value", "bool_value", "int_value"}
    found: AttributeValue = getattr(pair.value, kind)
    return found


def facts(span: Span) -> tuple[object, ...]:
    links = tuple((link.trace_id, link.span_id, link.sampled) for link in span.links)
    return (
        *(span.service, span.instance, span.name, span.context.trace_id, span.context.span_id),
        *(span.parent_id or "", int(span.kind), span.start_ns, span.end_ns),
        *(span.attributes, int(span.status), span.context.sampled, links),
    )


def reference_facts(raw: bytes) -> list[tuple[object, ...]]:
    """What the generated classes read."""
    request = ExportTraceServiceRequest()
    request.ParseFromString(raw)
    found: list[tuple[object, ...]] = []
    for part in request.resource_spans:
        labels = {pair.key: pair.value.string_value for pair in part.resource.attributes}
        for scope in part.scope_spans:
            for span in scope.spans:
                links = tuple(
                    (link.trace_id.hex(), link.span_id.hex(), bool(link.flags & 1))
                    for link in span.links
                )
                pairs = tuple((pair.key, value_of(pair)) for pair in span.attributes)
                found.append(
                    (
                        *(labels.get("service.name", ""), labels.get("service.instance.id", "")),
                        *(span.name, span.trace_id.hex(), span.span_id.hex()),
                        *(span.parent_span_id.hex(), span.kind or 1),
                        *(span.start_time_unix_nano, span.end_time_unix_nano),
                        *(pairs, span.status.code, bool(span.flags & 1), links),
                    )
                )
    return found


def read(raw: bytes) -> tuple[Span, ...] | str:
    """The spans, or the code of the error."""
    try:
        return decode_spans(raw)
    except MessageError as error:
        return error.code


def grouped(items: list[Span]) -> list[Span]:
    """In the order in which an export holds them: by resource."""
    keys = list(dict.fromkeys((span.service, span.instance) for span in items))
    return sorted(items, key=lambda span: keys.index((span.service, span.instance)))


def request_with(span: ProtoSpan) -> bytes:
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.append(span)
    return request.SerializeToString()


def legal_proto() -> ProtoSpan:
    return ProtoSpan(trace_id=bytes.fromhex(TRACE), span_id=b"12345678", name="job run")


@settings(max_examples=80)
@given(lists)
def test_the_generated_classes_read_what_we_write(items: list[Span]) -> None:
    assert reference_facts(encode_spans(items)) == [facts(span) for span in grouped(items)]


@settings(max_examples=80)
@given(lists)
def test_we_read_what_the_generated_classes_write(items: list[Span]) -> None:
    request = ExportTraceServiceRequest()
    request.ParseFromString(encode_spans(items))
    # proto3 leaves out zeros, among them the flags that say "not sampled".
    expected = [facts(span)[:-2] for span in grouped(items)]
    assert [facts(span)[:-2] for span in decode_spans(request.SerializeToString())] == expected


@settings(max_examples=80)
@given(lists)
def test_a_round_trip_gives_the_same_spans(items: list[Span]) -> None:
    assert decode_spans(encode_spans(items)) == tuple(grouped(items))


@settings(max_examples=300)
@given(st.binary(max_size=120))
@example(b"\x0a\x00")
@example(b"\x0b")
def test_arbitrary_bytes_give_spans_or_the_documented_error(raw: bytes) -> None:
    assert isinstance(read(raw), tuple) or read(raw) == "telemetry.malformed"


@settings(max_examples=150)
@given(st.data())
def test_a_changed_byte_is_never_read_differently_from_the_generated_classes(
    data: st.DataObject,
) -> None:
    raw = bytearray(encode_spans([make(1, parent=2, attributes={"a": "b", "n": -1, "t": True})]))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    ours = read(bytes(raw))
    if isinstance(ours, str):
        assert ours == "telemetry.malformed"
        return
    request = ExportTraceServiceRequest()
    try:
        request.ParseFromString(bytes(raw))
    except DecodeError:
        return  # the byte is inside a field that we skip without looking into it
    theirs = [s for part in request.resource_spans for x in part.scope_spans for s in x.spans]
    assert [(s.name, s.span_id.hex(), s.start_time_unix_nano) for s in theirs] == [
        (span.name, span.context.span_id, span.start_ns) for span in ours
    ]


def test_every_truncation_is_refused() -> None:
    raw = encode_spans([make(1, attributes={"a": "b"})])
    for size in range(1, len(raw)):
        with pytest.raises(MessageError):
            decode_spans(raw[:size])


def test_values_without_a_rule_are_left_out_and_the_rest_stays() -> None:
    span = legal_proto()
    span.attributes.add(key="double").value.double_value = 1.5
    span.attributes.add(key="bytes").value.bytes_value = b"secret"
    span.attributes.add(key="list").value.array_value.values.add(string_value="secret")
    span.attributes.add(key="map").value.kvlist_value.values.add(key="secret")
    span.attributes.add(key="empty")
    span.attributes.add(key="int").value.int_value = -3
    span.events.add(name="exception").attributes.add(key="secret").value.string_value = "secret"
    span.status.message = "secret"
    span.trace_state = "vendor=secret"
    (found,) = decode_spans(request_with(span))
    assert found.attributes == (("int", -3),)
    assert "secret" not in repr(found)
    assert b"secret" not in encode_spans([found])


def test_a_span_without_flags_counts_as_sampled() -> None:
    (found,) = decode_spans(request_with(legal_proto()))
    assert found.context.sampled is True
    assert found.kind.name == "INTERNAL"


@pytest.mark.parametrize(
    "change",
    [
        {"trace_id": b""},
        {"trace_id": bytes(16)},
        {"trace_id": b"short"},
        {"span_id": bytes(8)},
        {"span_id": b"123456789"},
        {"parent_span_id": b"1"},
        {"parent_span_id": bytes(8)},
        {"kind": 6},
        {"name": "x" * (otlp.MAX_TEXT + 1)},
    ],
)
def test_refuses_a_span_that_cannot_be(change: dict[str, object]) -> None:
    span = legal_proto()
    for name, value in change.items():
        setattr(span, name, value)
    with pytest.raises(MessageError):
        decode_spans(request_with(span))


def in_request(span: bytes) -> bytes:
    return put_bytes(1, put_bytes(2, put_bytes(2, span)))


LEGAL = put_bytes(1, bytes.fromhex(TRACE)) + put_bytes(2, b"12345678")


def test_the_hand_made_span_is_legal() -> None:
    assert len(decode_spans(in_request(LEGAL))) == 1


@pytest.mark.parametrize(
    "extra",
    [
        put_bytes(1, bytes.fromhex(TRACE)),
        put_int(5, 1),
        put_bytes(5, b"\xff"),
        put_fixed32(7, 1),
        put_bytes(9, put_bytes(1, b"a")) * 2,
        put_bytes(9, put_bytes(2, put_int(2, 1) + put_int(3, 1))),
        put_bytes(15, put_int(3, 3)),
        put_bytes(13, b""),
        b"".join(put_bytes(9, put_bytes(1, b"%d" % n)) for n in range(otlp.MAX_ATTRIBUTES + 1)),
        b"\x00\x00",
        b"\xa3\x06",
        b"\xa0\x06" + b"\xff" * 9 + b"\x02",
        b"\xa0\x06" + b"\x80" * 10 + b"\x00",
    ],
    ids=[
        *("field twice", "wrong wire type", "not UTF-8", "wrong width", "key twice"),
        *("two values", "status 3", "link without ids", "too many attributes", "field 0"),
        *("a group", "65 bits", "11 bytes"),
    ],
)
def test_refuses_what_stands_in_no_legal_span(extra: bytes) -> None:
    with pytest.raises(MessageError) as caught:
        decode_spans(in_request(LEGAL + extra))
    assert caught.value.code == "telemetry.malformed"


def test_unknown_fields_are_skipped() -> None:
    extra = put_bytes(100, b"x") + put_int(101, 5) + put_fixed32(102, 5) + put_int(10, 3)
    assert decode_spans(in_request(LEGAL + extra)) == decode_spans(in_request(LEGAL))


def test_refuses_too_many_bytes_and_too_many_spans() -> None:
    with pytest.raises(MessageError, match="at most"):
        decode_spans(bytes(otlp.MAX_EXPORT + 1))
    many = put_bytes(1, put_bytes(2, put_bytes(2, LEGAL) * (otlp.MAX_SPANS + 1)))
    with pytest.raises(MessageError, match="at most"):
        decode_spans(many)
    spread = put_bytes(1, put_bytes(2, put_bytes(2, LEGAL) * (otlp.MAX_SPANS // 2 + 1))) * 2
    with pytest.raises(MessageError, match="at most"):
        decode_spans(spread)


def test_splits_by_trace_and_loses_nothing() -> None:
    items = [make(1), make(2, trace="ab" * 16), make(3, parent=1, service="atoll-agent")]
    parts = split_by_trace(encode_spans(items))
    assert list(parts) == [TRACE, "ab" * 16]
    assert decode_spans(parts[TRACE]) == (items[0], items[2])
    assert decode_spans(parts["ab" * 16]) == (items[1],)
    assert split_by_trace(b"") == {}


@settings(max_examples=200)
@given(st.binary(max_size=60))
def test_the_wire_reader_accepts_no_more_than_protobuf(raw: bytes) -> None:
    try:
        list(fields(raw))
    except MessageError:
        return
    # Field 1 is the only one that the generated class knows; without it all are unknown.
    if all(number != 1 for number, _, _ in fields(raw)):
        try:
            ExportTraceServiceRequest().ParseFromString(raw)
        except DecodeError:
            pytest.fail("we read what protobuf refuses")
