"""What a job costs the deployment as the fleet grows, and with how many enclaves alive at once.

Bus, attestor and gateway are real processes; hosts and enclaves are `bench.simulated_hosts`. The
same number of jobs, as many under way at a time, goes through every size, and sizes take turns.
Costs are processor time, which other work on the machine disturbs less than the clock.
"""

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from bench import gateway_start, stored_jobs
from bench.children import standing, together
from bench.deployment import Deployment, deployed
from bench.machine import cpu_of, peak_resident
from bench.report import Cell, Report, Table, median, percentile
from bench.scale import MIB, Scale

NAME: Final = "fleet"
PROCESSES: Final = 2
SLOTS: Final = 4
FLYING: Final = 16
"""Jobs under way at a time: fewer than the smallest full fleet has slots."""
WARM_UPS: Final = 16
ROLES: Final = ("gateway", "nats-server", "attestor", "managers")
CONTROL: Final = ("gateway", "nats-server")
"""What all hosts share; the rest is spread over hosts and attestors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One fleet's jobs in one round."""

    jobs: int
    seconds: float
    cpu: Mapping[str, float]
    """Processor seconds by role while the jobs ran."""
    idle: Mapping[str, float]
    """The same in a second in which nothing was to be done, before and after."""
    leased: Sequence[float]
    offered: Sequence[float]
    """Seconds from submitting."""
    memory: Mapping[str, int]
    most: int
    """Enclaves alive at once, at most."""

    def each(self, *roles: str) -> float:
        """Milliseconds that one job takes beyond what idling takes."""
        spent = sum(self.cpu[role] - self.idle[role] * self.seconds for role in roles)
        return max(0.0, spent) / self.jobs * 1e3


