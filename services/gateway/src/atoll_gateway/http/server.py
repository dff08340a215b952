"""uvicorn, started and stopped by the program that owns the loop and the signals."""

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Final, Self

import uvicorn
from starlette.applications import Starlette

from atoll.errors import ConfigError

_log = logging.getLogger(__name__)

GRACE_S: Final = 5.0
MAX_CONNECTIONS: Final = 1000
_BACKLOG: Final = 256
_MAX_PORT: Final = 65_535


class HttpServer:
    """Serves between `__aenter__` and `__aexit__`.

    Leaving ends event streams at once, gives other requests `grace_s` seconds, and then
    breaks whatever connection is left.

    Args:
        port: 0 lets the system choose; `port` says which after entering.

    Raises (on entering):
        ConfigError: `http.port_in_use` or `http.address`.
    """

    def __init__(self, host: str, port: int, app: Starlette, *, grace_s: float = GRACE_S) -> None:
        self._host = host
        self._wanted = port
        self._app = app
        self._grace_s = grace_s
        self._stack = contextlib.AsyncExitStack()
        self.port = 0

    @property
    def url(self) -> str:
        """Where it listens, for a client on this machine."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    async def __aenter__(self) -> Self:
        listener = bind(self._host, self._wanted)
        self.port = int(listener.getsockname()[1])
        await self._stack.enter_async_context(self._serve(listener))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    @contextlib.asynccontextmanager
    async def _serve(self, listener: socket.socket) -> AsyncIterator[None]:
        server = _Server(self._config())
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(server.serve([listener]))
            try:
                await server.listening.wait()
                yield
            finally:
                self._app.state.closing.set()
                server.should_exit = True
                # uvicorn keeps the deadline itself; a little more is for its own steps.
                await asyncio.wait([serving], timeout=self._grace_s + 1.0)
                server.break_connections()
                listener.close()

    def _config(self) -> uvicorn.Config:
        return uvicorn.Config(
            self._app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
            limit_concurrency=MAX_CONNECTIONS,
            # uvicorn takes whole seconds here.
            timeout_graceful_shutdown=max(1, round(self._grace_s)),
        )


def bind(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        ConfigError: `http.port_in_use`, `http.address`.
    """
    if not 0 <= port <= _MAX_PORT:
        # getaddrinfo would take it modulo 65536.
        raise ConfigError(f"port {port} is not within 0..{_MAX_PORT}", code="http.address")
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, proto)
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error}", code="http.address"
        ) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
        listener.setblocking(False)  # noqa: FBT003
    except OSError as error:
        listener.close()
        taken = error.errno == errno.EADDRINUSE
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error}",
            code="http.port_in_use" if taken else "http.address",
            hint="stop what uses the port, or choose another" if taken else None,
        ) from error
    return listener


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, and with an event for "it listens"."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    def break_connections(self) -> None:
        """Cut what outlived the grace period."""
        for connection in list(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()
        left = len(self.server_state.connections)
        if left:
            _log.warning("cut %d connections that did not end in time", left)
