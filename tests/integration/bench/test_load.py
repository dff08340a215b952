"""The load generator against a real bus, and against a socket that stutters."""

import asyncio
import socket
import threading
from pathlib import Path

import pytest
from bench.load import Load, LoadClient
from bench.report import BenchError

from atoll.bus import BusConfig, Endpoint, Service, connect
from support.nats import bus_config, running

SUBJECT = "bench.echo"


async def echo(payload: bytes, _headers: object) -> bytes:
    return payload[::-1]


async def test_answers_come_back_in_the_order_of_the_requests(tmp_path: Path) -> None:
    requests = [b"request %d " % number * (number + 1) for number in range(50)]
    async with running(tmp_path) as server:
        config = bus_config(server)
        endpoint = Endpoint(name="echo", subject=SUBJECT, handler=echo)
        async with (
            connect(config) as bus,
            Service(bus, name="echo", version="1.0.0", description="", endpoints=[endpoint]),
        ):
            load = await asyncio.to_thread(_ask, config, requests)
    assert load.replies == tuple(request[::-1] for request in requests)
    assert all(0 < latency <= load.seconds for latency in load.latencies)


async def test_a_request_that_nobody_answers_is_an_error(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        with pytest.raises(BenchError, match="503"):
            await asyncio.to_thread(_ask, bus_config(server), [b"anybody"])


def test_answers_may_arrive_in_any_pieces() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_stutter, args=(listening,), daemon=True)
        thread.start()
        load = _ask(_config(listening), [b"a", b"b"])
        thread.join()
    assert load.replies == (b"first\r\nMSG", b"")


def test_a_connection_that_ends_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_hang_up, args=(listening,), daemon=True)
        thread.start()
        with pytest.raises(BenchError, match=r"closed|does not answer"):
            _ask(_config(listening), [b"a"])
        thread.join()


def _ask(config: BusConfig, requests: list[bytes]) -> Load:
    with LoadClient(config) as client:
        return client.ask(SUBJECT, requests, flying=8)


def _config(listening: socket.socket) -> BusConfig:
    port = listening.getsockname()[1]
    return BusConfig(
        url=f"nats://127.0.0.1:{port}", name="bench", user="u", password="p", inbox_prefix="_I"
    )


def _stutter(listening: socket.socket) -> None:
    """Answer both requests byte by byte, and in between ask whether anybody is there."""
    peer, _ = listening.accept()
    with peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.sendall(b'INFO {"nonce":"n"}\r\n')
        seen = b""
        while seen.count(b"\r\n") < 6:
            seen += peer.recv(4096)
        inbox = seen.partition(b"SUB ")[2].partition(b".*")[0]
        answer = b"INFO {}\r\nMSG %b.1 1 0\r\n\r\nPING\r\nMSG %b.0 1 10\r\nfirst\r\nMSG\r\n"
        for byte in answer % (inbox, inbox):
            peer.sendall(bytes([byte]))
        assert peer.recv(4096) == b"PONG\r\n"


def _hang_up(listening: socket.socket) -> None:
    peer, _ = listening.accept()
    with peer:
        peer.sendall(b'INFO {"nonce":"n"}\r\n')
        seen = b""
        while seen.count(b"\r\n") < 4:
            seen += peer.recv(4096)
