"""A place outside that jobs connect to, and a workload that does."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

SCRIPT = """
import http.client, os, sys, urllib.parse
proxy = urllib.parse.urlsplit(os.environ["HTTPS_PROXY"])
def fetch(place):
    host, _, port = place.rpartition(":")
    there = http.client.HTTPConnection(proxy.hostname, proxy.port, timeout=30)
    there.set_tunnel(host, int(port))
    try:
        there.request("GET", "/")
        return there.getresponse().read().decode()
    except OSError as error:
        return str(error)
with open("/results/found", "w") as out:
    out.write("\\n".join(fetch(place) for place in sys.argv[1:]))
"""


"""Asks each of its arguments, HOST:PORT, by way of the proxy; a line of /results/found for each."""


class _Greets(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"from outside")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Nothing."""


@pytest.fixture(scope="module")
def place() -> Iterator[str]:
    """HOST:PORT; says "from outside"."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Greets) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
