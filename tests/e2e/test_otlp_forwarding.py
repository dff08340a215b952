"""The stack hands its traces on to the OTLP endpoint that the standard variable names."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from support.stack import running, wait_until
from support.wat import Guest

SERVICES = {"atoll-cli", "atoll-gateway", "atoll-manager", "atoll-attestor", "atoll-agent"}


class Collector(ThreadingHTTPServer):
    """An OTLP/HTTP collector that keeps what it gets."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, ExportTraceServiceRequest]] = []

    def services(self) -> dict[str, set[str]]:
        """Trace id to the services that have spans in it."""
        found: dict[str, set[str]] = {}
        for _, request in self.requests:
            for resource in request.resource_spans:
                labels = {
                    item.key: item.value.string_value for item in resource.resource.attributes
                }
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        found.setdefault(span.trace_id.hex(), set()).add(labels["service.name"])
        return found


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        self.server.requests.append((self.path, ExportTraceServiceRequest.FromString(raw)))
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_one_trace_of_all_five_services_reaches_the_endpoint(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = collector.server_address[1]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    module = tmp_path / "echo.wasm"
    guest = Guest()
    guest.exit(0)
    module.write_bytes(guest.wasm())
    with running(tmp_path / "stack") as stack:
        said = stack.run(module)
        trace = said.document()["trace_id"]

        wait_until(
            lambda: collector.services().get(trace, set()) == SERVICES, "all services' spans"
        )

    assert {path for path, _ in collector.requests} == {"/v1/traces"}
