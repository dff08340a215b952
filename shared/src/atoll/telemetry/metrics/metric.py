"""What a metric is, and the interface through which all code counts. Pure.

No label holds an id, a name that somebody chose, or anything of a job: either its values are a
closed set, or they are codes of errors, of which each metric keeps only so many apart.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

MAX_CODES: Final = 64
"""Different codes that one metric tells apart; an enclave may report what it likes."""
OTHER: Final = "other"
"""Stands for every further code."""
OK: Final = "ok"
"""The code of what did not fail."""

_NAME: Final = re.compile(r"atoll_[a-z]+(_[a-z]+)*")
_UNITS: Final = ("", "seconds", "bytes")


class Kind(Enum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Label:
    """One label; with `values`, one of these; without, a code of an error or what we configured."""

    name: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One row of the table.

    Raises:
        ValueError: the name does not follow Prometheus's conventions (counters end in `_total`,
            units are base units and stand in the name).
    """

    name: str
    """As it is scraped; of a histogram, without `_bucket`, `_sum` and `_count`."""
    kind: Kind
    text: str
    services: tuple[str, ...]
    labels: tuple[Label, ...] = ()
    unit: str = ""
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram, without the infinite one."""

    def __post_init__(self) -> None:
        base = self.name.removesuffix("_total")
        counts = self.kind is Kind.COUNTER
        if not _NAME.fullmatch(self.name) or counts != self.name.endswith("_total"):
            raise ValueError(f"{self.name} is no name of a {self.kind.value}")
        if self.unit not in _UNITS or (self.unit and not base.endswith(f"_{self.unit}")):
            raise ValueError(f"{self.name} is not in {self.unit}")
        if (self.kind is Kind.HISTOGRAM) != bool(self.buckets):
            raise ValueError(f"{self.name}: buckets are what a histogram has")

    @property
    def label_names(self) -> tuple[str, ...]:
        return tuple(label.name for label in self.labels)

    @property
    def series(self) -> tuple[str, ...]:
        """The names under which samples of it appear."""
        if self.kind is not Kind.HISTOGRAM:
            return (self.name,)
        return tuple(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))


class Meter(Protocol):
    """Where numbers go. None of these raises for what a peer sent."""

    def count(self, metric: Metric, by: float = 1.0, /, **labels: str) -> None:
        """Add to a counter."""
        ...

    def observe(self, metric: Metric, value: float, /, **labels: str) -> None:
        """One observation of a histogram."""
        ...

    def put(self, metric: Metric, value: float, /, **labels: str) -> None:
        """What a gauge is from now on."""
        ...

    def follow(self, metric: Metric, read: Callable[[], float], /, **labels: str) -> None:
        """Ask `read` for a gauge whenever it is scraped; it must be quick and may come from
        another thread."""
        ...

    def clear(self, metric: Metric, /) -> None:
        """Forget a gauge: it is not known any more."""
        ...


class Unmetered:
    """Nobody wants to know."""

    def count(self, metric: Metric, by: float = 1.0, /, **labels: str) -> None:
        pass

    def observe(self, metric: Metric, value: float, /, **labels: str) -> None:
        pass

    def put(self, metric: Metric, value: float, /, **labels: str) -> None:
        pass

    def follow(self, metric: Metric, read: Callable[[], float], /, **labels: str) -> None:
        pass

    def clear(self, metric: Metric, /) -> None:
        pass


UNMETERED: Final[Meter] = Unmetered()
