"""A key distribution service on this machine that answers what it is told, also badly."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class FakeKds:
    """Paths and what they answer, one after the other; the last answer stays."""

    answers: dict[str, list[Answer]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    base: str = ""

    def next(self, path: str) -> Answer:
        self.asked.append(path)
        answers = self.answers.get(path, [status(404)])
        return answers.pop(0) if len(answers) > 1 else answers[0]


def body(raw: bytes, headers: Mapping[str, str] | None = None) -> Answer:
    """200 with a body."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        for name, value in (headers or {}).items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(raw)))
        request.end_headers()
        request.wfile.write(raw)

    return answer


def status(code: int, **headers: str) -> Answer:
    """Another status, without a body."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(code)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return answer


def cut(raw: bytes) -> Answer:
    """A body that ends before its length."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(raw) + 1))
        request.end_headers()
        request.wfile.write(raw)

    return answer


def raw(text: bytes) -> Answer:
    """Bytes that need not be HTTP."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(text)

    return answer


@contextmanager
def serving() -> Iterator[FakeKds]:
    """A server on a free port; slow answers wait on `release`, which is set at the end."""
    fake = FakeKds()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fake.next(self.path)(self)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that hangs up is what some tests are about."""

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        fake.base = f"http://127.0.0.1:{server.server_port}"
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join()


def dripping(done: threading.Event) -> Answer:
    """A byte now and then, for ever."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        try:
            while not done.wait(0.02):
                request.wfile.write(b".")
        except OSError:
            return

    return answer
