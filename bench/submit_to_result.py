"""One small job's latency, split by stage from its trace, beside raw limits.

Stages follow the job's critical path from the first sealed byte to the opened result; each
begins where the one before it ends, so they add up to the whole. The moments are the starts
and ends of spans of five processes on one machine, so one clock.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from atoll.telemetry import names as spans
from bench import guests
from bench.children import call
from bench.report import BenchError, Report, Table, median, percentile_90
from bench.scale import Scale
from bench.stack import Stack, running

NAME: Final = "submit_to_result"

START, END = "start_ns", "end_ns"

_MOMENTS: Final = (
    ("", spans.JOB_RUN, START),
    ("seal, upload, sign", spans.SUBMIT, START),
    ("submit: ledger, queue", spans.SPAWN, START),
    ("lease", spans.ENCLAVE_START, START),
    ("enclave start: measure, fork", spans.ENCLAVE_START, END),
    ("interpreter, imports, connect", spans.ENCLAVE_BOOT, START),
    ("make keys", spans.MAKE_KEYS, END),
    ("nonce and quote", spans.QUOTE, END),
    ("attestor appraises", spans.APPRAISE, END),
    ("publish evidence, verify EAR, offer", spans.ENCLAVE_JOB, START),
    ("client appraises, releases keys", spans.AWAIT_RELEASES, END),
    ("fetch and open assets", spans.OPEN_ASSET, END),
    ("run: worker start, compile, guest", spans.RUN_WORKLOAD, END),
    ("pack, seal, upload, sign receipt", spans.SIGN_RECEIPT, END),
    ("store, report, ledger, event", spans.AWAIT_RESULT, END),
    ("fetch, verify, open result", spans.JOB_RUN, END),
)
"""Stage, and the span and side at which it ends."""

_LIMITS: Final[tuple[tuple[str, str, dict[str, str]], ...]] = (
    ("python -I -c pass", "starts", {"code": "pass"}),
    ("the same, importing the agent", "starts", {"code": "import atoll_agent.main"}),
    ("the same, importing the engine", "starts", {"code": "import atoll_agent.sandbox.engine"}),
    ("bare guest run in the sandbox", "guests", {}),
)

Trace = list[dict[str, Any]]


async def run(scale: Scale, scratch: Path) -> Report:
    """Raises: BenchError."""
    module = scratch / "small.wasm"
    module.write_bytes(guests.small())
    traces: list[Trace] = []
    limits: dict[str, list[float]] = {label: [] for label, _, _ in _LIMITS}
    async with running(scratch / "stack", slots=2) as stack:
        given = one_at_a_time(stack, module, scratch / "out")
        if scale.warm_ups:
            await call("jobs", **given, count=scale.warm_ups)
        # A few at a time, in turns with the raw limits.
        for count in _batches(scale.runs):
            found = await call("jobs", **given, count=count, spans=True)
            traces.extend(found["spans"])
            for label, task, more in _LIMITS:
                limit = await call(task, **{**given, **more, "count": count})
                limits[label].append(limit["seconds"] / count)
    measured = [stages(trace) for trace in traces]
    total = [sum(stage.values()) for stage in measured]
    return Report(
        name=NAME,
        tables=(_stage_table(measured, total), _limit_table(limits, median(total))),
        notes=(
            f"{len(traces)} runs of a guest that prints one line, one at a time",
            f"{scale.warm_ups} runs before them do not count",
            "stages add up run by run; medians and percentiles need not",
        ),
    )


def one_at_a_time(stack: Stack, module: Path, out: Path) -> dict[str, Any]:
    """What the task `jobs` is told of small jobs whose latency counts."""
    return {
        "home": str(stack.home),
        "party": "bench",
        "module": str(module),
        "out": str(out),
        "expect": guests.HELLO.decode(),
        "together": 1,
    }


def stages(trace: Trace) -> dict[str, float]:
    """Milliseconds of each stage of one job.

    Raises:
        BenchError: a span is missing.
    """
    moments = [moment(trace, name, side) for _, name, side in _MOMENTS]
    names = [stage for stage, _, _ in _MOMENTS[1:]]
    return {
        name: (after - before) / 1e6
        for name, (before, after) in zip(names, pairwise(moments), strict=True)
    }


def moment(trace: Trace, name: str, side: str) -> int:
    """When the first span of a name began, or the last ended, in nanoseconds since the epoch.

    Raises:
        BenchError: there is none.
    """
    values = [int(span[side]) for span in trace if span["name"] == name]
    if not values:
        raise BenchError(f"a trace has no span {name!r}")
    return max(values) if side == END else min(values)


def _batches(runs: int) -> list[int]:
    size = max(1, runs // 6)
    return [min(size, runs - start) for start in range(0, runs, size)]


def _stage_table(measured: list[dict[str, float]], total: list[float]) -> Table:
    whole = median(total)
    columns = {name: [stage[name] for stage in measured] for name in measured[0]}
    rows = [
        (name, median(values), percentile_90(values), 100 * median(values) / whole)
        for name, values in (*columns.items(), ("whole job", total))
    ]
    return Table(
        title="stages", columns=("stage", "median ms", "p90 ms", "% of whole"), rows=tuple(rows)
    )


def _limit_table(limits: dict[str, list[float]], whole: float) -> Table:
    rows = []
    for label, seconds in limits.items():
        value = median(seconds) * 1000
        rows.append((label, value, whole / value))
    return Table(title="raw limits", columns=("what", "median ms", "job / it"), rows=tuple(rows))
