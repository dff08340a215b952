"""A trace as a waterfall for the terminal, and as JSON.

Both are total and deterministic: whatever the spans hold, the same spans give the same
text. Span and service names come from the bus, so anything but printable ASCII is
replaced before it reaches a terminal (an escape sequence could rewrite the screen).
"""

from collections.abc import Iterable, Sequence
from typing import Final

from atoll.ascii_text import printable
from atoll.telemetry.span import Span, Status
from atoll.telemetry.tree import Node, build_tree, walk

MIN_WIDTH: Final = 72
MAX_LABEL: Final = 120
"""Characters of a name that are looked at."""
_SERVICE_WIDTH: Final = 8
_TIME_WIDTH: Final = 8
_PREFIX: Final = "atoll-"

_RESET: Final = "\x1b[0m"
_BOLD: Final = "\x1b[1m"
_DIM: Final = "\x1b[2m"
_RED: Final = "\x1b[31m"
_PALETTE: Final = ("\x1b[36m", "\x1b[33m", "\x1b[35m", "\x1b[32m", "\x1b[34m", "\x1b[96m")

_Row = tuple[Node, tuple[bool, ...]]


def render(spans: Iterable[Span], *, width: int = 100, color: bool = False) -> str:
    """The drawing, lines of at most `width` columns (at least 72), each ended by a newline."""
    rows = list(walk(build_tree(spans)))
    if not rows:
        return "no spans\n"
    return "".join(line + "\n" for line in _Drawing(rows, max(width, MIN_WIDTH), color).lines())


