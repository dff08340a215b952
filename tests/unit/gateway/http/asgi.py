"""Calls an ASGI application without a server."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message

from support.access import OPERATOR

TOKEN = OPERATOR.text


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool
    """False: the application returned in the middle, so a server breaks the connection."""
    unread: int
    """Pieces of the request body that nobody asked for."""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["code"])


async def call(
    app: ASGIApp,
    method: str,
    target: str,
    *,
    body: Sequence[bytes] = (),
    headers: Sequence[tuple[str, str]] = (),
    token: str | None = TOKEN,
    gone: asyncio.Event | None = None,
    stalls: bool = False,
    leaves: bool = False,
    address: str = "192.0.2.1",
) -> Answer:
    """One request. `stalls`: the body never ends; `leaves`: the client does, in the middle.

    `gone` tells the application that the client went away after its request.
    """
    path, _, query = target.partition("?")
    pending = list(body)
    sent: list[Message] = []
    auth = [("authorization", f"Bearer {token}")] if token is not None else []
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(k.encode(), v.encode("latin-1")) for k, v in (*auth, *headers)],
        "server": ("test", 80),
        "client": (address, 1),
    }

    async def receive() -> Message:
        if pending:
            part = pending.pop(0)
            return {
                "type": "http.request",
                "body": part,
                "more_body": bool(pending) or stalls or leaves,
            }
        if stalls:
            await asyncio.Event().wait()
        if leaves:
            return {"type": "http.disconnect"}
        await (gone or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)
        await asyncio.sleep(0)

    if not pending and not stalls and method in {"POST", "PUT"}:
        pending.append(b"")
    await app(scope, receive, send)
    if not sent:
        return Answer(0, {}, b"", complete=False, unread=len(pending))
    start, *rest = sent
    return Answer(
        status=start["status"],
        headers={k.decode(): v.decode() for k, v in start["headers"]},
        body=b"".join(part.get("body", b"") for part in rest),
        complete=bool(rest) and not rest[-1].get("more_body", False),
        unread=len(pending),
    )
