"""Run benchmarks: `python bench/run.py [NAME...] [--quick] [--json]`.

Exit status: 0 all ran, 1 something did not work, 2 usage. No time is ever a failure.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from atoll.errors import AtollError
from bench import (
    dataset_throughput,
    durability,
    fleet,
    jobs_per_second,
    ledger,
    machine,
    machines,
    submit_to_result,
    verification,
    walls,
    warm_start,
)
from bench.report import BenchError, Report
from bench.scale import FULL, QUICK, TINY, Scale

Benchmark = Callable[[Scale, Path], Awaitable[Report]]

BENCHMARKS: Final[dict[str, Benchmark]] = {
    dataset_throughput.NAME: dataset_throughput.run,
    jobs_per_second.NAME: jobs_per_second.run,
    durability.NAME: durability.run,
    submit_to_result.NAME: submit_to_result.run,
    verification.NAME: verification.run,
    walls.NAME: walls.run,
    fleet.NAME: fleet.run,
    ledger.NAME: ledger.run,
    warm_start.NAME: warm_start.run,
    machines.NAME: machines.run,
}
BY_NAME: Final = frozenset({fleet.NAME, ledger.NAME, machines.NAME})
"""Those that take so long, or need so much, that they run only when they are asked for."""


def main(arguments: list[str]) -> int:
    """Run the named benchmarks, or all, in the order of the table above."""
    options = _options(arguments)
    scale = TINY if options.tiny else QUICK if options.quick else FULL
    facts = machine.facts()
    reports: list[Report] = []
    failed = False
    if not options.json:
        print("\n".join(f"{name:12}  {value}" for name, value in facts.items()))
    for name, benchmark in BENCHMARKS.items():
        if name not in (options.names or BENCHMARKS.keys() - BY_NAME):
            continue
        print(f"running {name} ({scale.name})", file=sys.stderr, flush=True)
        report = _run(name, benchmark, scale)
        if report is None:
            failed = True
            continue
        reports.append(report)
        if not options.json:
            print(f"\n{report.text()}", flush=True)
    if options.json:
        plain = [report.plain() for report in reports]
        print(json.dumps({"machine": facts, "scale": scale.name, "benchmarks": plain}, indent=2))
    return 1 if failed else 0


def _run(name: str, benchmark: Benchmark, scale: Scale) -> Report | None:
    try:
        with tempfile.TemporaryDirectory(prefix="atoll-bench-") as scratch:
            return asyncio.run(_awaited(benchmark(scale, Path(scratch))))
    except (BenchError, AtollError) as error:
        print(f"error: {name}: {error}", file=sys.stderr)
        return None


async def _awaited(report: Awaitable[Report]) -> Report:
    return await report


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run.py", description="Atoll's benchmarks.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="smaller sizes, fewer rounds")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(BENCHMARKS))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
