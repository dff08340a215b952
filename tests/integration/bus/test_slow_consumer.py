"""A client that does not read: the server drops it, and it goes on where it was."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from atoll.bus import Bus, Message, WorkQueue, connect, provision, publish, read_stream
from atoll.wire.topology_types import Consumer, Stream
from atoll_cli.nats_server import EmbeddedNats
from support.nats import bus_config, running, wait_for

IMPATIENT = {"write_deadline": "200ms", "max_pending": 1 << 20}
BLOCK = bytes(64 << 10)


class Tap:
    """Between a client and its server; can stop reading what the server says."""

    def __init__(self, server: EmbeddedNats) -> None:
        self._server = server
        self.open = asyncio.Event()
        self.open.set()
        self.connections = 0
        self.url = ""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Tap"]:
        listener = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 16)
        async with listener:
            self.url = f"nats://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
            yield self
            self.open.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        up, down = await asyncio.open_connection("127.0.0.1", self._server.port, limit=1 << 16)
        async with asyncio.TaskGroup() as group:
            there = group.create_task(self._copy(reader, down, gated=False))
            await self._copy(up, writer, gated=True)
            there.cancel()
        for end in (writer, down):
            end.close()

    async def _copy(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, gated: bool
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                if gated:
                    await self.open.wait()
                block = await source.read(1 << 16)
                if not block:
                    return
                target.write(block)
                await target.drain()


async def flood(bus: Bus, server: EmbeddedNats) -> None:
    """Send to whoever listens until the server has had enough of somebody."""

    async def dropped() -> bool:
        for _ in range(16):
            await bus.publish("flood.x", BLOCK)
        await bus.flush()
        return "Slow Consumer" in server.log.read_text()

    await wait_for(dropped, "the server drops whoever does not read", within_s=60)


async def ignore(_: Message) -> None:
    """Nothing is wanted of the flood."""


async def test_a_reader_that_did_not_read_is_dropped_and_misses_nothing(tmp_path: Path) -> None:
    stream = Stream(name="S", subjects=("s.>",), max_bytes=256 << 20)
    seen: list[int] = []
    async with (
        running(tmp_path / "nats", extra=IMPATIENT) as server,
        connect(bus_config(server)) as writer,
        Tap(server).listening() as tap,
        connect(bus_config(server, url=tap.url)) as reader,
        asyncio.TaskGroup() as group,
    ):
        await provision(writer, streams=[stream])
        await reader.subscribe("flood.>", ignore)

        async def read() -> None:
            async with aclosing(read_stream(reader, "S", "s.>", follow=True)) as messages:
                async for message in messages:
                    number = int(message.payload)
                    seen.append(number)

        reading = group.create_task(read())
        for number in range(200):
            await publish(writer, "s.x", str(number).encode())
        await wait_for(lambda: len(seen) == 200, "all so far is read")

        tap.open.clear()
        for number in range(200, 400):
            await publish(writer, "s.x", str(number).encode())
        await flood(writer, server)
        tap.open.set()
        for number in range(400, 500):
            await publish(writer, "s.x", str(number).encode())

        await wait_for(lambda: len(seen) >= 500, "all is read", within_s=60)
        assert seen == list(range(500))
        assert tap.connections >= 2, "it had to connect again"
        reading.cancel()


async def test_work_of_a_client_that_was_dropped_is_done_by_it_or_another(
    tmp_path: Path,
) -> None:
    stream = Stream(name="Q", subjects=("q.>",), retention="workqueue", max_bytes=64 << 20)
    workers = Consumer(stream="Q", name="workers", ack_wait_s=2.0, max_deliver=100)
    done: set[bytes] = set()
    async with (
        running(tmp_path / "nats", extra=IMPATIENT) as server,
        connect(bus_config(server)) as writer,
        Tap(server).listening() as tap,
        connect(bus_config(server, url=tap.url)) as slow,
        asyncio.TaskGroup() as group,
    ):
        await provision(writer, streams=[stream], consumers=[workers])
        await slow.subscribe("flood.>", ignore)

        async def work() -> None:
            async with WorkQueue(slow, workers) as queue:
                async for delivery in queue:
                    done.add(delivery.payload)
                    await delivery.ack()

        task = group.create_task(work())
        for number in range(20):
            await publish(writer, "q.x", str(number).encode())
        await wait_for(lambda: len(done) == 20, "the first are done")
        tap.open.clear()
        for number in range(20, 40):
            await publish(writer, "q.x", str(number).encode())
        await flood(writer, server)
        tap.open.set()
        await wait_for(lambda: len(done) == 40, "all are done", within_s=60)
        task.cancel()
