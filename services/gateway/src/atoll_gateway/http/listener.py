"""Takes connections: counted, and with TLS if there are certificates."""

import asyncio
import json
import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from atoll_gateway.http.limits import Limits, Slots, address_key
from atoll_gateway.http.tls import Certificates

if TYPE_CHECKING:
    import ssl

_log = logging.getLogger(__name__)

Factory = Callable[[Callable[[], None]], asyncio.Protocol]
"""Makes a connection's protocol, which calls what it is given when the connection is gone."""

_HANDSHAKE: Final = 0x16
"""The first byte of a TLS record that begins a handshake (RFC 8446, section 5.1)."""
_PAUSE_S: Final = 0.1
_MAX_UNREAD: Final = 64 << 10


class Listener:
    """Accepts connections on one listening socket until cancelled.

    A connection beyond the limits is closed at once. On a port with TLS, a client that speaks
    plain HTTP is told so in plain HTTP, without a look at what it wants.
    """

    def __init__(
        self,
        listening: socket.socket,
        make: Factory,
        limits: Limits,
        certificates: Certificates | None,
        new_id: Callable[[], str],
    ) -> None:
        self._socket = listening
        self._make = make
        self._limits = limits
        self._certificates = certificates
        self._new_id = new_id
        self._all = Slots(limits.connections)
        self._by_address = Slots(limits.connections_per_address)

    async def run(self) -> None:
        """Until cancelled; connections that were made outlive it."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as greeting:
            while True:
                try:
                    client, address = await loop.sock_accept(self._socket)
                except OSError as error:
                    # Out of file descriptors, or gone before it was taken.
                    _log.warning("no connection accepted: %s", error.strerror)
                    await asyncio.sleep(_PAUSE_S)
                    continue
                key = address_key(str(address[0]))
                if self._admit(key):
                    greeting.create_task(self._greet(client, key))
                else:
                    client.close()

    def _admit(self, key: str) -> bool:
        if not self._by_address.take(key):
            return False
        if not self._all.take(""):
            self._by_address.give_back(key)
            return False
        return True

    def _leave(self, key: str) -> None:
        self._all.give_back("")
        self._by_address.give_back(key)

    async def _greet(self, client: socket.socket, key: str) -> None:
        left = False

        def leave() -> None:
            nonlocal left
            if not left:
                left = True
                self._leave(key)

        try:
            client.setblocking(False)  # noqa: FBT003
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.timeout(self._limits.head_s):
                await self._connect(client, leave)
        except (OSError, TimeoutError) as error:
            _log.debug("connection ended before its first request: %s", error)
            client.close()
            leave()
        except BaseException:
            client.close()
            leave()
            raise

    async def _connect(self, client: socket.socket, leave: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        context: ssl.SSLContext | None = None
        if self._certificates is not None:
            first = await _peek(client)
            if first[:1] != bytes([_HANDSHAKE]):
                if first.isalpha():
                    await self._say_no_tls(client)
                client.close()
                leave()
                return
            context = self._certificates.context
        # asyncio takes None for both when there is no TLS.
        limit_s = None if context is None else self._limits.head_s
        await loop.connect_accepted_socket(
            lambda: self._make(leave), client, ssl=context, ssl_handshake_timeout=limit_s
        )

    async def _say_no_tls(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, self._no_tls())
        client.shutdown(socket.SHUT_WR)
        # Closing with bytes unread would reset the connection, and the answer with it.
        left = _MAX_UNREAD
        while left > 0 and (raw := await loop.sock_recv(client, left)):
            left -= len(raw)

    def _no_tls(self) -> bytes:
        body = json.dumps(
            {
                "code": "http.tls_required",
                "message": "this port speaks TLS",
                "hint": "use https://",
                "error_id": self._new_id(),
            }
        ).encode()
        head = (
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        return head.encode() + body


async def _peek(client: socket.socket) -> bytes:
    """The first byte, left where it is; empty: the client went away."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(client, readable.set)
    try:
        await readable.wait()
        return client.recv(1, socket.MSG_PEEK)
    finally:
        loop.remove_reader(client)
