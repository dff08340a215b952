"""How many small jobs the whole stack completes, beside what their parts would allow.

A job here is everything: seal, upload, sign, submit, a fresh enclave process, its evidence,
two appraisals, key releases, a guest in a worker process, a sealed result, a receipt, and the
result opened and verified. Twice as many clients as slots keep the slots busy.
"""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from bench import guests
from bench.children import call, together
from bench.dataset_throughput import raw_server
from bench.report import Report, Table, median
from bench.scale import Scale
from bench.stack import Stack, running

NAME: Final = "jobs_per_second"

_LIMITS: Final = (
    ("starts", "interpreter starts (`python -I -c pass`)"),
    ("guests", "guest runs in the sandbox, no bus"),
    ("messages", "JetStream publish, consume, ack"),
)


async def run(scale: Scale, scratch: Path) -> Report:
    """Raises: BenchError."""
    module = scratch / "small.wasm"
    module.write_bytes(guests.small())
    found: dict[str, list[float]] = {}
    async with AsyncExitStack() as context:
        raw = await context.enter_async_context(raw_server(scratch))
        stacks = {
            slots: await context.enter_async_context(
                running(scratch / f"stack-{slots}", slots=slots)
            )
            for slots in scale.slots
        }
        for _ in range(scale.job_rounds):
            for slots, stack in stacks.items():
                rate = await _jobs(stack, scratch, module, slots, scale.jobs)
                found.setdefault(_label(slots), []).append(rate)
            for name, label in _LIMITS:
                found.setdefault(label, []).append(await _limit(name, module, raw, scale))
    return Report(name=NAME, tables=(_table(found, scale),), notes=_notes(scale))


async def _jobs(stack: Stack, scratch: Path, module: Path, slots: int, jobs: int) -> float:
    """Completed jobs a second, from the first seal to the last opened result."""
    clients = 2 * slots
    each = [
        {
            "home": str(stack.home),
            "party": f"bench-{index}",
            "module": str(module),
            "out": str(scratch / "out"),
            "count": max(1, jobs // clients),
            "expect": guests.HELLO.decode(),
        }
        for index in range(clients)
    ]
    ended = await together("jobs", each)
    done = sum(item["count"] for item in each if isinstance(item["count"], int))
    return float(done / max(item["seconds"] for item in ended))


async def _limit(name: str, module: Path, raw: dict[str, str], scale: Scale) -> float:
    count = scale.messages if name == "messages" else scale.starts
    given: dict[str, Any] = {
        "count": count,
        "together": max(scale.slots),
        "code": "pass",
        "module": str(module),
        "expect": guests.HELLO.decode(),
        **raw,
    }
    return float(count / (await call(name, **given))["seconds"])


def _label(slots: int) -> str:
    return f"Atoll jobs, {slots} slots, {2 * slots} clients"


def _table(found: dict[str, list[float]], scale: Scale) -> Table:
    best = max(median(found[_label(slots)]) for slots in scale.slots)
    return Table(
        title="completed in a second",
        columns=("what", "median", "least", "most", "it / best Atoll"),
        rows=tuple(
            (label, median(rates), min(rates), max(rates), median(rates) / best)
            for label, rates in found.items()
        ),
    )


def _notes(scale: Scale) -> tuple[str, ...]:
    return (
        f"{scale.jobs} jobs a round, {scale.job_rounds} rounds; all contenders in turn",
        f"raw limits with {max(scale.slots)} under way at a time",
        "a job starts two interpreters: its limit is below half of the interpreter starts",
    )
