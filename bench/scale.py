"""How large a run is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Sizes and repetitions of all benchmarks."""

    name: str
    dataset_sizes: tuple[int, ...]
    dataset_rounds: int
    memory_size: int
    """Dataset of the job whose processes' memory is looked at."""
    slots: tuple[int, ...]
    jobs: int
    """Jobs in each round."""
    job_rounds: int
    runs: int
    """Runs whose latency is measured."""
    machine_runs: int
    """Likewise, in virtual machines."""
    warm_ups: int
    starts: int
    """Process starts and guest runs in one measurement of a raw limit."""
    messages: int
    steps: Mapping[str, int]
    """By kind: the work of a program behind its wall."""
    functions: int
    """Of the module that is compiled and kept."""
    fleets: tuple[int, ...]
    """Hosts; the first is what the others are compared to."""
    stored: tuple[int, ...]
    """Jobs in the ledger; likewise."""
    fleet_jobs: int
    fleet_rounds: int
    live: tuple[int, int]
    """Hosts, and enclaves on each, that are all alive at once."""
    idle_s: float
    """How long a fleet is watched that has nothing to do."""


FULL: Final = Scale(
    name="full",
    dataset_sizes=(64 * MIB, 1024 * MIB),
    dataset_rounds=3,
    memory_size=1024 * MIB,
    slots=(2, 4),
    jobs=48,
    job_rounds=3,
    runs=30,
    machine_runs=5,
    warm_ups=3,
    starts=32,
    messages=2000,
    steps={"wasm": 800000000, "binary": 800000000, "docker": 800000000, "python": 4000000},
    functions=3000,
    fleets=(10, 100, 1000),
    stored=(100, 1000, 10_000, 100_000),
    fleet_jobs=150,
    fleet_rounds=3,
    live=(100, 10),
    idle_s=6.0,
)
QUICK: Final = Scale(
    name="quick",
    dataset_sizes=(64 * MIB,),
    dataset_rounds=3,
    memory_size=64 * MIB,
    slots=(2, 4),
    jobs=16,
    job_rounds=1,
    runs=10,
    machine_runs=2,
    warm_ups=1,
    starts=16,
    messages=500,
    steps={"wasm": 200000000, "binary": 200000000, "docker": 200000000, "python": 1000000},
    functions=1500,
    fleets=(10, 100),
    stored=(100, 10_000),
    fleet_jobs=100,
    fleet_rounds=1,
    live=(20, 10),
    idle_s=5.0,
)
TINY: Final = Scale(
    name="tiny",
    dataset_sizes=(2 * MIB,),
    dataset_rounds=1,
    memory_size=2 * MIB,
    slots=(2,),
    jobs=4,
    job_rounds=1,
    runs=1,
    machine_runs=1,
    warm_ups=0,
    starts=2,
    messages=20,
    steps={"wasm": 800000, "binary": 800000, "docker": 800000, "python": 4000},
    functions=50,
    fleets=(1, 3),
    stored=(2, 20),
    fleet_jobs=4,
    fleet_rounds=1,
    live=(2, 2),
    idle_s=0.2,
)
"""Its numbers mean nothing; it shows that every benchmark works."""
