"""A workload's way out, tried from inside the real wall: where its manifest says, and only so."""

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from atoll.egress.outward import Outward
from atoll.egress.words import SERVICE
from atoll.errors import ConfigError
from atoll.wire.egress import Allowance
from atoll_agent.egress.proxy import Proxy
from atoll_agent.egress.way import ByChannel, Direct, Way
from atoll_agent.sandbox.limits import Limits
from atoll_agent.sandbox.wall import native
from atoll_agent.sandbox.wall.bubblewrap import require_wall
from integration.agent_sandbox.rig import Ran
from integration.agent_sandbox.walled import guests, needs_wall, walled
from integration.channel import ways

pytestmark = needs_wall

GREETING = b"hello from outside"
FETCH = b"""
import http.client, json, os, sys, urllib.parse
proxy = urllib.parse.urlsplit(os.environ["https_proxy"])
assert all(os.environ[name.upper()] == os.environ[name] for name in ("https_proxy", "all_proxy"))
for place in sys.argv[1:]:
    host, _, port = place.rpartition(":")
    connection = http.client.HTTPConnection(proxy.hostname, proxy.port, timeout=20)
    connection.set_tunnel(host, int(port))
    try:
        connection.request("GET", "/")
        print(json.dumps(connection.getresponse().read().decode()))
    except OSError as error:
        print(json.dumps(str(error)))
    connection.close()
"""
RAW = b"""
import socket, sys
found = socket.create_connection(("127.0.0.1", 3128), timeout=20)
found.sendall(sys.argv[1].encode().decode("unicode_escape").encode("latin-1"))
found.shutdown(socket.SHUT_WR)
while piece := found.recv(65536):
    sys.stdout.buffer.write(piece)
"""
TRIES = b"""
import errno, json, os, socket, sys

def said(attempt):
    try:
        attempt()
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
    return "OK"

def connect(place):
    host, _, port = place.rpartition(":")
    socket.create_connection((host, int(port)), timeout=3).close()

kinds = {
    "tcp": (socket.AF_INET, socket.SOCK_STREAM, 0),
    "udp": (socket.AF_INET, socket.SOCK_DGRAM, 0),
    "raw": (socket.AF_INET, socket.SOCK_RAW, 1),
    "mptcp": (socket.AF_INET, socket.SOCK_STREAM, 262),
    "tcp6": (socket.AF_INET6, socket.SOCK_STREAM, 0),
    "netlink": (socket.AF_NETLINK, socket.SOCK_RAW, 0),
    "packet": (socket.AF_PACKET, socket.SOCK_RAW, 0),
    "vsock": (socket.AF_VSOCK, socket.SOCK_STREAM, 0),
    "unix": (socket.AF_UNIX, socket.SOCK_STREAM, 0),
}
found = {name: said(lambda: socket.socket(*kind).close()) for name, kind in kinds.items()}

def option(level, name, value):
    with socket.socket(socket.AF_INET) as made:
        made.setsockopt(level, name, value)

found["nodelay"] = said(lambda: option(6, 1, 1))
found["ulp"] = said(lambda: option(6, 31, b"tls"))
found["ip"] = said(lambda: option(0, 1, 16))
found["connect"] = {place: said(lambda: connect(place)) for place in sys.argv[1:]}
found["interfaces"] = sorted(
    line.split(":")[0].strip() for line in open("/proc/net/dev").read().splitlines()[2:]
)
found["environment"] = sorted(name for name in os.environ if "proxy" in name.lower())
print(json.dumps(found))
"""


