"""Responses that are not JSON: events, and the bytes of an object."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from atoll.wire import cloudevents
from atoll.wire.messages import JobEvent
from atoll_gateway.http.ports import Told

HEARTBEAT_S: Final = 15.0
SSE: Final = "text/event-stream"


class EventStream(Response):
    """Server-sent events (WHATWG HTML, section 9.2): id is the event's number, event is what
    happened, data is the event in CloudEvents' JSON format.

    It ends when `events` ends, with `until_terminal` after a terminal event, when the client
    goes away, when `closing` is set, or when `ended` returns; a client that reconnects with
    `Last-Event-ID` misses nothing. Events up to `after` are left out, and none is sent twice.
    """

    def __init__(
        self,
        events: AsyncGenerator[Told, None],
        *,
        after: int,
        closing: asyncio.Event,
        ended: Callable[[], Awaitable[object]],
        until_terminal: bool = True,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        super().__init__(media_type=SSE)
        del self.headers["content-length"]
        self._events = events
        self._after = after
        self._closing = closing
        self._ended = ended
        self._until_terminal = until_terminal
        self._heartbeat_s = heartbeat_s
        self._sending = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until one of the ends above."""
        del scope
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        async with asyncio.TaskGroup() as tasks:
            # Whichever ends first ends the others.
            work = [
                tasks.create_task(self._pump(send)),
                tasks.create_task(self._beat(send)),
                tasks.create_task(_gone(receive)),
                tasks.create_task(self._wait_closing()),
                tasks.create_task(self._wait_ended()),
            ]
            await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            for task in work:
                task.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pump(self, send: Send) -> None:
        last = self._after
        async with aclosing(self._events) as events:
            async for told in events:
                if told.number > last:
                    await self._send(send, render_event(told))
                    last = told.number
                if self._until_terminal and is_terminal(told):
                    return

    async def _beat(self, send: Send) -> None:
        # At once as well: a proxy then passes on the headers, and the client knows it is in.
        while True:
            await self._send(send, b": heartbeat\n\n")
            await asyncio.sleep(self._heartbeat_s)

    async def _send(self, send: Send, body: bytes) -> None:
        async with self._sending:
            await send({"type": "http.response.body", "body": body, "more_body": True})

    async def _wait_closing(self) -> None:
        await self._closing.wait()

    async def _wait_ended(self) -> None:
        await self._ended()


def render_event(told: Told) -> bytes:
    """One event; JSON without line breaks, so one `data` line is enough."""
    event = told.event
    kind = event.type if isinstance(event, JobEvent) else event.outcome
    data = cloudevents.structured_bytes(event, told.traceparent, place=told.place)
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (told.number, kind.value.encode(), data)


def is_terminal(told: Told) -> bool:
    """Whether the job of this event has no further ones."""
    return isinstance(told.event, JobEvent) and told.event.state.terminal


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class ObjectStream(Response):
    """The bytes of an object, at the pace of the client; at most one chunk is held.

    If the source fails in the middle, the connection breaks: the length was announced.
    """

    def __init__(self, size: int, sha256: str, chunks: AsyncIterator[bytes] | None) -> None:
        super().__init__(media_type="application/octet-stream")
        self.headers["content-length"] = str(size)
        self.headers["etag"] = f'"{sha256}"'
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the headers and, if there are chunks, all of them."""
        del scope, receive
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        if self._chunks is not None:
            try:
                async for chunk in self._chunks:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            finally:
                await _close(self._chunks)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _close(chunks: AsyncIterator[bytes]) -> None:
    if isinstance(chunks, AsyncGenerator):
        await chunks.aclose()
