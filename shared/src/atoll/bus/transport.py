"""How nats-py reaches a server that is dialled by somebody else.

Without a network of its own, an enclave gets a byte stream to the bus from its host
(`atoll.channel`). TLS, where the bus has it, is spoken through that stream with the server
itself: the certificate is checked for the host name of the server's URL as ever, so whoever
carries the stream is believed nothing.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import ParseResult

from nats.aio.transport import Transport

Dial = Callable[[str, int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
"""Takes host and port of a server; gives a stream to it. Raises OSError when it cannot."""


class DialedTransport(Transport):
    """One connection at a time; `connect` begins the next one."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._plain: asyncio.StreamWriter | None = None
        """What is under TLS: it must live as long."""

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:  # noqa: ARG002 - the interface's
        async with asyncio.timeout(connect_timeout):
            self._reader, self._writer = await self._dial(uri.hostname or "", uri.port or 0)
        self._plain = self._writer

    async def connect_tls(
        self,
        uri: str | ParseResult,
        ssl_context: ssl.SSLContext,
        buffer_size: int,
        connect_timeout: int,
    ) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(buffer_size)
        protocol = asyncio.StreamReaderProtocol(reader)
        async with asyncio.timeout(connect_timeout):
            transport = await loop.start_tls(
                self._open.transport,
                protocol,
                ssl_context,
                server_hostname=uri if isinstance(uri, str) else uri.hostname,
            )
        if transport is None:
            raise ConnectionResetError("the stream to the bus ended")
        self._writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        self._reader = reader

    def write(self, payload: bytes) -> None:
        self._open.write(payload)

    def writelines(self, payload: list[bytes]) -> None:
        self._open.writelines(payload)

    async def read(self, buffer_size: int) -> bytes:
        return await self._from.read(buffer_size)

    async def readline(self) -> bytes:
        return await self._from.readline()

    async def drain(self) -> None:
        await self._open.drain()

    async def wait_closed(self) -> None:
        if self._writer is not None:
            await self._writer.wait_closed()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def at_eof(self) -> bool:
        return self._reader is None or self._reader.at_eof()

    def abort(self) -> None:
        """Drop it: a peer that reads no more would hold up an orderly end."""
        for writer in (self._writer, self._plain):
            if writer is not None:
                writer.transport.abort()

    def __bool__(self) -> bool:
        # nats-py makes one of its own in the place of one that is false.
        return True

    @property
    def _open(self) -> asyncio.StreamWriter:
        if self._writer is None:
            raise ConnectionResetError("not connected")
        return self._writer

    @property
    def _from(self) -> asyncio.StreamReader:
        if self._reader is None:
            raise ConnectionResetError("not connected")
        return self._reader


def abort(transport: Any) -> None:
    """Drop the connection of nats-py's own transport or of ours."""
    if isinstance(transport, DialedTransport):
        transport.abort()
    elif (writer := getattr(transport, "_io_writer", None)) is not None:
        writer.transport.abort()
