"""HTTP/1.1 on one connection: uvicorn's, with a time limit on heads and our error shape.

uvicorn bounds the time between requests and the bytes of a head, not the time that a head takes,
and answers what is no HTTP in plain text.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable
from typing import Final

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

HEADERS_TOO_LARGE: Final = 431
REQUEST_TIMEOUT: Final = 408
BAD_REQUEST: Final = 400
MAX_HEAD: Final = 32 << 10
"""Bytes of the largest head of a request."""

_OPEN_STATES: Final = (h11.IDLE, h11.SEND_RESPONSE)
_ERRORS: Final = {
    BAD_REQUEST: ("http.request", "this is not HTTP/1.1"),
    REQUEST_TIMEOUT: ("http.timeout", "the head of the request came too slowly"),
    HEADERS_TOO_LARGE: ("http.headers_too_large", f"a head is over {MAX_HEAD} bytes"),
}


class Protocol(H11Protocol):
    """One connection.

    Args:
        head_s: how long a client may take for the head of a request.
        new_id: makes ids for answers that no request was read for.
        on_lost: called once, when the connection is gone.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        state: ServerState,
        *,
        head_s: float,
        new_id: Callable[[], str],
        on_lost: Callable[[], None],
    ) -> None:
        # Each request's scope gets a copy of this; the guard cuts off who does not read.
        super().__init__(config, state, {"abort": self.abort})
        self._head_s = head_s
        self._new_id = new_id
        self._on_lost = on_lost
        self._head_timer: asyncio.TimerHandle | None = None

    def abort(self) -> None:
        """Break the connection without waiting for what is unsent."""
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch_head()
        super().connection_lost(exc)
        self._on_lost()

    def data_received(self, data: bytes) -> None:
        if self.conn.their_state is h11.IDLE:
            self._watch_head()
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._unwatch_head()

    def send_400_response(self, msg: str) -> None:
        """What uvicorn calls while it handles bytes that are no request."""
        del msg
        error = sys.exc_info()[1]
        hint = getattr(error, "error_status_hint", BAD_REQUEST)
        self._refuse(HEADERS_TOO_LARGE if hint == HEADERS_TOO_LARGE else BAD_REQUEST)

    def _refuse(self, status: int) -> None:
        if self.transport.is_closing():
            return
        if self.conn.our_state not in _OPEN_STATES:
            # In the middle of an answer there is no place for another.
            self.abort()
            return
        code, message = _ERRORS[status]
        body = json.dumps({"code": code, "message": message, "error_id": self._new_id()}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            (b"connection", b"close"),
        ]
        with contextlib.suppress(h11.LocalProtocolError):
            for event in (
                h11.Response(status_code=status, headers=headers),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _watch_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self._head_s, self._head_is_late)

    def _unwatch_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self.conn.their_state is h11.IDLE:
            self._refuse(REQUEST_TIMEOUT)
