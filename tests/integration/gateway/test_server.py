"""The HTTP server starts once it listens and stops in time, whoever hangs on."""

import asyncio
import contextlib
import socket

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from atoll.errors import ConfigError
from atoll_gateway.http.server import HttpServer


def make_app(started: asyncio.Event | None = None) -> Starlette:
    async def hello(request: Request) -> Response:
        return PlainTextResponse("hello")

    async def hang(request: Request) -> Response:
        if started is not None:
            started.set()
        await asyncio.Event().wait()
        return PlainTextResponse("never")

    app = Starlette(routes=[Route("/", hello), Route("/hang", hang)])
    app.state.closing = asyncio.Event()
    return app


async def get(port: int, path: str = "/") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    try:
        return await reader.read()
    finally:
        writer.close()


async def test_listens_on_a_free_port_as_soon_as_it_is_entered() -> None:
    async with HttpServer("127.0.0.1", 0, make_app()) as server:
        assert server.url == f"http://127.0.0.1:{server.port}"
        assert (await get(server.port)).endswith(b"hello")


async def test_nobody_listens_after_it_was_left() -> None:
    async with HttpServer("127.0.0.1", 0, make_app()) as server:
        port = server.port
    with pytest.raises(ConnectionRefusedError):
        await get(port)


async def test_the_same_port_can_be_used_again_at_once() -> None:
    async with HttpServer("127.0.0.1", 0, make_app()) as server:
        port = server.port
        await get(port)
    async with HttpServer("127.0.0.1", port, make_app()) as server:
        assert (await get(port)).endswith(b"hello")


async def test_says_that_the_port_is_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=str(port)) as caught:
            await HttpServer("127.0.0.1", port, make_app()).__aenter__()
    assert caught.value.code == "http.port_in_use"


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 70000), ("no such host", 0), ("", -1)])
async def test_says_that_an_address_is_none(host: str, port: int) -> None:
    with pytest.raises(ConfigError) as caught:
        await HttpServer(host, port, make_app()).__aenter__()
    assert caught.value.code == "http.address"


async def test_a_request_that_never_ends_does_not_keep_it_from_stopping() -> None:
    started = asyncio.Event()
    async with (
        asyncio.timeout(10),
        asyncio.TaskGroup() as tasks,
        HttpServer("127.0.0.1", 0, make_app(started), grace_s=1.0) as server,
    ):
        hanging = tasks.create_task(_ignored(server.port))
        await started.wait()
    assert hanging.done()


async def _ignored(port: int) -> None:
    with contextlib.suppress(ConnectionError):
        await get(port, "/hang")


async def test_an_error_in_the_body_still_stops_it() -> None:
    server = HttpServer("127.0.0.1", 0, make_app())

    async def body() -> None:
        async with server:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await body()
    with pytest.raises(ConnectionRefusedError):
        await get(server.port)
