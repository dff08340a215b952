import asyncio

from atoll.telemetry import names
from atoll.telemetry.export import MAX_BATCH, WINDOW, Exporter
from atoll.telemetry.otlp import decode_spans
from atoll.telemetry.span import Span, SpanBuffer
from unit.telemetry.spans import TRACE, make

OTHER_TRACE = "ab" * 16


class Bus:
    """Keeps what was published; can be told to fail or to hang."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.error: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.entered = asyncio.Event()
        self.published = asyncio.Event()
        self.waiting = 0
        self.full = asyncio.Event()

    async def publish(self, trace_id: str, raw: bytes) -> None:
        self.entered.set()
        self.waiting += 1
        if self.waiting == WINDOW:
            self.full.set()
        await self.open.wait()
        if self.error is not None:
            raise self.error
        self.messages.append((trace_id, raw))
        self.published.set()

    def spans(self) -> list[Span]:
        return [span for _, raw in self.messages for span in decode_spans(raw)]


def exporter(bus: Bus, *spans: Span, publish_timeout_s: float = 60) -> tuple[Exporter, SpanBuffer]:
    buffer = SpanBuffer()
    for span in spans:
        buffer.add(span)
    made = Exporter(buffer.drain, bus.publish, interval_s=0, publish_timeout_s=publish_timeout_s)
    return made, buffer


async def test_a_message_holds_spans_of_one_trace_only() -> None:
    bus = Bus()
    made, _ = exporter(bus, make(1), make(2, trace=OTHER_TRACE), make(3))
    assert await made.flush(10)
    assert [trace for trace, _ in bus.messages] == [TRACE, OTHER_TRACE]
    assert decode_spans(bus.messages[0][1]) == (make(1), make(3))
    assert made.exported == 3


async def test_nothing_leaves_unsanitised() -> None:
    bus = Bus()
    made, _ = exporter(bus, make(1, name="secret", attributes={"note": "secret"}))
    assert await made.flush(10)
    assert b"secret" not in bus.messages[0][1]
    assert bus.spans()[0].name == names.OTHER


async def test_many_spans_go_out_in_bounded_messages() -> None:
    bus = Bus()
    made, _ = exporter(bus, *(make(number) for number in range(1, MAX_BATCH + 2)))
    assert await made.flush(10)
    assert [len(decode_spans(raw)) for _, raw in bus.messages] == [MAX_BATCH, 1]


async def test_messages_of_many_traces_are_under_way_side_by_side() -> None:
    bus = Bus()
    bus.open.clear()
    traces = [f"{number:032x}" for number in range(1, WINDOW + 2)]
    made, _ = exporter(bus, *(make(1, trace=trace) for trace in traces))
    task = asyncio.get_running_loop().create_task(made.flush(10))
    await bus.full.wait()
    assert bus.messages == []
    bus.open.set()
    assert await task
    assert [trace for trace, _ in bus.messages] == traces
    assert made.exported == WINDOW + 1


async def test_runs_until_cancelled_and_survives_a_failing_bus() -> None:
    bus = Bus()
    made, buffer = exporter(bus, make(1))
    bus.error = ConnectionError("gone")
    task = asyncio.get_running_loop().create_task(made.run())
    await bus.entered.wait()
    bus.error = None
    buffer.add(make(2))
    await bus.published.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert bus.spans() == [make(2)]
    assert (made.failed, made.exported) == (1, 1)


async def test_a_batch_cancelled_on_its_way_goes_out_with_the_flush() -> None:
    bus = Bus()
    bus.open.clear()
    made, _ = exporter(bus, make(1))
    task = asyncio.get_running_loop().create_task(made.run())
    await bus.entered.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    bus.open.set()
    assert await made.flush(10)
    assert bus.spans() == [make(1)]


async def test_flush_gives_up_at_its_deadline() -> None:
    bus = Bus()
    bus.open.clear()
    made, _ = exporter(bus, make(1))
    assert await made.flush(0) is False
    assert bus.messages == []


async def test_a_publish_that_hangs_loses_its_batch_only() -> None:
    bus = Bus()
    bus.open.clear()
    made, _ = exporter(bus, make(1), publish_timeout_s=0)
    assert await made.flush(10)
    assert made.failed == 1
