"""What each driver's bench needs of this machine; a part that is missing is a skip naming it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from atoll_manager.drivers.docker import find_image
from integration.manager.drivers.benches import BENCHES, Plan
from support.dockerd import dockerd
from support.guest_image import guest_image
from support.libvirt import embedded, qemu
from support.short import tmp_path

__all__ = ["dockerd", "embedded", "guest_image", "tmp_path"]


COMES_S = 600
"""A guest that is translated boots in seconds on a machine that has nothing else to do."""


class Bus:
    """Where enclaves look for the bus: nobody ever answers, but who comes is seen."""

    def __init__(self) -> None:
        self.port = 0
        self.came: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        async def meet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.came.put_nowait(writer)

        self._server = await asyncio.start_server(meet, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def enclave(self) -> None:
        """Until the agent of an enclave has come so far as to look for the bus."""
        async with asyncio.timeout(COMES_S):
            (await self.came.get()).transport.abort()

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        while not self.came.empty():
            self.came.get_nowait().transport.abort()


@pytest_asyncio.fixture
async def stub() -> AsyncIterator[Bus]:
    bus = Bus()
    await bus.open()
    yield bus
    await bus.close()


@pytest.fixture(params=list(BENCHES))
def bench(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def plan(bench: str, stub: Bus, request: pytest.FixtureRequest) -> Plan:
    extra: dict[str, str] = {}
    if bench == "docker":
        engine = request.getfixturevalue("dockerd")
        image = find_image(engine.host, str(request.getfixturevalue("guest_image")))
        extra = {"engine": engine.host, "image": image}
    if bench == "libvirt":
        extra = {
            "libvirt": request.getfixturevalue("embedded"),
            "emulator": str(qemu()),
            "image": str(request.getfixturevalue("guest_image")),
            "memory_mib": "512",
        }
    return Plan(bus=f"nats://127.0.0.1:{stub.port}", extra=extra)
