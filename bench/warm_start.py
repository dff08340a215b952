"""A small job in an enclave that was started in advance, beside one that is started for it.

Two stacks on one machine, asked in turns; the one with enclaves in advance is let get ready again
before each job. So this is the latency of a job that finds an enclave ready, and not a throughput:
whoever has no time between two jobs starts just as many enclaves.
"""

import asyncio
import secrets
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from atoll.client.connection import open_client
from atoll.telemetry.span import Recorder
from bench import guests
from bench.children import call
from bench.report import BenchError, Cell, Report, Table, median, percentile_90
from bench.scale import Scale
from bench.stack import Stack, running
from bench.submit_to_result import one_at_a_time, stages

NAME: Final = "warm_start"

_STARTING: Final = ("enclave start: measure, fork", "interpreter, imports, connect")
_READY_S: Final = 60.0


async def run(scale: Scale, scratch: Path) -> Report:
    """Raises: BenchError."""
    module = scratch / "small.wasm"
    module.write_bytes(guests.small())
    found: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
    async with AsyncExitStack() as context:
        stacks = {}
        for name, warm in (("cold", 0), ("warm", 1)):
            starting = running(scratch / name, slots=2, warm=warm)
            stacks[name] = await context.enter_async_context(starting)
        for number in range(scale.warm_ups + scale.runs):
            for name, stack in stacks.items():
                await ready(stack, int(name == "warm"))
                given = one_at_a_time(stack, module, scratch / f"out-{name}")
                (trace,) = (await call("jobs", **given, count=1, spans=True))["spans"]
                if number >= scale.warm_ups:
                    found[name].append(stages(trace))
    return Report(
        name=NAME,
        tables=(_table(found["cold"], found["warm"]),),
        notes=(
            f"{scale.runs} jobs each, in turns; {scale.warm_ups} before them do not count",
            "the enclave's start: measure, fork, interpreter, imports, until its first span",
        ),
    )


async def ready(stack: Stack, count: int, *, within_s: float = _READY_S) -> None:
    """Until so many enclaves wait.

    Raises:
        BenchError: they do not come.
    """
    tracer = Recorder("atoll-bench", instance=NAME, clock=time.time_ns, random=secrets.token_bytes)
    try:
        async with asyncio.timeout(within_s), open_client(stack.profile, tracer) as client:
            # The registry tells of its changes only to those who ask.
            while [host.warm for host in await client.hosts()] != [count]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise BenchError(f"{count} enclaves do not get ready") from error


def _table(cold: list[dict[str, float]], warm: list[dict[str, float]]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for label, stage_names in (
        ("the enclave's start", _STARTING),
        ("all else", tuple(name for name in cold[0] if name not in _STARTING)),
        ("whole job", tuple(cold[0])),
    ):
        times = [[sum(run[name] for name in stage_names) for run in each] for each in (cold, warm)]
        started, ready = map(median, times)
        rows.append((label, started, ready, started / ready, *map(percentile_90, times)))
    return Table(
        title="a small job, one at a time",
        columns=("what", "cold ms", "warm ms", "cold / warm", "cold p90", "warm p90"),
        rows=tuple(rows),
    )
