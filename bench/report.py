"""What a benchmark found: tables for a person, the same values for `--json`."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Cell = str | int | float | None


class BenchError(Exception):
    """Something did not work, so there is nothing to report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under named columns. Numbers keep their precision in JSON."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def text(self) -> str:
        """For a person: first column to the left, the others to the right."""
        shown = [self.columns, *(tuple(map(_shown, row)) for row in self.rows)]
        widths = [max(len(row[index]) for row in shown) for index in range(len(self.columns))]
        lines = [_line(row, widths) for row in shown]
        rule = "  ".join("-" * width for width in widths)
        return "\n".join((self.title, "", lines[0], rule, *lines[1:]))

    def plain(self) -> dict[str, Any]:
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        return {"title": self.title, "rows": rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One benchmark's tables, and what must be known to read them."""

    name: str
    tables: tuple[Table, ...]
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        heading = f"{self.name}\n{'=' * len(self.name)}"
        notes = "\n".join(f"* {note}" for note in self.notes)
        return "\n\n".join((heading, *(table.text() for table in self.tables), notes)).rstrip()

    def plain(self) -> dict[str, Any]:
        tables = [table.plain() for table in self.tables]
        return {"name": self.name, "tables": tables, "notes": list(self.notes)}


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def percentile_90(values: Sequence[float]) -> float:
    """The smallest value that at least nine of ten do not exceed."""
    return percentile(values, 0.9)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least so large a share does not exceed."""
    ordered = sorted(values)
    # A share is no exact fraction: 0.9 of 10 are 9, and not a little more.
    return ordered[math.ceil(round(share * len(ordered), 6)) - 1]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(row, widths, strict=True)
    cells = [first[0].ljust(first[1]), *(text.rjust(width) for text, width in others)]
    return "  ".join(cells).rstrip()


def _shown(cell: Cell) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return (
            f"{cell:.0f}"
            if abs(cell) >= 100
            else f"{cell:.1f}"
            if abs(cell) >= 10
            else f"{cell:.2f}"
        )
    return str(cell)
