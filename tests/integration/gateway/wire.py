"""Bytes to a server and back, as no HTTP client would send them."""

import asyncio
import json
import ssl
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Raw:
    """What came back until the server closed the connection."""

    bytes: bytes

    @property
    def status(self) -> int:
        return int(self.bytes.split(b" ", 2)[1]) if self.bytes else 0

    @property
    def json(self) -> Any:
        return json.loads(self.bytes.partition(b"\r\n\r\n")[2])

    @property
    def code(self) -> str:
        return str(self.json["code"])


async def send(port: int, *parts: bytes, tls: ssl.SSLContext | None = None) -> Raw:
    """Send the parts one after another and read to the end."""
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
            return Raw(await reader.read())
        except ConnectionError:
            return Raw(b"")
        finally:
            writer.close()
