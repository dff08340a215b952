"""What the wall of each kind costs, and what a compiled module saves that is kept.

The same program behind its wall and bare, in turns, in the same run; a module that the steps of a
job share, compiled and loaded, in turns.
"""

from pathlib import Path
from typing import Final

from bench.children import call
from bench.report import Report, Table, median
from bench.scale import Scale

NAME: Final = "walls"


async def run(scale: Scale, scratch: Path) -> Report:
    """Raises: BenchError."""
    walls = await call("walls", rounds=scale.runs, scratch=str(scratch), steps=scale.steps)
    cache = await call("compile_cache", rounds=scale.runs, functions=scale.functions)
    notes = [
        f"{scale.runs} rounds, all contenders in turn; a run starts a process and sees its end",
        "bare wasm is wasmtime in an interpreter of its own, without limits",
        *(f"not measured: {why}" for why in walls["missing"]),
        f"the module to compile has {cache['size']} bytes",
    ]
    return Report(
        name=NAME,
        tables=(_wall_table(walls["seconds"]), _cache_table(cache["seconds"])),
        notes=tuple(notes),
    )


def _wall_table(seconds: dict[str, dict[str, list[float]]]) -> Table:
    rows = []
    for label, found in seconds.items():
        walled, bare = median(found["walled"]), median(found["bare"])
        rows.append((label, walled * 1000, bare * 1000, (walled - bare) * 1000, walled / bare))
    return Table(
        title="a program behind its wall and bare",
        columns=("program", "walled ms", "bare ms", "difference ms", "walled / bare"),
        rows=tuple(rows),
    )


def _cache_table(seconds: dict[str, list[float]]) -> Table:
    missed = median(seconds["miss"])
    labels = {
        "off": "compiled, nothing kept",
        "miss": "compiled and kept",
        "hit": "loaded from what was kept",
    }
    return Table(
        title="one wasm step, wall clock of the whole run",
        columns=("what", "median ms", "it / compiled and kept"),
        rows=tuple(
            (text, median(seconds[name]) * 1000, median(seconds[name]) / missed)
            for name, text in labels.items()
        ),
    )
