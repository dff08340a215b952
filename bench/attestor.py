"""Requests that the attestors of a real stack answer, their latency, and who works how much.

`atoll up` starts one attestor; a replica is another process with the same settings, as a host
with cores to spare runs: both take requests from one queue group.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from atoll_cli.stack.layout import Plan
from atoll_cli.stack.material import Material
from atoll_cli.stack.service import start
from bench.children import together
from bench.machine import cpu_seconds
from bench.report import Table, median, percentile_90
from bench.scale import Scale
from bench.stack import Stack, running

LOADS: Final = ((1, 1), (2, 1), (2, 16))
"""Client processes, and requests of each that are under way at a time."""
MEASURED: Final = ("attestor", "nats-server")
MORE: Final = 2
"""Times the requests of a lone client, where many are under way: seconds, not moments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One load on one number of attestors."""

    name: str
    latencies: Sequence[float]
    seconds: float
    cpu: Mapping[str, float]
    """Processor seconds by role, `clients` among them."""

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds


async def measure(scale: Scale, scratch: Path) -> tuple[Table, Table]:
    """Rates and latencies; processor time of each request.

    Raises:
        BenchError: the stack did not start, or an answer was wrong.
    """
    found = []
    async with running(scratch / "stack", slots=1) as stack, AsyncExitStack() as replicas:
        data = scratch / "stack" / "data"
        for clients, flying in LOADS:
            found.append(await _load(stack, data, "nonce", (clients, flying), scale.messages))
        for clients, flying in LOADS:
            count = scale.messages * (MORE if flying > 1 else 1)
            found.append(await _load(stack, data, "appraise", (clients, flying), count))
        await _replica(stack, data, replicas)
        clients, flying = LOADS[-1]
        found.append(
            await _load(
                stack, data, "appraise", (clients, flying), scale.messages * MORE, attestors=2
            )
        )
    return _rates(found), _split(found)


async def _replica(stack: Stack, data: Path, replicas: AsyncExitStack) -> None:
    plan = Plan(
        material=Material.prepare(data),
        nats_url=stack.profile.nats_url,
        http=("127.0.0.1", 0),
        slots=1,
        host_id="bench",
        env={},
    )
    replicas.push_async_callback((await start(plan.attestor())).stop)


async def _load(
    stack: Stack,
    data: Path,
    endpoint: str,
    load: tuple[int, int],
    count: int,
    *,
    attestors: int = 1,
) -> Measured:
    clients, flying = load
    given: dict[str, Any] = {
        "home": str(stack.home),
        "data": str(data),
        "endpoint": endpoint,
        "count": count,
        "flying": flying,
    }
    before: dict[str, float] = {}

    def begin() -> None:
        before.update(cpu_seconds(os.getpid(), MEASURED))

    found = await together("appraisals", [given] * clients, begin)
    after = cpu_seconds(os.getpid(), MEASURED)
    cpu = {role: after[role] - before[role] for role in MEASURED}
    cpu["clients"] = sum(one["cpu_seconds"] for one in found)
    many = f", {attestors} attestors" if attestors > 1 else ""
    return Measured(
        name=f"{endpoint}, {clients * flying} under way{many}",
        latencies=[value for one in found for value in one["latencies"]],
        seconds=max(one["seconds"] for one in found),
        cpu=cpu,
    )


def _rates(found: Sequence[Measured]) -> Table:
    rows = tuple(
        (
            one.name,
            one.rate,
            median(one.latencies) * 1000,
            percentile_90(one.latencies) * 1000,
        )
        for one in found
    )
    columns = ("request", "in a second", "median ms", "p90 ms")
    return Table(title="attestor over NATS", columns=columns, rows=rows)


def _split(found: Sequence[Measured]) -> Table:
    rows = []
    for one in found:
        each = [one.cpu[name] / len(one.latencies) * 1e6 for name in (*MEASURED, "clients")]
        rows.append((one.name, *each, sum(each)))
    columns = ("processor time of one, us", *MEASURED, "clients", "together")
    return Table(title="attestor over NATS, who works", columns=columns, rows=tuple(rows))