async def run(scale: Scale, scratch: Path) -> Report:
    """Raises: BenchError."""
    sizes: dict[int, list[Measured]] = {count: [] for count in scale.fleets}
    fill = partial(stored_jobs.store, count=scale.stored[0], now_ms=time.time_ns() // 1_000_000)
    async with deployed(scratch / "fleet", fill) as deployment:
        await gateway_start.settled(deployment)
        hosts, each = scale.live
        live = await measure(deployment, scale, hosts, each, live=hosts * each)
        for _ in range(scale.fleet_rounds):
            for count, found in sizes.items():
                found.append(await measure(deployment, scale, count, SLOTS))
    tables = (
        costs("hosts", sizes),
        places("hosts", sizes),
        _idle(sizes),
        _live(scale.live, live),
    )
    stored = f"{scale.stored[0]} jobs in the ledger"
    return Report(name=NAME, tables=tables, notes=(*notes(scale), stored))


async def measure(
    deployment: Deployment, scale: Scale, count: int, slots: int, *, live: int = 0
) -> Measured:
    """A fleet of `count` hosts, idle, then with jobs; `live` enclaves alive at once, if any.

    Raises: BenchError.
    """
    # Enclaves that wait for each other must be in one process.
    processes = 1 if live else min(PROCESSES, count)
    shares = [count // processes + (number < count % processes) for number in range(processes)]
    material = deployment.material
    each = [
        {
            "url": deployment.nats.url,
            "data": str(material.data_dir),
            "creds": str(material.bus.creds("manager")),
            "sentinel": str(material.bus.sentinel),
            "name": f"bench-{number}",
            "count": share,
            "slots": slots,
            "gather": share * slots if live else 0,
        }
        for number, share in enumerate(shares)
    ]
    jobs = live or scale.fleet_jobs
    load = {
        "home": str(deployment.home),
        "count": jobs,
        "flying": FLYING,
        "gathers": live > 0,
        "warm_ups": 0 if live else min(WARM_UPS, jobs),
    }
    async with standing("hosts", each) as fleet:

        def spent() -> dict[str, float]:
            return {**deployment.cpu(), "managers": sum(map(cpu_of, fleet.pids))}

        async def idling() -> dict[str, float]:
            before = spent()
            await asyncio.sleep(scale.idle_s)
            return {role: (now - before[role]) / scale.idle_s for role, now in spent().items()}

        # What starting leaves to do is no idling.
        await asyncio.sleep(scale.idle_s)
        earlier = await idling()
        began: dict[str, float] = {}
        (found,) = await together("fleet_load", [load], lambda: began.update(spent()))
        cpu = {role: now - began[role] for role, now in spent().items()}
        later = await idling()
        memory = {role: peak_resident(pid) for role, pid in deployment.pids().items()}
        ended = await fleet.end()
    measured = Measured(
        jobs=jobs,
        seconds=found["seconds"],
        cpu=cpu,
        idle={role: (earlier[role] + later[role]) / 2 for role in ROLES},
        leased=found["leased"],
        offered=found["offered"],
        memory=memory,
        most=sum(one["most"] for one in ended),
    )
    costs = ", ".join(f"{role} {measured.each(role):.1f} ms" for role in ROLES)
    print(f"  {count} hosts, {jobs} jobs: {costs} each", file=sys.stderr, flush=True)
    return measured


def _ratio(found: Sequence[Measured], first: Sequence[Measured], *roles: str) -> float | None:
    """Median over the rounds of a cost to the first size's in the same round."""
    pairs = [(one.each(*roles), base.each(*roles)) for one, base in zip(found, first, strict=True)]
    ratios = [one / base for one, base in pairs if base > 0]
    return median(ratios) if ratios else None


def costs(what: str, sizes: Mapping[int, Sequence[Measured]]) -> Table:
    """Of one job by role, and ratios to the first size in the same round."""
    first = next(iter(sizes.values()))
    rows: list[tuple[Cell, ...]] = [
        (
            size,
            *(median(one.each(role) for one in found) for role in ROLES),
            _ratio(found, first, *CONTROL),
            _ratio(found, first, *ROLES),
        )
        for size, found in sizes.items()
    ]
    return Table(
        title=f"processor ms of a job beyond idling, by {what}",
        columns=(what, *ROLES, "gateway + nats / first", "all / first"),
        rows=tuple(rows),
    )


def places(what: str, sizes: Mapping[int, Sequence[Measured]]) -> Table:
    """How fast, and with how much memory."""
    rows = []
    for size, found in sizes.items():
        leased = [value * 1e3 for one in found for value in one.leased]
        offered = [value * 1e3 for one in found for value in one.offered]
        times = [percentile(values, share) for values in (leased, offered) for share in (0.5, 0.99)]
        rate = median(one.jobs / one.seconds for one in found)
        memory = [
            max(one.memory[role] for one in found) / MIB for role in ("gateway", "nats-server")
        ]
        rows.append((size, rate, *times, *memory))
    return Table(
        title=f"rate, ms from submitting, peak MiB, by {what}",
        columns=(
            what,
            "jobs/s",
            *("leased p50", "leased p99", "offered p50", "offered p99"),
            *("gateway MiB", "nats MiB"),
        ),
        rows=tuple(rows),
    )


def _idle(sizes: Mapping[int, Sequence[Measured]]) -> Table:
    rows = tuple(
        (size, *(median(one.idle[role] for one in found) * 1e3 for role in ROLES))
        for size, found in sizes.items()
    )
    return Table(
        title="processor ms in a second without jobs, by hosts",
        columns=("hosts", *ROLES),
        rows=rows,
    )


def _live(size: tuple[int, int], found: Measured) -> Table:
    offered = [value * 1e3 for value in found.offered]
    return Table(
        title="enclaves that are all alive at once",
        columns=(
            *("hosts", "alive", "jobs/s", "offered p50", "offered p99"),
            *(f"{role} ms a job" for role in ROLES),
            "nats MiB",
        ),
        rows=(
            (
                size[0],
                found.most,
                found.jobs / found.seconds,
                *(percentile(offered, share) for share in (0.5, 0.99)),
                *(found.each(role) for role in ROLES),
                found.memory["nats-server"] / MIB,
            ),
        ),
    )


def notes(scale: Scale) -> tuple[str, ...]:
    """What holds for every table."""
    return (
        f"{scale.fleet_jobs} jobs a round, {FLYING} under way, {scale.fleet_rounds} round(s)",
        f"medians, and of ratios the medians of rounds; hosts of {SLOTS} slots",
        "managers: with their enclaves, without processes, assets, programs and results",
        "the client that submits, appraises and releases is not counted",
    )
