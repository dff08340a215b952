"""What stands before every operation: the token check; and behind it: the one error shape."""

import hashlib
import hmac
import logging
from collections.abc import Callable, Collection
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from atoll.errors import AtollError, InputError, NotFoundError, RefusedError
from atoll_gateway.http import faults

_log = logging.getLogger(__name__)

_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class Guard:
    """ASGI middleware.

    Args:
        token: the bearer token that every caller must show.
        open_paths: paths that need no token.
        new_id: makes the ids by which an answer is found in the log.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str,
        open_paths: Collection[str],
        new_id: Callable[[], str],
    ) -> None:
        self._app = app
        self._token = _digest(token.encode())
        self._open_paths = frozenset(open_paths)
        self._new_id = new_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; no exception but cancellation leaves."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def guarded_send(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        try:
            self._require_token(scope)
            await self._app(scope, receive, guarded_send)
        except ClientDisconnect:
            _log.debug("client went away: %s %s", scope["method"], scope["path"])
        except Exception as error:  # noqa: BLE001 - the last line: nothing leaks, nothing is lost
            known, error_id = _known(error), self._new_id()
            self._record(scope, error, known, error_id)
            # Half an answer cannot be taken back: returning now breaks the connection,
            # so that nobody takes the half for the whole.
            if not started:
                await faults.respond(known, error_id)(scope, receive, guarded_send)

    def _require_token(self, scope: Scope) -> None:
        if scope["path"] in self._open_paths:
            return
        values = Headers(scope=scope).getlist("authorization")
        scheme, _, shown = values[0].partition(" ") if len(values) == 1 else ("", "", "")
        # Digests have one length, so the comparison tells nothing about the token's.
        same = hmac.compare_digest(_digest(shown.strip().encode("latin-1")), self._token)
        if scheme.lower() != "bearer" or not same:
            raise RefusedError(
                "the request carries no valid bearer token",
                code="http.unauthorized",
                hint="send `Authorization: Bearer TOKEN`",
            )

    def _record(
        self, scope: Scope, error: Exception, known: AtollError | None, error_id: str
    ) -> None:
        line = "%s %s failed: %s (error %s)"
        path = scope["path"][:200].encode("unicode_escape").decode()
        if known is None or faults.status_of(known) == faults.INTERNAL:
            _log.error(line, scope["method"], path, type(error).__name__, error_id, exc_info=error)
        else:
            _log.info(line, scope["method"], path, known.code, error_id)


def _digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()


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
