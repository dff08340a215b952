"""uvicorn, started and stopped by the program that owns the loop and the signals."""

import asyncio
import contextlib
import errno
import logging
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final, Self

import uvicorn
from starlette.applications import Starlette

from atoll.errors import ConfigError
from atoll_gateway.http.limits import Limits
from atoll_gateway.http.listener import Listener
from atoll_gateway.http.protocol import MAX_HEAD, Protocol
from atoll_gateway.http.tls import Certificates, require_tls

_log = logging.getLogger(__name__)

GRACE_S: Final = 5.0
_BACKLOG: Final = 256
_MAX_PORT: Final = 65_535


class HttpServer:
    """Serves between `__aenter__` and `__aexit__`.

    Leaving ends event streams at once, gives other requests `grace_s` seconds, and then
    breaks whatever connection is left.

    Args:
        port: 0 lets the system choose; `port` says which after entering.
        certificates: for TLS; without, only a loopback address is listened on.
        insecure: listens without TLS anywhere, and warns.

    Raises (on entering):
        ConfigError: `http.port_in_use`, `http.address` or `http.no_tls`.
    """

    def __init__(
        self,
        host: str,
        port: int,
        app: Starlette,
        *,
        grace_s: float = GRACE_S,
        limits: Limits | None = None,
        certificates: Certificates | None = None,
        insecure: bool = False,
        new_id: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self._host = host
        self._wanted = port
        self._app = app
        self._grace_s = grace_s
        self._limits = limits or Limits()
        self._certificates = certificates
        self._insecure = insecure
        self._new_id = new_id
        self._stack = contextlib.AsyncExitStack()
        self.port = 0

    @property
    def url(self) -> str:
        """Where it listens, for a client on this machine."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        scheme = "http" if self._certificates is None else "https"
        return f"{scheme}://{host}:{self.port}"

    async def __aenter__(self) -> Self:
        listener = bind(self._host, self._wanted)
        address, self.port = listener.getsockname()[:2]
        try:
            tls = self._certificates is not None
            require_tls(str(address), tls=tls, insecure=self._insecure)
        except ConfigError:
            listener.close()
            raise
        await self._stack.enter_async_context(self._serve(listener))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    @contextlib.asynccontextmanager
    async def _serve(self, listening: socket.socket) -> AsyncIterator[None]:
        server = _Server(self._config())

        def make(on_lost: Callable[[], None]) -> Protocol:
            return Protocol(
                server.config,
                server.server_state,
                head_s=self._limits.head_s,
                new_id=self._new_id,
                on_lost=on_lost,
            )

        listener = Listener(listening, make, self._limits, self._certificates, self._new_id)
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(server.serve([]))
            accepting = [tasks.create_task(listener.run())]
            if self._certificates is not None:
                accepting.append(tasks.create_task(self._certificates.follow()))
            try:
                await server.listening.wait()
                yield
            finally:
                for task in accepting:
                    task.cancel()
                await asyncio.wait(accepting)
                listening.close()
                self._app.state.closing.set()
                server.should_exit = True
                # uvicorn keeps the deadline itself; a little more is for its own steps.
                await asyncio.wait([serving], timeout=self._grace_s + 1.0)
                server.break_connections()

    def _config(self) -> uvicorn.Config:
        return uvicorn.Config(
            self._app,
            http=Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=MAX_HEAD,
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
    """uvicorn without its signal handlers and listeners, and with an event for "it serves"."""

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
