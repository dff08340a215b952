"""The guest's side of a channel: opens streams to the services of the host."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Protocol

from atoll.channel import greeting, serial, sockets
from atoll.channel.address import Address, Kind
from atoll.channel.limits import Limits
from atoll.channel.mux import Mux
from atoll.channel.pumping import Ends
from atoll.channel.session import Session
from atoll.errors import UnreachableError

LIMIT: Final = 64 << 10


class Dialer(Protocol):
    async def open(self, service: str) -> Ends:
        """A stream to a service of the host; at its end at once where there is no such service.

        Raises:
            UnreachableError: `channel.gone`: the host's end is not there.
            MessageError: `channel.service`: no name of a service.
        """
        ...


class ConnectingDialer:
    """A connection for each stream."""

    def __init__(self, connect: Callable[[], Awaitable[Ends]], where: str) -> None:
        self._connect = connect
        self._where = where

    async def open(self, service: str) -> Ends:
        """As `Dialer.open`."""
        line = greeting.encode(service)
        try:
            reader, writer = await self._connect()
        except OSError as error:
            raise UnreachableError(
                f"the host is not at {self._where}: {error.strerror or error}", code="channel.gone"
            ) from error
        writer.write(line)
        return reader, writer


@asynccontextmanager
async def dialing(address: Address) -> AsyncIterator[Dialer]:
    """How to reach the host over this channel.

    Raises:
        UnreachableError: `channel.no_port`.
        MessageError: the host broke the protocol.
    """
    if address.kind is not Kind.SERIAL:
        yield ConnectingDialer(_connect(address), str(address))
        return
    async with multiplexing(await serial.connect(_port(address.place))) as dialer:
        yield dialer


@asynccontextmanager
async def multiplexing(ends: Ends) -> AsyncIterator[Dialer]:
    """All streams over this one, which is closed at the end. Raises: as `dialing`."""
    session = Session(ends, Mux(opens=True, max_streams=Limits().streams))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(session.run())
        await session.ready()
        try:
            yield session
        finally:
            running.cancel()


def _port(name: str) -> Path:
    linked = serial.DEVICES / "virtio-ports" / name
    return linked if linked.exists() else serial.find(name)


def _connect(address: Address) -> Callable[[], Awaitable[Ends]]:
    match address.kind:
        case Kind.UNIX:
            return lambda: asyncio.open_unix_connection(address.place, limit=LIMIT)
        case Kind.VSOCK:
            return lambda: sockets.connect_vsock(address.port)
        case _:
            return lambda: asyncio.open_connection(address.place, address.port, limit=LIMIT)
