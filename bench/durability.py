"""What it costs that an acknowledged message stays: copies, and forcing to the disk.

One client publishes small messages to a stream and waits for each acknowledgement: one after the
other, which is what a single job feels, and many under way, which is what a busy bus can take.
The settings take turns; each has a server, or three, of its own, idle while the others work.
"""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import cluster
from bench.children import call
from bench.report import Report, Table, median
from bench.scale import Scale

NAME: Final = "durability"
FLYING: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One row."""

    label: str
    replicas: int
    sync: str
    persist: str = "default"


SETTINGS: Final = (
    Setting(label="one copy, disk every 2 min", replicas=1, sync="2m"),
    Setting(label="one copy, persist async", replicas=1, sync="2m", persist="async"),
    Setting(label="one copy, disk always", replicas=1, sync="always"),
    Setting(label="three copies, disk every 2 min", replicas=3, sync="2m"),
    Setting(label="three copies, disk always", replicas=3, sync="always"),
)


async def run(scale: Scale, scratch: Path) -> Report:
    """Raises: BenchError."""
    one: dict[str, list[float]] = {setting.label: [] for setting in SETTINGS}
    many: dict[str, list[float]] = {setting.label: [] for setting in SETTINGS}
    async with AsyncExitStack() as context:
        buses = {
            key: await context.enter_async_context(cluster.servers(scratch, *key))
            for key in sorted({(setting.replicas, setting.sync) for setting in SETTINGS})
        }
        for _ in range(scale.job_rounds):
            for setting in SETTINGS:
                found = await call(
                    "durable",
                    count=scale.messages,
                    flying=FLYING,
                    replicas=setting.replicas,
                    persist=setting.persist,
                    **buses[setting.replicas, setting.sync],
                )
                one[setting.label].append(found["one_ms"])
                many[setting.label].append(found["rate"])
    return Report(name=NAME, tables=(_table(one, many),), notes=_notes(scale))


def _table(one: dict[str, list[float]], many: dict[str, list[float]]) -> Table:
    first = SETTINGS[0].label
    base_ms, base_rate = median(one[first]), median(many[first])
    rows = tuple(
        (
            label,
            median(one[label]),
            median(one[label]) / base_ms,
            median(many[label]),
            base_rate / median(many[label]),
        )
        for label in one
    )
    return Table(
        title="publish with acknowledgement, 256 bytes",
        columns=(
            "setting",
            "ms, one at a time",
            "x first",
            f"msgs/s, {FLYING} at a time",
            "first / it",
        ),
        rows=rows,
    )


def _notes(scale: Scale) -> tuple[str, ...]:
    return (
        f"{scale.messages} messages of each kind in a round, {scale.job_rounds} round(s); medians",
        "all servers share this machine's cores and its one disk",
    )
