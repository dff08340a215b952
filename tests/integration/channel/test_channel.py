"""A guest reaches the services of its host, and no more than that, over each kind of channel."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from atoll.channel import frames, greeting
from atoll.channel.frames import MAX_DATA, Frame, Type
from atoll.channel.limits import Limits
from atoll.channel.pumping import Ends, join, tear
from atoll.channel.relay import Relay, connecting
from atoll.channel.session import pair
from atoll.channel.sockets import connect_vsock
from atoll.errors import AtollError, MessageError, UnreachableError
from integration.channel.ways import GUEST_CID, MULTIPLEXED, WAYS, Way, stand_in, stream, vsock

PARTS = 24
SIZE = 1 << 16


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(5000):
        writer.write(piece)
        await writer.drain()
    writer.write_eof()


async def deaf(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Never reads, and stays."""
    await asyncio.get_running_loop().create_future()


SERVICES = {"echo": echo, "deaf": deaf}


@pytest.fixture(params=list(WAYS))
def way(request: pytest.FixtureRequest) -> Way:
    return WAYS[request.param]


@pytest.fixture(params=[name for name in WAYS if name not in MULTIPLEXED])
def connected(request: pytest.FixtureRequest) -> Way:
    return WAYS[request.param]


async def test_streams_side_by_side_carry_what_is_sent_and_end(way: Way, tmp_path: Path) -> None:
    async def one(count: int) -> None:
        reader, writer = await link.dialer.open("echo")
        data = [hashlib.sha256(b"%d %d" % (count, part)).digest() for part in range(PARTS)]
        sent = b"".join(each * (SIZE // 32) for each in data)

        async def send() -> None:
            for at in range(0, len(sent), 100_000):
                writer.write(sent[at : at + 100_000])
                await writer.drain()
            writer.write_eof()

        async with asyncio.TaskGroup() as both:
            both.create_task(send())
            came = both.create_task(reader.read(-1))
        assert came.result() == sent
        writer.close()

    async with way(tmp_path, SERVICES, None) as link, asyncio.TaskGroup() as group:
        for count in range(4):
            group.create_task(one(count))


async def test_who_is_not_read_waits_and_the_others_go_on(way: Way, tmp_path: Path) -> None:
    async with way(tmp_path, SERVICES, None) as link:
        _, held = await link.dialer.open("deaf")

        async def fill() -> None:
            while True:
                held.write(bytes(SIZE))
                await held.drain()

        async with asyncio.TaskGroup() as group:
            filling = group.create_task(fill())
            for _ in range(5):
                reader, writer = await link.dialer.open("echo")
                writer.write(b"hello")
                assert await reader.readexactly(5) == b"hello"
                writer.close()
            assert not filling.done()
            filling.cancel()
        tear(held)


async def test_a_service_that_is_not_there_is_the_end(way: Way, tmp_path: Path) -> None:
    async with way(tmp_path, SERVICES, None) as link:
        reader, writer = await link.dialer.open("shell")
        assert await ending(reader) == b""
        writer.close()
        with pytest.raises(AtollError) as caught:
            await link.dialer.open("127.0.0.1:22")
        assert caught.value.code == "channel.service"


async def test_a_service_elsewhere_is_reached_and_its_end_passes(way: Way, tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"INFO " + await reader.readline())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    bus = connecting(lambda: asyncio.open_connection("127.0.0.1", port))
    async with server, way(tmp_path, {"bus": bus}, None) as link:
        reader, writer = await link.dialer.open("bus")
        writer.write(b"who\n")
        assert await reader.read(-1) == b"INFO who\n"
        writer.close()


async def test_where_the_service_is_away_the_stream_ends(way: Way, tmp_path: Path) -> None:
    async def refuse() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        raise ConnectionRefusedError(111, "Connection refused")

    async with way(tmp_path, {"bus": connecting(refuse)}, None) as link:
        reader, writer = await link.dialer.open("bus")
        assert await ending(reader) == b""
        writer.close()


async def test_when_the_host_is_gone_every_stream_ends(tmp_path: Path) -> None:
    async with stream(tmp_path, SERVICES) as link:
        reader, writer = await link.dialer.open("echo")
        writer.write(b"x")
        await reader.readexactly(1)
        _, raw = await link.raw()
        tear(raw)
        assert await ending(reader) == b""
        writer.close()
        await wait_gone(link.dialer)


@asynccontextmanager
async def hostile() -> AsyncIterator[tuple[Ends, "asyncio.Task[MessageError]"]]:
    """A guest that writes what it likes, and how it is cut off; what it gets it reads."""
    guest, host = await pair()

    async def cut_off() -> MessageError:
        with pytest.raises(MessageError) as caught:
            await Relay(SERVICES).carry(host)
        return caught.value

    async def read() -> None:
        await ending(guest[0])

    async with asyncio.TaskGroup() as group:
        cut = group.create_task(cut_off())
        group.create_task(read())
        guest[1].write(frames.hello().to_bytes())
        yield guest, cut
        tear(guest[1])


async def push(writer: asyncio.StreamWriter, data: bytes, cut: "asyncio.Task[MessageError]") -> str:
    """Write until cut off; the code of that."""
    try:
        while not cut.done():
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    return (await cut).code


async def test_a_flood_cuts_the_guest_off() -> None:
    async with hostile() as ((_, writer), cut):
        writer.write(frames.opening(1, "deaf").to_bytes())
        data = Frame(Type.DATA, 1, bytes(MAX_DATA)).to_bytes()
        assert await push(writer, data, cut) == "channel.credit"


async def test_thousands_of_streams_cut_the_guest_off() -> None:
    async with hostile() as ((_, writer), cut):
        for number in range(1, 2001):
            writer.write(frames.opening(number, "nothing").to_bytes())
            writer.write(Frame(Type.CLOSE, number).to_bytes())
        assert (await cut).code == "channel.opens"


async def test_streams_that_stay_open_cut_the_guest_off() -> None:
    async with hostile() as ((_, writer), cut):
        for number in range(1, Limits().streams + 2):
            writer.write(frames.opening(number, "deaf").to_bytes())
        assert (await cut).code == "channel.streams"


async def test_garbage_cuts_the_guest_off(way: Way, tmp_path: Path) -> None:
    async with way(tmp_path, SERVICES, None) as link:
        reader, writer = await link.dialer.open("echo")
        writer.write(b"x")
        await reader.readexactly(1)
        _, raw = await link.raw()
        raw.write(b"\x16\x03\x01\x02\x00\x01\x00\x01" * 10_000 + b"\n")
        assert (await link.cut).code in {"channel.frame", "channel.greeting"}
        assert await ending(reader) == b""
        tear(raw)
        writer.close()


async def test_streams_that_stay_cut_the_guest_off(connected: Way, tmp_path: Path) -> None:
    async with connected(tmp_path, SERVICES, Limits(streams=3)) as link:
        opened = []
        while not link.cut.done():
            try:
                _, writer = await link.raw()
            except OSError:
                break
            opened.append(writer)
            writer.write(greeting.encode("deaf"))
            await asyncio.sleep(0)
        assert (await link.cut).code == "channel.streams"
        for writer in opened:
            tear(writer)


async def test_connections_without_end_cut_the_guest_off(connected: Way, tmp_path: Path) -> None:
    async with connected(tmp_path, SERVICES, Limits(streams=200, burst=20)) as link:
        while not link.cut.done():
            try:
                _, writer = await link.raw()
            except OSError:
                break
            tear(writer)
        assert (await link.cut).code == "channel.opens"


async def test_who_never_says_what_it_wants_is_cut_off(connected: Way, tmp_path: Path) -> None:
    async with connected(tmp_path, SERVICES, Limits(greeting_s=0.05)) as link:
        _, writer = await link.raw()
        assert (await link.cut).code == "channel.greeting"
        tear(writer)


async def test_another_guest_of_the_host_is_not_answered(tmp_path: Path) -> None:
    """On vsock any guest can connect; an enclave's relay answers its own."""
    async with vsock(tmp_path, SERVICES) as link:
        reader, writer = await connect_vsock(4000, make=stand_in(tmp_path, GUEST_CID + 1))
        writer.write(greeting.encode("echo") + b"x")
        assert await ending(reader) == b""
        tear(writer)
        reader, writer = await link.dialer.open("echo")
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        writer.close()


async def ending(reader: asyncio.StreamReader) -> bytes:
    """What still comes; a stream that is torn off ends as well."""
    try:
        return await reader.read(-1)
    except OSError:
        return b""


async def wait_gone(dialer: object) -> None:
    """Until nothing can be opened any more."""
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await dialer.open("echo")  # type: ignore[attr-defined]
            except UnreachableError as error:
                assert error.code == "channel.gone"  # noqa: PT017
                return
            writer.close()
            await asyncio.sleep(0)


async def test_what_carries_nothing_is_torn_off_in_time() -> None:
    """And not while something passes, either way."""
    one, near = await pair()
    far, other = await pair()
    async with asyncio.TaskGroup() as group:
        joined = group.create_task(join(near, far, idle_s=0.2))
        for _ in range(6):
            await asyncio.sleep(0.1)
            other[1].write(b"x")
            assert await one[0].read(1) == b"x"
        assert not joined.done()
        async with asyncio.timeout(10):
            assert await one[0].read(1) == b""
    for _, writer in (one, other):
        writer.close()
