"""What a job costs the deployment as the ledger fills: `bench.fleet` on a fleet of one size."""

import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Final

from bench import gateway_start, stored_jobs
from bench.deployment import deployed
from bench.fleet import SLOTS, Measured, costs, measure, notes, places
from bench.report import Report, Table
from bench.scale import Scale

NAME: Final = "ledger"
WHAT: Final = "jobs in the ledger"


async def run(scale: Scale, scratch: Path) -> Report:
    """Raises: BenchError."""
    sizes: dict[int, list[Measured]] = {count: [] for count in scale.stored}
    starts: dict[int, Mapping[str, float]] = {}
    async with AsyncExitStack() as stack:
        deployments = {}
        for count in scale.stored:
            fill = partial(stored_jobs.store, count=count, now_ms=time.time_ns() // 1_000_000)
            deployments[count] = await stack.enter_async_context(
                deployed(scratch / f"stored-{count}", fill)
            )
            starts[count] = await gateway_start.settled(deployments[count])
        for _ in range(scale.fleet_rounds):
            for count, deployment in deployments.items():
                sizes[count].append(await measure(deployment, scale, scale.fleets[0], SLOTS))
    tables = (costs(WHAT, sizes), places(WHAT, sizes), _starts(starts))
    return Report(name=NAME, tables=tables, notes=(*notes(scale), f"{scale.fleets[0]} hosts"))


def _starts(sizes: Mapping[int, Mapping[str, float]]) -> Table:
    columns = (WHAT, *next(iter(sizes.values())))
    rows = tuple((size, *found.values()) for size, found in sizes.items())
    return Table(title="start of a gateway", columns=columns, rows=rows)
