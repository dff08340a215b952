"""Request bodies: bounded before they are read, typed, and strict.

JSON here is RFC 8259 without what makes two readers disagree: no duplicate keys, no
floats, no NaN, no lone surrogates, UTF-8 only.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request

from atoll import canonical
from atoll.errors import InputError

JSON: Final = "application/json"
BYTES: Final = "application/octet-stream"

MIN_RATE: Final = 1024
"""Bytes a second, over the whole body, below which a client only keeps us busy."""

DISCARD_LIMIT: Final = 4 << 20
"""Bytes of a refused body that are still read, so that the client sees the answer and
not a reset connection."""


async def read_json(request: Request, *, limit: int, idle_s: float) -> Any:
    """The plain value of a JSON body.

    Raises:
        InputError: `http.media_type`, `http.too_large`, `http.timeout`, `json.malformed`.
    """
    raw = bytearray()
    async with aclosing(
        read_chunks(request, media_type=JSON, limit=limit, idle_s=idle_s)
    ) as chunks:
        async for chunk in chunks:
            raw += chunk
    return canonical.parse(bytes(raw))


def read_chunks(
    request: Request, *, media_type: str, limit: int, idle_s: float
) -> AsyncGenerator[bytes, None]:
    """The body as it arrives; nothing of it is kept.

    Raises:
        InputError: `http.media_type`, `http.too_large`, `http.timeout`: nothing came
            for `idle_s` seconds, or all of it comes too slowly.
        ClientDisconnect: the client went away in the middle.
    """
    return _Body(request, limit, idle_s).chunks(media_type)


class _Body:
    def __init__(self, request: Request, limit: int, idle_s: float) -> None:
        self._request = request
        self._limit = limit
        self._idle_s = idle_s
        self._more = True
        self._received = 0
        self._waited_s = 0.0

    async def chunks(self, media_type: str) -> AsyncGenerator[bytes, None]:
        try:
            self._require_type(media_type)
            self._require_length()
        except InputError:
            await self._discard()
            raise
        total = 0
        while self._more:
            chunk = await self._next()
            total += len(chunk)
            if total > self._limit:
                await self._discard()
                raise self._too_large(f"more than {self._limit}")
            if chunk:
                yield chunk

    async def _next(self) -> bytes:
        clock = asyncio.get_running_loop().time
        # What has come buys time, at the least rate; a drop now and then does not. Only waiting
        # for the client counts, not what is done here with what it sent.
        allowed_s = min(self._idle_s, self._idle_s + self._received / MIN_RATE - self._waited_s)
        began = clock()
        try:
            async with asyncio.timeout(max(0.0, allowed_s)):
                message = await self._request.receive()
        except TimeoutError as error:
            raise InputError(
                f"the body came too slowly: nothing for {self._idle_s:g} s, or less than "
                f"{MIN_RATE} bytes a second",
                code="http.timeout",
            ) from error
        self._waited_s += clock() - began
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        self._more = bool(message.get("more_body", False))
        raw = bytes(message.get("body", b""))
        self._received += len(raw)
        return raw

    async def _discard(self) -> None:
        # A client that asks first ("Expect: 100-continue") sends nothing unless we read.
        if "expect" in self._request.headers:
            return
        left = DISCARD_LIMIT
        while self._more and left > 0:
            try:
                left -= len(await self._next())
            except InputError:
                return

    def _require_type(self, media_type: str) -> None:
        values = self._request.headers.getlist("content-type")
        found, *parameters = [part.strip().lower() for part in ",".join(values).split(";")]
        charset_ok = all(item in {"charset=utf-8", 'charset="utf-8"'} for item in parameters)
        if found != media_type or (media_type == JSON and not charset_ok):
            raise InputError(
                f"content type is {','.join(values)[:80]!r}, want {media_type}",
                code="http.media_type",
            )

    def _require_length(self) -> None:
        declared = self._request.headers.get("content-length")
        # The server has checked that it is a number.
        if declared is not None and int(declared) > self._limit:
            raise self._too_large(declared)

    def _too_large(self, size: str) -> InputError:
        return InputError(
            f"body is {size} bytes, at most {self._limit} are taken", code="http.too_large"
        )
