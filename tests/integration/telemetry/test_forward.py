"""The forwarder against a real HTTP server that decodes with the generated classes."""

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from atoll.errors import ConfigError, RefusedError, UnreachableError
from atoll.telemetry import names
from atoll.telemetry.forward import OtlpForwarder, from_env
from atoll.telemetry.otlp import encode_spans
from atoll.telemetry.span import Recorder


class Collector(ThreadingHTTPServer):
    """Answers with the next of `answers`, then with 200."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.requests: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {key.lower(): value for key, value in self.headers.items()}
        self.server.requests.append((self.path, headers, body))
        answers = self.server.answers
        status, extra, answer = answers.pop(0) if answers else (200, {}, b"")
        self.send_response(status)
        for key, value in extra.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Waits(list[float]):
    async def sleep(self, seconds: float) -> None:
        self.append(seconds)


def forwarder(url: str, waits: Waits | None = None, **env: str) -> OtlpForwarder:
    settings = from_env(
        {"OTEL_EXPORTER_OTLP_ENDPOINT": url}
        | {f"OTEL_EXPORTER_OTLP_{key}": value for key, value in env.items()}
    )
    assert settings is not None
    return OtlpForwarder(settings, sleep=(waits or Waits()).sleep, jitter=lambda: 0.0)


def export() -> bytes:
    recorder = Recorder(names.AGENT, instance="e1", clock=lambda: 7, random=lambda n: b"\x05" * n)
    with recorder.span(names.QUOTE, attributes={names.ENCLAVE_ID: "e1"}):
        pass
    return encode_spans(recorder.drain())


async def test_a_collector_receives_and_reads_the_spans(collector: Collector) -> None:
    sent = await forwarder(collector.url, HEADERS="authorization=Bearer%20x").forward(export())
    assert sent == 0
    ((path, headers, body),) = collector.requests
    assert path == "/v1/traces"
    assert headers["content-type"] == "application/x-protobuf"
    assert headers["authorization"] == "Bearer x"
    request = ExportTraceServiceRequest()
    request.ParseFromString(body)
    span = request.resource_spans[0].scope_spans[0].spans[0]
    assert (span.name, span.trace_id) == (names.QUOTE, b"\x05" * 16)


async def test_a_traces_endpoint_is_used_as_it_is(collector: Collector) -> None:
    await forwarder("http://unused", TRACES_ENDPOINT=collector.url + "/in?k=v").forward(export())
    assert collector.requests[0][0] == "/in?k=v"


async def test_bodies_are_compressed_when_asked(collector: Collector) -> None:
    await forwarder(collector.url, COMPRESSION="gzip").forward(export())
    ((_, headers, body),) = collector.requests
    assert headers["content-encoding"] == "gzip"
    assert gzip.decompress(body) == export()


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_tries_again_when_that_may_help(collector: Collector, status: int) -> None:
    collector.answers = [(status, {}, b""), (status, {}, b"")]
    waits = Waits([])
    made = OtlpForwarder(forwarder(collector.url)._settings, sleep=waits.sleep, jitter=lambda: 0.0)
    await made.forward(export())
    assert len(collector.requests) == 3
    assert waits == [0.5, 1.0]


async def test_waits_as_long_as_the_collector_says_within_reason(collector: Collector) -> None:
    collector.answers = [(503, {"Retry-After": "3"}, b""), (503, {"Retry-After": "9999"}, b"")]
    waits = Waits([])
    made = OtlpForwarder(forwarder(collector.url)._settings, sleep=waits.sleep, jitter=lambda: 0.0)
    await made.forward(export())
    assert waits == [3.0, 30.0]


@pytest.mark.parametrize("status", [301, 400, 401, 500])
async def test_does_not_try_again_when_refused(collector: Collector, status: int) -> None:
    collector.answers = [(status, {"Location": "http://elsewhere.invalid/"}, b"why")]
    with pytest.raises(RefusedError) as caught:
        await forwarder(collector.url).forward(export())
    assert caught.value.code == "telemetry.refused"
    assert len(collector.requests) == 1


async def test_gives_up_after_five_attempts(collector: Collector) -> None:
    collector.answers = [(503, {}, b"")] * 9
    with pytest.raises(UnreachableError) as caught:
        await forwarder(collector.url).forward(export())
    assert caught.value.code == "telemetry.unreachable"
    assert len(collector.requests) == 5


async def test_nobody_there_is_unreachable() -> None:
    server = Collector()
    url = server.url
    server.server_close()
    with pytest.raises(UnreachableError):
        await forwarder(url).forward(export())


async def test_says_how_many_spans_the_collector_refused(collector: Collector) -> None:
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 1
    answer.partial_success.error_message = "no"
    collector.answers = [(200, {}, answer.SerializeToString()), (200, {}, b"\xff not protobuf")]
    assert await forwarder(collector.url).forward(export()) == 1
    assert await forwarder(collector.url).forward(export()) == 0


async def test_a_certificate_file_that_is_none_is_a_wrong_setting(tmp_path: Path) -> None:
    made = forwarder("https://127.0.0.1:1", CERTIFICATE=str(tmp_path / "missing.pem"))
    with pytest.raises(ConfigError):
        await made.forward(export())
