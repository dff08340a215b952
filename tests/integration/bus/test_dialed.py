"""A client whose streams somebody else carries: through the host's relay, to a real server."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from atoll.bus import Message, connect
from atoll.bus.transport import Dial
from atoll.channel.address import Address
from atoll.channel.dialer import Dialer, dialing, multiplexing
from atoll.channel.pumping import Ends
from atoll.channel.relay import Relay, connecting
from atoll.channel.session import pair
from atoll.errors import UnreachableError
from atoll_cli.nats_server import EmbeddedNats
from support.nats import bus_config, restart, running
from support.tls import Authority

BIG = 900_000


def bus_of(server: EmbeddedNats) -> Relay:
    port = int(server.url.rpartition(":")[2])
    return Relay({"bus": connecting(lambda: asyncio.open_connection("127.0.0.1", port))})


@asynccontextmanager
async def over_a_socket(server: EmbeddedNats, folder: Path) -> AsyncIterator[Dialer]:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(folder / "sock"))
    listening.listen()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(bus_of(server).serve(listening))
        async with dialing(Address.parse(f"unix:{folder / 'sock'}")) as dialer:
            yield dialer
        task.cancel()


@asynccontextmanager
async def over_one_stream(server: EmbeddedNats, _: Path) -> AsyncIterator[Dialer]:
    guest, host = await pair()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(bus_of(server).carry(host))
        async with multiplexing(guest) as dialer:
            yield dialer
        task.cancel()


Way = Callable[[EmbeddedNats, Path], AbstractAsyncContextManager[Dialer]]
WAYS = pytest.mark.parametrize("way", [over_a_socket, over_one_stream])


def dial(dialer: Dialer, asked: list[tuple[str, int]]) -> Dial:
    async def open_it(host: str, port: int) -> Ends:
        asked.append((host, port))
        return await dialer.open("bus")

    return open_it


@WAYS
async def test_what_is_asked_through_a_relay_is_answered(
    way: Way, nats: EmbeddedNats, tmp_path: Path
) -> None:
    asked: list[tuple[str, int]] = []
    async with (
        way(nats, tmp_path) as dialer,
        connect(bus_config(nats, dial=dial(dialer, asked))) as bus,
        connect(bus_config(nats)) as other,
    ):
        got: asyncio.Queue[int] = asyncio.Queue()

        async def receive(message: Message) -> None:
            got.put_nowait(len(message.payload))

        await bus.subscribe("dialed.in", receive)
        await other.subscribe("dialed.out", receive)
        await other.publish("dialed.in", bytes(BIG))
        assert await got.get() == BIG
        for _ in range(5):
            await bus.publish("dialed.out", bytes(BIG))
            assert await got.get() == BIG
    assert asked == [("127.0.0.1", int(nats.url.rpartition(":")[2]))]


@WAYS
async def test_a_lost_connection_comes_back_through_the_relay(
    way: Way, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    asked: list[tuple[str, int]] = []
    async with (
        way(nats_server, tmp_path) as dialer,
        connect(bus_config(nats_server, dial=dial(dialer, asked))) as bus,
    ):
        lost = asyncio.Event()
        bus.on_lost(lost.set)
        await restart(nats_server)
        await lost.wait()
        await bus.wait_connected(15)
        await bus.flush()
    assert len(asked) >= 2


@WAYS
async def test_tls_is_spoken_with_the_server_through_the_relay(way: Way, tmp_path: Path) -> None:
    authority = Authority.make()
    cert, key = authority.issue(tmp_path, "nats")
    tls = {"tls": {"cert_file": str(cert), "key_file": str(key)}}
    async with running(tmp_path / "nats", extra=tls) as server:
        url = f"tls://127.0.0.1:{server.url.rpartition(':')[2]}"
        async with way(server, tmp_path) as dialer:
            config = bus_config(server, url=url, tls_ca=authority.pem, dial=dial(dialer, []))
            async with connect(config) as bus:
                await bus.publish("dialed.tls", bytes(BIG))
                await bus.flush()


@pytest.mark.parametrize("wrong", ["another name", "another authority"])
async def test_whoever_carries_the_stream_cannot_be_the_server(wrong: str, tmp_path: Path) -> None:
    authority, other = Authority.make(), Authority.make()
    cert, key = authority.issue(tmp_path, "nats")
    tls = {"tls": {"cert_file": str(cert), "key_file": str(key)}}
    async with running(tmp_path / "nats", extra=tls) as server:
        port = server.url.rpartition(":")[2]
        name, trusted = (
            ("nats.example", authority) if wrong == "another name" else ("127.0.0.1", other)
        )
        async with over_a_socket(server, tmp_path) as dialer:
            config = bus_config(
                server,
                url=f"tls://{name}:{port}",
                tls_ca=trusted.pem,
                dial=dial(dialer, []),
                connect_timeout_s=1.0,
            )
            with pytest.raises(UnreachableError):
                async with connect(config):
                    pytest.fail("connected to a stranger")
