import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.telemetry.context import SpanContext, extract, inject, parse, render

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"


def test_reads_the_example_of_the_specification() -> None:
    assert parse(GOOD) == SpanContext(trace_id=TRACE, span_id=SPAN, sampled=True)


@pytest.mark.parametrize(
    ("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("ff", True)]
)
def test_reads_only_the_sampled_bit_of_the_flags(flags: str, sampled: bool) -> None:  # noqa: FBT001
    context = parse(f"00-{TRACE}-{SPAN}-{flags}")
    assert context is not None
    assert context.sampled is sampled


@pytest.mark.parametrize(
    "header",
    [
        "",
        GOOD.upper(),
        GOOD + "-",
        GOOD + "-00",
        GOOD + " ",
        GOOD + "\n",
        " " + GOOD,
        GOOD[:-1],
        GOOD.replace("-", "_"),
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-0x",
        f"00-{TRACE[:-1]}٣-{SPAN}-01",
        f"01-{TRACE}-{SPAN}-01x",
        f"01-{TRACE}-{SPAN}-01-{'a' * 300}",
    ],
)
def test_refuses_what_is_not_exactly_a_traceparent(header: str) -> None:
    assert parse(header) is None


def test_reads_a_later_version_with_more_fields() -> None:
    assert parse(f"01-{TRACE}-{SPAN}-01-more") == parse(GOOD)


@given(st.text(max_size=80))
def test_never_raises(header: str) -> None:
    context = parse(header)
    assert context is None or parse(render(context)) == context


def test_travels_in_the_lower_case_header_only() -> None:
    context = SpanContext(trace_id=TRACE, span_id=SPAN, sampled=False)
    headers: dict[str, str] = {}
    inject(headers, context)
    assert headers == {"traceparent": f"00-{TRACE}-{SPAN}-00"}
    assert extract(headers) == context
    assert extract({"Traceparent": GOOD}) is None


def test_leaves_headers_alone_without_a_context() -> None:
    headers = {"a": "b"}
    inject(headers, None)
    assert headers == {"a": "b"}
    assert extract(None) is None
    assert extract(headers) is None


@pytest.mark.parametrize(
    ("trace", "span"), [("0" * 32, SPAN), (TRACE, "0" * 16), (TRACE + "0", SPAN)]
)
def test_a_context_that_exists_is_legal(trace: str, span: str) -> None:
    with pytest.raises(ValueError, match="id"):
        SpanContext(trace_id=trace, span_id=span)
