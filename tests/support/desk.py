"""The part of a gateway that clients reach their assets and their jobs by, on a bus of a test."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from atoll.bus import Bus, Service
from atoll.wire.messages import JobRequest, JobView
from atoll_gateway.adapters import BusOutlet, KvJobs
from atoll_gateway.assets import AssetDesk
from atoll_gateway.caller import Caller
from atoll_gateway.ledger import Ledger
from atoll_gateway.reading import JobReader
from atoll_gateway.service import asset_endpoints, reading_endpoints
from support.stack import recorder


class _Jobs:
    """Every job of the ledger, to everybody."""

    def __init__(self, bus: Bus) -> None:
        self._ledger = Ledger(KvJobs(bus), BusOutlet(bus), lambda: time.time_ns() // 1_000_000)

    async def get(self, request: JobRequest, caller: Caller) -> JobView:
        del caller
        return await self._ledger.get(request.job_id)


@asynccontextmanager
async def desk(bus: Bus) -> AsyncIterator[None]:
    """Serve while the block runs."""
    tracer = recorder()
    served = [
        *asset_endpoints(AssetDesk(bus), tracer),
        *reading_endpoints(JobReader(bus, _Jobs(bus), tracer), tracer),
    ]
    async with Service(bus, name="desk", version="0.0.0", description="", endpoints=served):
        yield
