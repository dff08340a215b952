"""What stands before every operation: the gate; and behind it: the one error shape."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from atoll.errors import AtollError, InputError, NotFoundError
from atoll_gateway.http import faults
from atoll_gateway.http.gate import Gate

_log = logging.getLogger(__name__)

VISIT: Final = "atoll.visit"
"""Where in the scope the `Visit` is."""

FORBIDDEN: Final = 403
_VERSIONS: Final = ("1.0", "1.1")
_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class Guard:
    """ASGI middleware.

    Args:
        open_paths: paths that need no token.
        new_id: makes the ids by which a request is found in the log and in the audit.
        write_s: how long a client may leave an answer unread before it is cut off.
        served: told of each request that is over: operation, status (0: none was sent), seconds.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        gate: Gate,
        open_paths: Collection[str],
        new_id: Callable[[], str],
        write_s: float,
        served: Callable[[str, int, float], None] = lambda *_: None,
    ) -> None:
        self._app = app
        self._gate = gate
        self._open_paths = frozenset(open_paths)
        self._new_id = new_id
        self._write_s = write_s
        self._served = served

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; no exception but cancellation leaves."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = self._new_id()
        extra = {**_HEADERS, "X-Request-Id": request_id}
        started, status, begun = False, 0, time.perf_counter()

        async def guarded_send(message: Message) -> None:
            nonlocal started, status
            if message["type"] == "http.response.start":
                started, status = True, message["status"]
                MutableHeaders(scope=message).update(extra)
            try:
                async with asyncio.timeout(self._write_s):
                    await send(message)
            except TimeoutError as error:
                # Closing would wait for the client that does not read.
                scope.get("state", {}).get("abort", lambda: None)()
                raise ClientDisconnect from error

        try:
            if scope["http_version"] not in _VERSIONS:
                raise InputError("only HTTP/1.1 and 1.0 are spoken here", code="http.version")
            is_open = scope["path"] in self._open_paths
            with self._gate.visit(scope, request_id=request_id, is_open=is_open) as visit:
                extra.update(visit.allowance.headers())
                scope[VISIT] = visit
                await self._app(scope, receive, guarded_send)
        except Exception as error:  # noqa: BLE001 - the last line: nothing leaks, nothing is lost
            if _is_gone(error):
                _log.debug("client went away: %s %s", scope["method"], scope["path"])
                return
            known = _known(error)
            let_in = scope.get(VISIT)
            if let_in is not None and known is not None and faults.status_of(known) == FORBIDDEN:
                self._gate.note(let_in, known.code)
            self._record(scope, error, known, request_id)
            # Half an answer cannot be taken back: returning now breaks the connection,
            # so that nobody takes the half for the whole.
            if not started:
                await self._answer(scope, receive, guarded_send, known, request_id)
        finally:
            visited = scope.get(VISIT)
            operation = visited.operation if visited is not None else ""
            self._served(operation, status, time.perf_counter() - begun)

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, known: AtollError | None, request_id: str
    ) -> None:
        try:
            await faults.respond(known, request_id)(scope, receive, send)
        except ClientDisconnect:
            _log.debug("client went away: %s %s", scope["method"], scope["path"])

    def _record(
        self, scope: Scope, error: Exception, known: AtollError | None, error_id: str
    ) -> None:
        line = "%s %s failed: %s (error %s)"
        path = scope["path"][:200].encode("unicode_escape").decode()
        if known is None or faults.status_of(known) == faults.INTERNAL:
            _log.error(line, scope["method"], path, type(error).__name__, error_id, exc_info=error)
        else:
            _log.info(line, scope["method"], path, known.code, error_id)


def _is_gone(error: BaseException) -> bool:
    """Whether all that happened is that the client went away."""
    if isinstance(error, BaseExceptionGroup):
        return all(_is_gone(each) for each in error.exceptions)
    return isinstance(error, ClientDisconnect)


def _known(error: Exception) -> AtollError | None:
    """The error as one of ours, or None if nobody meant to raise it."""
    if isinstance(error, AtollError):
        return error
    if isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        return _known(error.exceptions[0])
    if isinstance(error, HTTPException):
        if error.status_code == 404:  # noqa: PLR2004
            return NotFoundError("there is nothing here", code="http.no_route")
        return InputError("not a legal request", code="http.request")
    return None
