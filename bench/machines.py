"""A small job in a virtual machine beside one in a process; and what the guest's image costs.

Each kind of enclave has a stack of its own, and they are asked in turns. A machine without hardware
support for virtualisation emulates its guests (`atoll hosts probe` says which): then the
figures are of an emulator, several times slower than a processor.
"""

import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from atoll.telemetry import names as spans
from atoll_cli.image.build import Places, build, default_cache
from bench import guests
from bench.children import call
from bench.report import Cell, Report, Table, median
from bench.scale import Scale
from bench.stack import running
from bench.submit_to_result import END, START, Trace, moment, one_at_a_time
from bench.warm_start import ready

NAME: Final = "machines"

_ROOT: Final = Path(__file__).resolve().parent.parent
_JOB_S: Final = 600.0
_READY: Final = "machine, ready"
_MOMENTS: Final = (
    ("start to connected", spans.ENCLAVE_START, START, spans.ENCLAVE_BOOT, END),
    ("start to appraised", spans.ENCLAVE_START, START, spans.APPRAISE, END),
    ("submitted to appraised", spans.SUBMIT, END, spans.APPRAISE, END),
    ("whole job", spans.JOB_RUN, START, spans.JOB_RUN, END),
)


async def run(scale: Scale, scratch: Path) -> Report:
    """Raises: BenchError, AtollError: no image can be built here, or no machine started."""
    image, built = _image(scratch, scale.machine_runs)
    module = scratch / "small.wasm"
    module.write_bytes(guests.small())
    kinds: dict[str, dict[str, Any]] = {
        "process": {},
        "machine": {"driver": "libvirt", "image": image},
        _READY: {"driver": "libvirt", "image": image, "warm": 1},
        "machine, measured": {"driver": "libvirt", "image": image, "tee": "vtpm"},
    }
    found: dict[str, list[Trace]] = {name: [] for name in kinds}
    async with AsyncExitStack() as context:
        # Short, for there are sockets below it.
        stacks = {
            name: await context.enter_async_context(
                running(scratch / f"m{number}", slots=1, **more)
            )
            for number, (name, more) in enumerate(kinds.items())
        }
        for number in range(-min(1, scale.warm_ups), scale.machine_runs):
            for name, stack in stacks.items():
                if kinds[name].get("warm"):
                    await ready(stack, 1, within_s=_JOB_S)
                given = one_at_a_time(stack, module, scratch / "out")
                (trace,) = (await call("jobs", **given, count=1, spans=True))["spans"]
                if number >= 0:
                    found[name].append(trace)
    return Report(
        name=NAME,
        tables=(_table(found), built),
        notes=(
            f"{scale.machine_runs} jobs of each kind, in turns; one before them does not count",
            "connected: the agent has its login and its keys; what a guest's clock says of that",
            "a machine that is ready was started before its job",
        ),
    )


def _image(scratch: Path, builds: int) -> tuple[str, Table]:
    """An image, and what it took. The packages are in the cache after the first build."""
    places = Places(
        locks=_ROOT / "infra" / "image", cache=default_cache({"HOME": str(Path.home())})
    )
    build(places, scratch / "first", lambda _: None)
    seconds: list[float] = []
    for number in range(builds):
        began = time.monotonic()
        description = build(places, scratch / f"image-{number}", lambda _: None).description
        seconds.append(time.monotonic() - began)
    rows: tuple[tuple[Cell, ...], ...] = (
        ("build from a cache, s", median(seconds)),
        ("kernel, root, command line, MB", description.bytes / 1e6),
        ("packages and wheels", float(description.packages)),
    )
    return str(scratch / "first"), Table(title="image", columns=("what", "value"), rows=rows)


def _table(found: dict[str, list[Trace]]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for label, first, side, last, other in _MOMENTS:
        times = {
            name: median(
                [(moment(one, last, other) - moment(one, first, side)) / 1e9 for one in traces]
            )
            for name, traces in found.items()
        }
        # One that is ready has been started for nobody's job.
        shown = [
            "" if name == _READY and first == spans.ENCLAVE_START else value
            for name, value in times.items()
        ]
        rows.append((label, *shown, times["machine"] / times["process"]))
    return Table(
        title="a small job, one at a time, s",
        columns=("what", *found, "machine / process"),
        rows=tuple(rows),
    )
