"""Everything that crosses a TCP port, recorded: a proxy in front of a server.

async with Wiretap(host, port) as tap:
    ... point clients at 127.0.0.1:tap.port ...
tap.streams   the bytes of each connection and direction, in order
"""

import asyncio
import contextlib
from types import TracebackType
from typing import Self

PIECE = 1 << 16


class Wiretap:
    """A recording proxy on a free port, from `__aenter__` to its end."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self.streams: list[bytearray] = []

    @property
    def port(self) -> int:
        """Where to connect instead."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def size(self) -> int:
        """Bytes seen so far."""
        return sum(map(len, self.streams))

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, far_writer))
                group.create_task(self._pump(far_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen = bytearray()
        self.streams.append(seen)
        with contextlib.suppress(OSError):
            while piece := await reader.read(PIECE):
                seen += piece
                writer.write(piece)
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()
            await writer.wait_closed()
