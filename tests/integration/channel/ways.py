"""A guest's dialer and its host's relay, over each way that there is.

A kernel without vsock has no AF_VSOCK sockets; a socket stands in whose addresses are a CID and
a port, over unix sockets in a folder. What is sent at once, and what asyncio makes of such a
socket, is as it is there.
"""

import asyncio
import os
import socket
import tty
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from atoll.channel import serial, sockets
from atoll.channel.address import Address
from atoll.channel.dialer import ConnectingDialer, Dialer, dialing, multiplexing
from atoll.channel.limits import Limits
from atoll.channel.pumping import Ends
from atoll.channel.relay import Relay, Service
from atoll.channel.session import pair
from atoll.errors import MessageError

GUEST_CID = 7


@dataclass
class Link:
    """Both ends, and why the guest was cut off, if it was."""

    dialer: Dialer
    raw: Callable[[], Any]
    """What a hostile guest writes to: a fresh connection, or the one there is."""
    cut: "asyncio.Future[MessageError]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


Way = Callable[[Path, Mapping[str, Service], Limits | None], AbstractAsyncContextManager[Link]]


@asynccontextmanager
async def _relayed(link: Link, relaying: Any) -> AsyncIterator[Link]:
    async def relay() -> None:
        try:
            await relaying()
        except MessageError as error:
            if not link.cut.done():
                link.cut.set_result(error)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(relay())
        try:
            yield link
        finally:
            task.cancel()


@asynccontextmanager
async def unix(
    folder: Path, services: Mapping[str, Service], limits: Limits | None = None
) -> AsyncIterator[Link]:
    path = folder / "sock"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()
    async with dialing(Address.parse(f"unix:{path}")) as dialer:
        link = Link(dialer, lambda: asyncio.open_unix_connection(path))
        async with _relayed(link, partial(Relay(services, limits).serve, listening)):
            yield link


@asynccontextmanager
async def tcp(
    _: Path, services: Mapping[str, Service], limits: Limits | None = None
) -> AsyncIterator[Link]:
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    async with dialing(Address.parse(f"tcp:127.0.0.1:{port}")) as dialer:
        link = Link(dialer, lambda: asyncio.open_connection("127.0.0.1", port))
        async with _relayed(link, partial(Relay(services, limits).serve, listening)):
            yield link


class StandIn(sockets.PiecewiseSocket):
    """As a socket of AF_VSOCK on the machine with CID `cid`."""

    folder: Path
    cid = 0
    largest = 0

    def bind(self, address: Any) -> None:
        cid, port = address
        assert cid == socket.VMADDR_CID_ANY
        super().bind(f"{self.folder}/{port}")

    def connect(self, address: Any) -> None:
        cid, port = address
        assert cid == sockets.HOST_CID
        super().bind(f"{self.folder}/{self.cid}.{os.urandom(4).hex()}")
        super().connect(f"{self.folder}/{port}")

    def accept(self) -> Any:
        connection, address = super().accept()
        made = PeerSocket(fileno=connection.detach())
        made.peer = (int(Path(address).name.partition(".")[0]), 1024)
        return made, made.peer


class PeerSocket(StandIn):
    """One that was accepted, with the address of who came."""

    peer = (0, 0)

    def getpeername(self) -> Any:
        return self.peer


def stand_in(folder: Path, cid: int) -> sockets.MakeSocket:
    def make() -> socket.socket:
        made = StandIn(socket.AF_UNIX, socket.SOCK_STREAM)
        made.folder, made.cid = folder, cid
        return made

    return make


@asynccontextmanager
async def vsock(
    folder: Path, services: Mapping[str, Service], limits: Limits | None = None
) -> AsyncIterator[Link]:
    listening = sockets.listen_vsock(4000, make=stand_in(folder, sockets.HOST_CID))

    def connect() -> Any:
        return sockets.connect_vsock(4000, make=stand_in(folder, GUEST_CID))

    link = Link(ConnectingDialer(connect, "vsock:4000"), connect)
    async with _relayed(link, partial(Relay(services, limits, peer=GUEST_CID).serve, listening)):
        yield link


@asynccontextmanager
async def stream(
    _: Path, services: Mapping[str, Service], limits: Limits | None = None
) -> AsyncIterator[Link]:
    """One stream for all, as a serial port's is that QEMU gives out as a socket."""
    guest, host = await pair()
    async with multiplexing(guest) as dialer:
        link = Link(dialer, lambda: _same(guest))
        async with _relayed(link, partial(Relay(services, limits).carry, host)):
            yield link


@asynccontextmanager
async def port(
    folder: Path, services: Mapping[str, Service], limits: Limits | None = None
) -> AsyncIterator[Link]:
    """A character device found by its name: a terminal in raw mode, with its other end."""
    host_end, guest_end = os.openpty()
    tty.setraw(guest_end)
    (folder / "sysfs" / "vport0p1").mkdir(parents=True)
    (folder / "sysfs" / "vport0p1" / "name").write_text("atoll.channel\n")
    (folder / "vport0p1").symlink_to(os.ttyname(guest_end))
    device = serial.find("atoll.channel", sysfs=folder / "sysfs", devices=folder)
    guest = await serial.connect(device)
    host = await serial.attach(host_end)
    os.close(guest_end)
    async with multiplexing(guest) as dialer:
        link = Link(dialer, lambda: _same(guest))
        async with _relayed(link, partial(Relay(services, limits).carry, host)):
            yield link


async def _same(ends: Ends) -> Ends:
    return ends


WAYS: dict[str, Way] = {"unix": unix, "tcp": tcp, "vsock": vsock, "stream": stream, "port": port}
MULTIPLEXED = ("stream", "port")
