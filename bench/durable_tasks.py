"""Publishing to a stream of a given durability, as a task of `bench.children`."""

import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from atoll.bus import BusConfig, connect, ensure_stream, publish
from atoll.bus.provision import wait_replicated
from atoll.wire.topology_types import Stream
from bench import raw

Parameters = dict[str, Any]
Go = Callable[[], Awaitable[None]]

PAYLOAD: Final = bytes(256)
STARTING_S: Final = 60.0


async def durable(given: Parameters, go: Go) -> Parameters:
    """Milliseconds of a publish that waits, the median; and publishes a second with `flying`."""
    config = BusConfig(
        url=given["url"],
        name="bench",
        user=given["user"],
        password=given["password"],
        inbox_prefix="_INBOX_bench",
    )
    name = f"D{given['replicas']}{given['persist']}"
    stream = Stream(
        name=name,
        subjects=(f"durable.{name}",),
        max_bytes=1 << 30,
        replicas=given["replicas"],
        persist=given["persist"],
    )
    async with connect(config) as bus:
        await ensure_stream(bus, stream)
        await wait_replicated(bus, name, timeout_s=STARTING_S)

        async def one() -> None:
            await publish(bus, stream.subjects[0], PAYLOAD)

        await one()
        await go()
        each = []
        for _ in range(max(10, given["count"] // 4)):
            began = time.perf_counter()
            await one()
            each.append(time.perf_counter() - began)
        seconds = await raw.repeat(one, given["count"], given["flying"])
    return {"one_ms": statistics.median(each) * 1e3, "rate": given["count"] / seconds}