class _Drawing:
    """Column widths, the time window and the colours of one drawing."""

    def __init__(self, rows: Sequence[_Row], width: int, color: bool) -> None:  # noqa: FBT001
        self._rows = rows
        self._width = width
        self._color = color
        self._start = min(node.start_ns for node, _ in rows)
        self._total = max(max(node.end_ns for node, _ in rows) - self._start, 1)
        services = list(dict.fromkeys(_service(node.span) for node, _ in rows))
        self._colors = {
            service: _PALETTE[index % len(_PALETTE)] for index, service in enumerate(services)
        }
        fixed = _SERVICE_WIDTH + 2 * _TIME_WIDTH + 6
        longest = max(len(_label(node, path)) for node, path in rows)
        self._name_width = min(max(longest, 4), (width - fixed) * 11 // 20)
        self._bar_width = width - fixed - self._name_width

    def lines(self) -> list[str]:
        return [*self._title(), "", self._heads(), *(self._line(*row) for row in self._rows)]

    def _title(self) -> list[str]:
        """What the trace amounts to, on one line where that fits."""
        traces = list(dict.fromkeys(node.span.context.trace_id for node, _ in self._rows))
        title = f"trace {traces[0]}"
        if len(traces) > 1:
            title += f" and {len(traces) - 1} more"
        facts = [
            _counted(len(self._rows), "span"),
            _counted(len(self._colors), "service"),
            duration(self._total),
        ]
        failed = sum(node.span.status is Status.ERROR for node, _ in self._rows)
        if failed:
            facts.append(f"{failed} failed")
        summary = ", ".join(facts)
        if len(title) + 2 + len(summary) > self._width:
            return [self._paint(title, _BOLD), self._paint(summary, _DIM)]
        return [self._paint(title, _BOLD) + self._paint("  " + summary, _DIM)]

    def _heads(self) -> str:
        heads = (
            f"{'service':<{_SERVICE_WIDTH}} {'span':<{self._name_width}} "
            f"{'start':>{_TIME_WIDTH}}  {'time':>{_TIME_WIDTH}}  {self._axis()}"
        )
        return self._paint(heads.rstrip(), _DIM)

    def _axis(self) -> str:
        """Labels at even distances, each beginning at the moment it names."""
        ticks = min(4, self._bar_width // (_TIME_WIDTH + 2))
        axis = ""
        for tick in range(ticks):
            axis = f"{axis:<{self._bar_width * tick // ticks}}"
            axis += duration(self._total * tick // ticks)
        return axis

    def _line(self, node: Node, path: tuple[bool, ...]) -> str:
        failed = node.span.status is Status.ERROR
        tint = self._colors[_service(node.span)]
        label = _clip(_label(node, path), self._name_width)
        start = ("~" if node.shift_ns else "") + duration(node.start_ns - self._start)
        parts = [
            self._paint(f"{_clip(_service(node.span), _SERVICE_WIDTH):<{_SERVICE_WIDTH}}", tint),
            " ",
            self._paint(f"{label:<{self._name_width}}", _RED if failed else ""),
            self._paint(f" {start:>{_TIME_WIDTH}}", _DIM),
            f"  {duration(node.span.duration_ns):>{_TIME_WIDTH}}  ",
            self._bar(node, _RED if failed else tint),
        ]
        return "".join(parts).rstrip()

    def _bar(self, node: Node, tint: str) -> str:
        """Drawn in half cells, so that short spans beside each other stay apart."""
        halves = 2 * self._bar_width
        begin = min((node.start_ns - self._start) * halves // self._total, halves - 1)
        end = -(-(node.end_ns - self._start) * halves // self._total)
        end = max(begin + 1, min(end, halves))
        cells = "".join(
            {(True, True): "━", (False, True): "╺", (True, False): "╸"}[
                begin <= cell < end, begin <= cell + 1 < end
            ]
            for cell in range(begin - begin % 2, end, 2)
        )
        return " " * (begin // 2) + self._paint(cells, tint)

    def _paint(self, text: str, style: str) -> str:
        return f"{style}{text}{_RESET}" if self._color and style else text


def to_json(spans: Iterable[Span]) -> list[dict[str, object]]:
    """The rows of the drawing as plain values, parents first.

    Times are microseconds: `start_us` from the earliest span on, clock skew taken out.
    """
    rows = list(walk(build_tree(spans)))
    origin = min((node.start_ns for node, _ in rows), default=0)
    return [
        {
            "trace_id": node.span.context.trace_id,
            "span_id": node.span.context.span_id,
            "parent_id": node.span.parent_id,
            "depth": node.depth,
            "orphan": node.orphan,
            "service": node.span.service,
            "instance": node.span.instance,
            "name": node.span.name,
            "kind": node.span.kind.name.lower(),
            "status": node.span.status.name.lower(),
            "start_us": (node.start_ns - origin) // 1000,
            "duration_us": node.span.duration_ns // 1000,
            "skew_us": node.shift_ns // 1000,
            "attributes": dict(node.span.attributes),
        }
        for node, _ in rows
    ]


def duration(ns: int) -> str:
    """At most 8 characters with a unit that suits the size: `12 us`, `3.4 ms`, `1.23 s`."""
    if ns < 1_000_000:  # noqa: PLR2004
        return f"{ns // 1000} us" if ns else "0"
    for limit, unit, text in ((10**9, 10**6, "ms"), (100 * 10**9, 10**9, "s")):
        if ns < limit:
            value = ns / unit
            digits = 2 if text == "s" else 1
            return f"{value:.{digits}f} {text}"
    seconds = ns // 10**9
    hours = seconds // 3600
    if hours < 100:  # noqa: PLR2004
        return f"{hours}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{hours // 24} d" if hours < 24 * 1_000_000 else "ages"


def _label(node: Node, path: tuple[bool, ...]) -> str:
    indent = "".join("  " if last else "│ " for last in path[:-1])
    if path:
        indent += "└ " if path[-1] else "├ "
    label = indent + ("… " if node.orphan else "") + printable(node.span.name, MAX_LABEL)
    if node.span.status is Status.ERROR:
        code = node.span.attribute("error.type")
        label += " ✗ " + (printable(code, MAX_LABEL) if isinstance(code, str) else "failed")
    return label


def _service(span: Span) -> str:
    return printable(span.service.removeprefix(_PREFIX), MAX_LABEL) or "?"


def _clip(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
