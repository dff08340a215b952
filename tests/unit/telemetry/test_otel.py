import asyncio
import threading

import pytest
from opentelemetry import trace

from atoll.errors import NotFoundError
from atoll.telemetry import names, tracing
from atoll.telemetry.context import SpanContext
from atoll.telemetry.otel import OtelTracer, ServiceTracing
from atoll.telemetry.otlp import decode_spans
from atoll.telemetry.span import Kind, Recorder, Span, Status
from atoll.wire import subjects

REMOTE = SpanContext(trace_id="ab" * 16, span_id="cd" * 8)


class Service:
    def __init__(self, capacity: int = 100) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.tracing = ServiceTracing(
            names.GATEWAY, self.publish, instance="gw-1", capacity=capacity
        )
        self.tracer = self.tracing.tracer

    async def publish(self, trace_id: str, raw: bytes) -> None:
        self.messages.append((trace_id, raw))

    async def spans(self) -> dict[str, Span]:
        assert await self.tracing.flush(10)
        return {span.name: span for _, raw in self.messages for span in decode_spans(raw)}


async def test_a_span_of_the_sdk_goes_out_with_everything_that_may() -> None:
    service = Service()
    name = names.messaging_span("send", subjects.SPAWN)
    link = SpanContext(trace_id="12" * 16, span_id="34" * 8, sampled=False)
    with service.tracer.span(
        name, parent=REMOTE, kind=Kind.PRODUCER, attributes={names.JOB_ID: "j1"}, links=(link,)
    ) as span:
        span.set(names.MESSAGING_BODY_SIZE, 1000)
        assert span.context is not None
    found = (await service.spans())[name]
    assert found.context == span.context
    assert (found.context.trace_id, found.parent_id) == (REMOTE.trace_id, REMOTE.span_id)
    assert (found.service, found.instance, found.kind) == (names.GATEWAY, "gw-1", Kind.PRODUCER)
    assert dict(found.attributes) == {names.JOB_ID: "j1", names.MESSAGING_BODY_SIZE: 1024}
    assert found.links == (link,)
    assert 0 < found.start_ns <= found.end_ns
    assert service.messages[0][0] == REMOTE.trace_id


async def test_an_exception_leaves_its_code_and_not_its_text() -> None:
    service = Service()
    with pytest.raises(NotFoundError), service.tracer.span(names.SUBMIT):
        raise NotFoundError("secret", code="job.missing")
    found = (await service.spans())[names.SUBMIT]
    assert found.status is Status.ERROR
    assert found.attributes == ((names.ERROR_TYPE, "job.missing"),)
    assert b"secret" not in service.messages[0][1]


async def test_other_instrumentation_joins_the_trace_without_its_names() -> None:
    service = Service()
    foreign = service.tracing.provider.get_tracer("someone.else")
    with (
        service.tracer.span(names.JOBS_SUBMIT) as outer,
        foreign.start_as_current_span("GET /v1/jobs/secret", attributes={"a": "secret", "b": 1.5}),
        service.tracer.span(names.LEDGER_APPLY),
    ):
        trace.get_current_span().add_event("secret")
    found = await service.spans()
    assert set(found) == {names.JOBS_SUBMIT, names.OTHER, names.LEDGER_APPLY}
    assert outer.context is not None
    assert found[names.OTHER].parent_id == outer.context.span_id
    assert found[names.LEDGER_APPLY].parent_id == found[names.OTHER].context.span_id
    assert b"secret" not in b"".join(raw for _, raw in service.messages)


async def test_an_unsampled_trace_is_passed_on_and_not_exported() -> None:
    service = Service()
    parent = SpanContext(trace_id="ab" * 16, span_id="cd" * 8, sampled=False)
    with service.tracer.span(names.SUBMIT, parent=parent) as span:
        assert span.context is not None
        assert span.context.trace_id == parent.trace_id
        assert span.context.sampled is False
    assert await service.spans() == {}


async def test_a_full_buffer_drops_and_counts_and_never_blocks() -> None:
    service = Service(capacity=2)
    for _ in range(5):
        with service.tracer.span(names.SUBMIT):
            pass
    assert await service.tracing.flush(10)
    assert (service.tracing.exported, service.tracing.lost) == (2, 3)


async def test_spans_of_other_threads_are_collected() -> None:
    service = Service()

    def work() -> None:
        with service.tracer.span(names.SEAL_ASSET):
            pass

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert set(await service.spans()) == {names.SEAL_ASSET}


async def test_the_export_loop_publishes_by_itself() -> None:
    published = asyncio.Event()

    async def publish(_trace_id: str, _raw: bytes) -> None:
        published.set()

    tracing_ = ServiceTracing(names.MANAGER, publish, instance="m1", interval_s=0)
    async with asyncio.TaskGroup() as group:
        loop = group.create_task(tracing_.run())
        with tracing_.tracer.span(names.SPAWN):
            pass
        await published.wait()
        loop.cancel()
    assert tracing_.lost == 0


def test_the_current_span_ends_with_its_block() -> None:
    tracer = Service().tracer
    with tracer.span(names.SUBMIT) as span:
        assert tracer.current() == span.context
    assert tracer.current() is None


def test_without_recording_there_is_no_context_to_send() -> None:
    tracer = OtelTracer(trace.NoOpTracer())
    with tracer.span(names.SUBMIT) as span:
        span.set(names.JOB_ID, "j1")
        assert span.context is None


async def test_one_trace_spans_a_service_and_an_agent() -> None:
    service = Service()
    agent = Recorder(names.AGENT, instance="e1", clock=lambda: 5, random=lambda n: b"\x07" * n)
    tracers: list[tracing.Tracer] = [service.tracer, agent]
    with tracers[0].span(names.SPAWN) as spawn:  # noqa: SIM117
        with tracers[1].span(names.ENCLAVE_BOOT, parent=spawn.context) as boot:
            assert boot.context is not None
            with tracers[0].span(names.ATTEST_APPRAISE, parent=boot.context):
                pass
    found = await service.spans()
    (booted,) = agent.drain()
    assert booted.parent_id == found[names.SPAWN].context.span_id
    assert found[names.ATTEST_APPRAISE].parent_id == booted.context.span_id
    assert {span.context.trace_id for span in (*found.values(), booted)} == {
        booted.context.trace_id
    }
