"""Metrics over prometheus_client, and the address where Prometheus scrapes them.

The page is served by threads of their own, by the library's WSGI application; what is odd about a
client there ends with its thread. It answers anybody who reaches the address, so it says nothing
of a tenant or a job.
"""

import contextlib
import errno
import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from socketserver import ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app
from prometheus_client.process_collector import ProcessCollector

from atoll.errors import ConfigError
from atoll.telemetry.metrics.metric import MAX_CODES, OTHER, Kind, Metric
from atoll.telemetry.metrics.table import CODE, METRICS

LOOPBACK: Final = "127.0.0.1"
MAX_SCRAPES: Final = 8
"""At a time; further connections are closed."""
SILENCE_S: Final = 5.0
"""How long a client may say nothing, or read nothing."""
_MAX_PORT: Final = 65_535
_MAX_PRESET: Final = 64
"""Series of one metric that are shown as 0 from the start."""


class PrometheusMeter:
    """The metrics of one service (`atoll.telemetry.metrics.metric.Meter`).

    What is not in the table for this service, or has other labels, is our own mistake:

    Raises:
        ValueError, KeyError.
    """

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._metrics = {
            metric.name: _made(metric, self.registry)
            for metric in METRICS
            if service in metric.services
        }
        self._codes: dict[str, set[str]] = {name: set() for name in self._metrics}

    def count(self, metric: Metric, by: float = 1.0, /, **labels: str) -> None:
        self._of(metric, labels).inc(by)

    def observe(self, metric: Metric, value: float, /, **labels: str) -> None:
        self._of(metric, labels).observe(value)

    def put(self, metric: Metric, value: float, /, **labels: str) -> None:
        self._of(metric, labels).set(value)

    def follow(self, metric: Metric, read: Callable[[], float], /, **labels: str) -> None:
        self._of(metric, labels).set_function(read)

    def clear(self, metric: Metric, /) -> None:
        self._metrics[metric.name].clear()

    def _of(self, metric: Metric, labels: dict[str, str]) -> Any:
        made = self._metrics[metric.name]
        if not metric.labels:
            if labels:
                raise ValueError(f"{metric.name} has no labels")
            return made
        for label in metric.labels:
            if label.values and labels[label.name] not in label.values:
                raise ValueError(f"{metric.name}: {label.name}={labels[label.name]!r}")
        if CODE in metric.labels:
            labels = {**labels, CODE.name: self._bounded(metric, labels[CODE.name])}
        return made.labels(**labels)

    def _bounded(self, metric: Metric, code: str) -> str:
        seen = self._codes[metric.name]
        if code not in seen:
            if len(seen) >= MAX_CODES:
                return OTHER
            seen.add(code)
        return code


def _made(metric: Metric, registry: CollectorRegistry) -> Any:
    common = {"name": metric.name, "documentation": metric.text, "registry": registry}
    made: Any
    if metric.kind is Kind.HISTOGRAM:
        made = Histogram(**common, labelnames=metric.label_names, buckets=metric.buckets)  # type: ignore[arg-type]
    else:
        kind = Counter if metric.kind is Kind.COUNTER else Gauge
        made = kind(**common, labelnames=metric.label_names)  # type: ignore[arg-type]
    closed = [label.values for label in metric.labels]
    if metric.kind is Kind.COUNTER and closed and all(closed):
        # A rate needs a first value: what has not happened yet is 0, not absent.
        for values in itertools.islice(itertools.product(*closed), _MAX_PRESET):
            made.labels(*values)
    return made


class _Handler(WSGIRequestHandler):
    timeout = SILENCE_S

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Scrapes are no news."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], family: socket.AddressFamily) -> None:
        self.address_family = family
        self._slots = threading.BoundedSemaphore(MAX_SCRAPES)
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # Not the base class's: it asks the name service who we are.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        del request, client_address
        return self._slots.acquire(blocking=False)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news either."""


def parse_address(text: str) -> tuple[str, int]:
    """`HOST:PORT`, `[IPv6]:PORT`, or a port alone, which is on loopback.

    Raises:
        ConfigError: `metrics.address`.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if colon else LOOPBACK
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= _MAX_PORT):  # noqa: PLR2004
        raise ConfigError(
            f"{text!r} is no address to serve metrics at",
            code="metrics.address",
            hint="want HOST:PORT, or a port on loopback; 0 is any free one",
        )
    return host or LOOPBACK, int(port)


@contextlib.contextmanager
def serving(address: str, registry: CollectorRegistry) -> Iterator[str]:
    """Serve a registry's page until the block ends; its URL.

    Raises:
        ConfigError: `metrics.address`, `metrics.port_in_use`.
    """
    host, port = parse_address(address)
    try:
        family, _, _, _, bound = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        server = _Server((str(bound[0]), port), family)
    except (OSError, UnicodeError) as error:
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        raise ConfigError(
            f"cannot serve metrics at {address}: {error}",
            code="metrics.port_in_use" if taken else "metrics.address",
            hint="stop what uses the port, or choose another" if taken else None,
        ) from error
    server.set_app(make_wsgi_app(registry))
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    shown = f"[{server.server_name}]" if ":" in server.server_name else server.server_name
    try:
        yield f"http://{shown}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
