"""A server of one's own for each test: work queues are shared by everybody on a server."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from atoll.bus import Bus, connect, provision
from atoll.wire import topology
from support.nats import bus_config, running


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[Bus]:
    """A connection to a server with everything on it."""
    async with running(tmp_path / "nats") as server, connect(bus_config(server)) as bus:
        await provision(
            bus,
            streams=topology.STREAMS,
            consumers=topology.CONSUMERS,
            buckets=topology.BUCKETS,
            object_buckets=topology.OBJECT_BUCKETS,
        )
        yield bus