@asynccontextmanager
async def server(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] | None = None,
) -> AsyncIterator[str]:
    """`host:port` of a server of this test's."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(GREETING)}\r\n\r\n"
        writer.write(head.encode() + GREETING)
        await writer.drain()
        writer.close()

    made = await asyncio.start_server(answer or greet, "127.0.0.1", 0)
    async with made:
        yield f"127.0.0.1:{made.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def direct(_: Path, outward: Outward) -> AsyncIterator[Way]:
    yield Direct(outward)


@asynccontextmanager
async def channel(folder: Path, outward: Outward) -> AsyncIterator[Way]:
    async with ways.stream(folder, {SERVICE: outward.serve}, None) as link:
        yield ByChannel(link.dialer.open)
        assert not link.cut.done()


@asynccontextmanager
async def connections(folder: Path, outward: Outward) -> AsyncIterator[Way]:
    async with ways.unix(folder, {SERVICE: outward.serve}, None) as link:
        yield ByChannel(link.dialer.open)
        assert not link.cut.done()


Out = Callable[[Path, Outward], AbstractAsyncContextManager[Way]]


@pytest.fixture(params=[direct, channel, connections], ids=lambda it: it.__name__)
def out(request: pytest.FixtureRequest) -> Out:
    return request.param  # type: ignore[no-any-return]


async def run(script: bytes, *args: str, listed: tuple[str, ...], way: Way) -> Ran:
    done = await walled(
        script,
        *args,
        prepare=native.python,
        egress=Proxy(listed, way),
        limits=Limits(wall_s=60),
    )
    assert done.outcome.succeeded, done
    return done


def lines(done: Ran) -> list[Any]:
    return [json.loads(line) for line in done.stdout.splitlines()]


async def test_a_listed_destination_is_reached_and_no_other(out: Out, tmp_path: Path) -> None:
    async with server() as here, server() as elsewhere, server() as closed:
        host = Outward(Allowance((here, elsewhere)))
        async with out(tmp_path, host) as way:
            listed = (here, closed, "localhost:1")
            done = await run(FETCH, here, elsewhere, closed, here, listed=listed, way=way)
    first, other, refused, again = lines(done)
    assert first == again == GREETING.decode()
    # One the manifest does not list, one the host does not let out.
    assert other == "Tunnel connection failed: 403 Forbidden"
    assert refused == "Tunnel connection failed: 403 Forbidden"


async def test_the_host_says_no_with_its_code(out: Out, tmp_path: Path) -> None:
    async with out(tmp_path, Outward(Allowance())) as way:
        request = r"CONNECT Example.ORG:443 HTTP/1.1\r\n\r\n"
        done = await run(RAW, request, listed=("example.org:443",), way=way)
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert body == b"network.refused: this host lets nothing out to example.org:443\n"


async def test_a_name_that_leads_inside_is_refused(out: Out, tmp_path: Path) -> None:
    async def resolving(host: str, port: int) -> list[str]:
        return {"inside.example": ["127.0.0.1"], "mixed.example": ["93.184.215.14", "10.0.0.1"]}[
            host
        ]

    places = ("inside.example:80", "mixed.example:80")
    async with out(tmp_path, Outward(Allowance(places), resolving)) as way:
        done = await run(FETCH, *places, listed=places, way=way)
    assert lines(done) == ["Tunnel connection failed: 403 Forbidden"] * 2


async def test_a_destination_that_does_not_answer(out: Out, tmp_path: Path) -> None:
    async with server() as gone:
        pass
    async with out(tmp_path, Outward(Allowance((gone,)))) as way:
        done = await run(FETCH, gone, listed=(gone,), way=way)
    assert lines(done) == ["Tunnel connection failed: 502 Bad Gateway"]


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (r"GET http://example.org/ HTTP/1.1\r\n\r\n", 405, "egress.method"),
        (r"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 400, "egress.request"),
        (r"nonsense\r\n\r\n", 400, "egress.request"),
        (r"\x16\x03\x01\x02", 400, "egress.request"),
    ],
)
async def test_what_is_no_connect_is_answered(request_: str, status: int, code: str) -> None:
    way = Direct(Outward(Allowance()))
    done = await run(RAW, request_, listed=("example.org:443",), way=way)
    assert done.stdout.startswith(f"HTTP/1.1 {status} ".encode()), done
    assert done.stdout.rpartition(b"\r\n\r\n")[2].startswith(f"{code}: ".encode())


async def test_there_is_nothing_but_the_proxy(tmp_path: Path) -> None:
    async with server() as here:
        way = Direct(Outward(Allowance((here,))))
        places = ("127.0.0.1:3128", here, "10.0.0.1:80", "93.184.215.14:443", "example.org:80")
        (found,) = lines(await run(TRIES, *places, listed=(here,), way=way))
    reached = {place: said == "OK" for place, said in found["connect"].items()}
    assert reached == {place: place == "127.0.0.1:3128" for place in places}
    assert found["interfaces"] == ["lo"]
    assert found["tcp"] == found["unix"] == found["nodelay"] == "OK"
    refused = {"udp": "EPROTONOSUPPORT", "raw": "EPROTONOSUPPORT", "mptcp": "EPROTONOSUPPORT"}
    refused |= dict.fromkeys(("tcp6", "netlink", "packet", "vsock"), "EAFNOSUPPORT")
    refused |= dict.fromkeys(("ulp", "ip"), "ENOPROTOOPT")
    assert {name: found[name] for name in refused} == refused


async def test_without_a_network_there_is_neither_proxy_nor_socket() -> None:
    async with server() as here:
        done = await walled(TRIES, "127.0.0.1:3128", here, prepare=native.python)
    (found,) = lines(done)
    assert set(found["connect"].values()) == {"EAFNOSUPPORT"}
    assert found["tcp"] == found["udp"] == "EAFNOSUPPORT"
    assert found["environment"] == []
    assert found["interfaces"] == ["lo"]


async def test_all_connections_end_with_the_workload(out: Out, tmp_path: Path) -> None:
    """Also when its last process leaves one open, and the other side waits for more."""
    over = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(1024):
                pass
        finally:
            writer.close()
            over.set()

    script = RAW.replace(b"found.shutdown", b"print(found.recv(100)); sys.exit()")
    async with server(wait) as here, out(tmp_path, Outward(Allowance((here,)))) as way:
        done = await run(script, rf"CONNECT {here} HTTP/1.1\r\n\r\nmore", listed=(here,), way=way)
        assert b"200 Connection established" in done.stdout
        async with asyncio.timeout(10):
            await over.wait()


async def test_nothing_of_ours_is_inside_the_wall() -> None:
    script = b"""
