"""A webhook's receiving end: remembers what came, and answers what a test wants."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

Answer = Callable[["Received"], bytes]


@dataclass(frozen=True, kw_only=True)
class Received:
    """One POST."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> Any:
        return json.loads(self.body)

    def signed_by(self, secret: str) -> bool:
        """As a receiver checks it (Standard Webhooks)."""
        names = ("webhook-id", "webhook-timestamp")
        content = ".".join(self.headers[name] for name in names).encode() + b"." + self.body
        key = base64.b64decode(secret.removeprefix("whsec_"))
        mac = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
        return self.headers["webhook-signature"] == f"v1,{mac}"


def status(number: int) -> bytes:
    """An answer with this status and nothing else."""
    return f"HTTP/1.1 {number} Said\r\nContent-Length: 0\r\n\r\n".encode()


@dataclass
class Receiver:
    """Listens on a free port of this machine, from `async with` to its end."""

    answer: Answer = lambda _: status(204)
    received: list[Received] = field(default_factory=list)
    silent: bool = False
    """Takes requests and never answers."""
    _server: asyncio.Server | None = None
    _closing: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/hook"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._closing.set()
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            pairs = [line.split(": ", 1) for line in head[1:] if line]
            headers = {name.lower(): value for name, value in pairs}
            body = await reader.readexactly(int(headers["content-length"]))
            one = Received(line=head[0], headers=headers, body=body)
            self.received.append(one)
            if self.silent:
                await self._closing.wait()
            writer.write(self.answer(one))
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
