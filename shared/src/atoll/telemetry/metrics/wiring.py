"""A service's metrics from its settings, and those that every service has."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from atoll import version
from atoll.bus import Bus
from atoll.telemetry.metrics import table
from atoll.telemetry.metrics.metric import OK, UNMETERED, Meter
from atoll.wire import level


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What a service counts with."""

    meter: Meter = UNMETERED
    facts: dict[str, str] = field(default_factory=dict)
    """For the ready line: where the metrics are."""

    @property
    def on(self) -> bool:
        """Whether anybody can see them."""
        return bool(self.facts)


@contextlib.asynccontextmanager
async def exporting(address: str, service: str, **connections: Bus) -> AsyncIterator[Exported]:
    """Export the metrics of `service` at `address` until the block ends; empty: none.

    Args:
        connections: its connections to the bus, by name.

    Raises:
        ConfigError: `metrics.address`, `metrics.port_in_use`.
    """
    if not address:
        yield Exported()
        return
    # Whoever exports nothing need not load it.
    from atoll.telemetry.metrics.prometheus import PrometheusMeter, serving  # noqa: PLC0415

    meter = PrometheusMeter(service)
    meter.put(table.BUILD, 1, version=version.VERSION, protocol=str(level.NEWEST))
    for name, bus in connections.items():
        watch_bus(meter, bus, name)
    stack = contextlib.ExitStack()
    url = stack.enter_context(serving(address, meter.registry))
    try:
        yield Exported(meter=meter, facts={"metrics": url})
    finally:
        # It waits for the serving thread.
        await asyncio.to_thread(stack.close)


def watch_bus(meter: Meter, bus: Bus, connection: str) -> None:
    """Follow a connection for as long as it lasts."""
    meter.follow(table.BUS_CONNECTED, lambda: float(bus.connected), connection=connection)
    bus.on_lost(lambda: meter.count(table.BUS_LOST, connection=connection))


def requests(meter: Meter) -> Callable[[str, str, float], None]:
    """What an `atoll.bus.Service` calls for each request that it answered."""

    def answered(endpoint: str, code: str, seconds: float) -> None:
        meter.count(table.REQUESTS, endpoint=endpoint, code=code or OK)
        meter.observe(table.REQUEST_TIME, seconds, endpoint=endpoint)

    return answered