import os
found = [pid for pid in os.listdir("/proc") if pid.isdigit() and pid not in ("1", str(os.getpid()))]
print(found, sorted(os.listdir("/")), sorted(os.listdir("/proc/self/fd")))
"""
    way = Direct(Outward(Allowance()))
    without = await walled(script, prepare=native.python)
    having = await run(script, listed=("example.org:443",), way=way)
    assert having.stdout == without.stdout
    assert having.stdout.startswith(b"[] ")


async def test_a_flood_of_connections_is_held_back(out: Out, tmp_path: Path) -> None:
    """More than may be at once or be begun in a row wait, and the host does not cut us off."""
    script = b"""
import json, socket, sys, threading
host, _, port = sys.argv[1].rpartition(":")
answers = []
def one():
    found = socket.create_connection(("127.0.0.1", 3128), timeout=50)
    found.sendall(f"CONNECT {sys.argv[1]} HTTP/1.1\\r\\n\\r\\nGET / HTTP/1.1\\r\\n\\r\\n".encode())
    raw = b""
    while piece := found.recv(1000):
        raw += piece
    answers.append(raw)
for _ in range(2):
    many = [threading.Thread(target=one) for _ in range(30)]
    for each in many: each.start()
    for each in many: each.join()
bodies = {raw.decode().rpartition("\\r\\n\\r\\n")[2] for raw in answers}
print(json.dumps(sorted(bodies)), len(answers))
"""
    async with server() as here, out(tmp_path, Outward(Allowance((here,)))) as way:
        done = await run(script, here, listed=(here,), way=way)
    assert done.stdout.split(b"] ")[1].strip() == b"60"
    assert done.stdout.startswith(json.dumps([GREETING.decode()]).encode())


async def test_the_host_may_cut_the_channel(tmp_path: Path) -> None:
    """The workload sees an answer of its proxy, not silence."""

    async def rude(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"maybe\n")

    async with ways.stream(tmp_path, {SERVICE: rude}, None) as link:
        way = ByChannel(link.dialer.open)
        done = await run(FETCH, "a.example:1", listed=("a.example:1",), way=way)
    assert lines(done) == ["Tunnel connection failed: 502 Bad Gateway"]


async def test_a_host_without_the_service_lets_nothing_out(tmp_path: Path) -> None:
    async with ways.stream(tmp_path, {}, None) as link:
        way = ByChannel(link.dialer.open)
        done = await run(FETCH, "a.example:1", listed=("a.example:1",), way=way)
    assert lines(done) == ["Tunnel connection failed: 403 Forbidden"]


async def test_an_agent_whose_guests_are_its_own_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that is not root: the wall's owner is the agent, and no user is changed."""
    wall = dataclasses.replace(require_wall(), drop_to=None)
    monkeypatch.setattr("integration.agent_sandbox.walled.require_wall", lambda: wall)
    async with server() as here:
        done = await run(FETCH, here, listed=(here,), way=Direct(Outward(Allowance((here,)))))
    assert lines(done) == [GREETING.decode()]


async def test_a_guest_whose_way_cannot_be_opened_does_not_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("atoll_agent.sandbox.wall.loopback.MODULE", "atoll_agent.no_such_module")
    with pytest.raises(ConfigError) as caught:
        await run(FETCH, listed=("a.example:1",), way=Direct(Outward(Allowance())))
    assert caught.value.code == "sandbox.unavailable"
    assert guests() == []
