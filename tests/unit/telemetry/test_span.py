import asyncio
import dataclasses
import itertools

import pytest

from atoll.errors import AtollError, NotFoundError
from atoll.telemetry import names
from atoll.telemetry.context import SpanContext
from atoll.telemetry.span import Kind, Recorder, Span, SpanBuffer, Status, code_of
from unit.telemetry.spans import make

REMOTE = SpanContext(trace_id="ab" * 16, span_id="cd" * 8)


def recorder(capacity: int = 100) -> Recorder:
    ticks, ids = itertools.count(1000, 10), itertools.count(1)
    return Recorder(
        names.AGENT,
        instance="enclave-1",
        clock=lambda: next(ticks),
        random=lambda size: next(ids).to_bytes(size, "big"),
        capacity=capacity,
    )


def by_name(spans: tuple[Span, ...]) -> dict[str, Span]:
    return {span.name: span for span in spans}


def test_a_span_opened_in_another_is_its_child() -> None:
    tracer = recorder()
    with tracer.span("outer") as outer, tracer.span("inner", kind=Kind.CLIENT):
        pass
    spans = by_name(tracer.drain())
    assert spans["outer"].parent_id is None
    assert spans["inner"].parent_id == outer.context.span_id
    assert spans["inner"].context.trace_id == outer.context.trace_id
    assert (spans["outer"].start_ns, spans["outer"].end_ns) == (1000, 1030)
    assert spans["inner"].kind is Kind.CLIENT


def test_a_given_parent_wins_over_the_current_span() -> None:
    tracer = recorder()
    with tracer.span("outer"), tracer.span("inner", parent=REMOTE):
        pass
    inner = by_name(tracer.drain())["inner"]
    assert (inner.context.trace_id, inner.parent_id) == (REMOTE.trace_id, REMOTE.span_id)


def test_the_current_span_ends_with_its_block() -> None:
    tracer = recorder()
    with tracer.span("outer") as outer:
        with tracer.span("inner") as inner:
            assert tracer.current() == inner.context
        assert tracer.current() == outer.context
    assert tracer.current() is None


async def test_tasks_do_not_see_each_others_spans() -> None:
    tracer = recorder()
    opened, checked = asyncio.Event(), asyncio.Event()

    async def one() -> None:
        with tracer.span("one"):
            opened.set()
            await checked.wait()

    async def two() -> None:
        await opened.wait()
        with tracer.span("two"):
            checked.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(one())
        group.create_task(two())
    assert [span.parent_id for span in tracer.drain()] == [None, None]


def test_an_exception_leaves_its_code_and_not_its_text() -> None:
    tracer = recorder()
    with pytest.raises(NotFoundError), tracer.span("work"):
        raise NotFoundError("secret text", code="asset.missing")
    (span,) = tracer.drain()
    assert span.status is Status.ERROR
    assert span.attributes == (("error.type", "asset.missing"),)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFoundError("x"), "not_found"),
        (AtollError("x", code="No Code! secret"), "internal"),
        (ValueError("secret"), "internal"),
        (TimeoutError("secret"), "timeout"),
        (asyncio.CancelledError(), "cancelled"),
        (KeyboardInterrupt(), "cancelled"),
    ],
)
def test_every_exception_has_a_code(error: BaseException, code: str) -> None:
    assert code_of(error) == code


def test_an_unsampled_trace_is_passed_on_and_not_recorded() -> None:
    tracer = recorder()
    parent = SpanContext(trace_id="ab" * 16, span_id="cd" * 8, sampled=False)
    with tracer.span("work", parent=parent) as span:
        assert span.context.sampled is False
        assert span.context.trace_id == parent.trace_id
    assert tracer.drain() == ()


def test_a_full_buffer_drops_and_counts() -> None:
    tracer = recorder(capacity=1)
    for _ in range(3):
        with tracer.span("work"):
            pass
    assert tracer.dropped == 2
    assert len(tracer.drain()) == 1
    assert tracer.drain() == ()


def test_a_drained_buffer_has_room_again() -> None:
    buffer = SpanBuffer(1)
    buffer.add(make(1))
    assert buffer.drain() == (make(1),)
    buffer.add(make(2))
    assert buffer.drain() == (make(2),)
    assert buffer.dropped == 0


def test_an_impossible_attribute_is_lost_and_the_work_goes_on() -> None:
    tracer = recorder()
    with tracer.span("work", attributes={"big": 1 << 63}) as span:
        span.set("low", -(1 << 63) - 1)
        span.set("ok", 7)
    (done,) = tracer.drain()
    assert done.attributes == (("ok", 7),)
    assert done.attribute("ok") == 7
    assert done.attribute("big") is None


def test_random_zeros_do_not_make_an_illegal_id() -> None:
    tracer = Recorder("a", instance="b", clock=lambda: 0, random=bytes)
    with tracer.span("work") as span:
        assert int(span.context.trace_id, 16) == 1


@pytest.mark.parametrize(
    "change", [{"start": -1}, {"end": 1 << 64}, {"attributes": {"a": 1 << 63}}]
)
def test_a_span_that_exists_is_legal(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"span|attribute"):
        make(1, **change)  # type: ignore[arg-type]


def test_a_parent_id_or_key_that_cannot_be_is_refused() -> None:
    span = make(1)
    with pytest.raises(ValueError, match="parent id"):
        dataclasses.replace(span, parent_id="0" * 16)
    with pytest.raises(ValueError, match="twice"):
        dataclasses.replace(span, attributes=(("a", 1), ("a", 2)))


def test_a_clock_that_steps_back_makes_no_negative_duration() -> None:
    assert make(1, start=10, end=3).duration_ns == 0
