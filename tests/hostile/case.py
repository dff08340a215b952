"""What a hostile workload is, and what it may come to."""

from collections.abc import Callable
from dataclasses import dataclass, field

from atoll.computation.steps import WorkloadKind
from atoll_agent.sandbox.limits import MIB, Limits

SMALL = Limits(
    wall_s=3,
    memory_bytes=96 * MIB,
    processes=24,
    open_files=64,
    output_bytes=4 * MIB,
    output_files=64,
    log_bytes=64 << 10,
    scratch_bytes=4 * MIB,
)
"""So that a bomb is over in seconds."""
ENDED = frozenset({"workload.exited", "workload.exit_nonzero"})
"""It ended by itself: what it tried is in what it printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One workload that wants to do harm."""

    name: str
    kind: WorkloadKind
    algorithm: Callable[[], bytes]
    codes: frozenset[str]
    """The endings that are no escape."""
    args: tuple[str, ...] = ()
    entry: str = ""
    bundle: Callable[[], bytes] | None = None
    limits: Limits = SMALL
    said: bytes = b""
    """Must stand in its output, or nothing was tried."""
    env: dict[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"{self.kind.value}: {self.name}"


def codes(*names: str) -> frozenset[str]:
    """Endings by the last part of their code."""
    return frozenset(f"workload.{name}" for name in names)
