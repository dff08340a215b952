"""A job that may connect to one destination: from the command to a result that came from there."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from atoll_agent.sandbox.wall import bubblewrap
from support.command import Stack

pytestmark = pytest.mark.skipif(bubblewrap.missing() is not None, reason=str(bubblewrap.missing()))

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


class _Greets(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"from outside")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Nothing."""


@pytest.fixture(scope="module")
def place() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Greets) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, place: str) -> Iterator[Stack]:
    made = Stack(tmp_path_factory.mktemp("egress"), egress=(place, "*.example.org:443"))
    made.start()
    yield made
    made.stop()


def test_a_job_reaches_where_its_manifest_and_its_host_say(
    stack: Stack, place: str, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    listed = ("--destination", place)
    asked = ("--arg", place, "--arg", "www.example.org:443")
    said = stack.run(script, "--kind", "python", *listed, *asked, "--out", tmp_path / "out")
    assert said.status == 0, said
    found = (tmp_path / "out" / "results" / "found").read_text()
    assert found == "from outside\nTunnel connection failed: 403 Forbidden"
    shown = stack.atoll("hosts", "show", "local", "--json").document()["host"]
    assert shown["egress"] == [place, "*.example.org:443"]


def test_what_no_host_lets_out_is_refused_by_name(stack: Stack, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    said = stack.run(script, "--kind", "python", "--destination", "example.com:443")
    assert said.status == 1
    error = said.document()["error"]
    assert error["code"] == "network.refused"
    assert "example.com:443" in error["message"]
