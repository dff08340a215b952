"""The algorithms of a pipeline, each run once in the same enclave, and what flows between them.

A step sees its inputs read-only under `/data/<name>` and writes `/results`. What it writes is
seen by the steps that name it as a source and, by way of outputs, by consumers; nothing of it
leaves the enclave otherwise.
"""

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Annotated, Final

from atoll.computation.assets import AssetRef
from atoll.errors import ManifestError
from atoll.wire.schema import Name, Pattern, Range, Size, message

MAX_STEPS: Final = 16
MAX_PATH: Final = 512

ALGORITHM: Final = "algorithm"
BUNDLE: Final = "bundle"
INVOCATION: Final = "invocation"

StepName = Annotated[str, Pattern(r"[a-z][a-z0-9_-]{0,31}")]
ResultPath = Annotated[
    str,
    Size(0, MAX_PATH),
    Pattern(
        r"(?:(?!\.\.?(?:/|$))[^/\\\x00-\x1f\x7f]{1,255}(?:/(?!\.\.?(?:/|$))[^/\\\x00-\x1f\x7f]{1,255}){0,15})?"
    ),
]
"""A path below `/results` without `.` and `..`; empty for all of it."""


_NAMES: Final = r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*"
Entry = Annotated[str, Pattern(rf"(?:{_NAMES}(?::{_NAMES})?)?"), Size(0, 256)]
"""Nothing, `module`, or `module:function`; both may be dotted names."""


class WorkloadKind(Enum):
    """What an algorithm is."""

    WASM = "wasm"
    BINARY = "binary"
    PYTHON = "python"
    DOCKER = "docker"


@message
class Source:
    """Where an input comes from: a dataset, or (part of) what an earlier step left."""

    dataset: Name | None = None
    step: StepName | None = None
    path: ResultPath = ""
    """With `step`: a file or directory below its `/results`; empty: all of it."""


@message
class StepLimits:
    """What one step may use. Zero is no limit beyond the others."""

    wall_s: Annotated[int, Range(1, 604_800)] = 300
    cpu_s: Annotated[int, Range(0, 1 << 30)] = 0
    memory_bytes: Annotated[int, Range(1 << 16, 1 << 40)] = 1 << 30
    fuel: Annotated[int, Range(0, 1 << 52)] = 0
    """WebAssembly instructions, roughly."""
    processes: Annotated[int, Range(1, 4096)] = 64
    open_files: Annotated[int, Range(16, 65_536)] = 256
    scratch_bytes: Annotated[int, Range(0, 16 << 30)] = 256 << 20
    output_bytes: Annotated[int, Range(0, 16 << 30)] = 256 << 20
    output_files: Annotated[int, Range(0, 4096)] = 1024
    log_bytes: Annotated[int, Range(0, 64 << 20)] = 1 << 20
    """Of standard output, and again of standard error."""


@message
class Step:
    """One algorithm with everything that shapes its run."""

    name: StepName
    kind: WorkloadKind
    algorithm: AssetRef
    entry: Entry = ""
    """python: what to start in the bundle, or in the algorithm if that is a wheel, as `module` or
    `module:function`; empty: the algorithm is a script."""
    bundle: AssetRef | None = None
    """python: an archive of wheels and the lock that names them, installed without a network."""
    invocation: AssetRef
    """Arguments and environment (`atoll.invocation`)."""
    inputs: Annotated[dict[str, Source], Size(0, 64)]
    limits: StepLimits

    def assets(self) -> Iterator[tuple[str, AssetRef]]:
        """What must be opened for this step alone, by the name that a release has for it."""
        yield f"{self.name}.{ALGORITHM}", self.algorithm
        if self.bundle is not None:
            yield f"{self.name}.{BUNDLE}", self.bundle
        yield f"{self.name}.{INVOCATION}", self.invocation


def require_steps(steps: tuple[Step, ...], datasets: Mapping[str, object]) -> None:
    """Check that every source exists and that the steps can run one after the other.

    Raises:
        ManifestError: `manifest.step`: a name twice, or a field that is not of its kind;
            `manifest.source`: an input from nowhere; `manifest.cycle`.
    """
    known = {step.name for step in steps}
    if len(known) != len(steps):
        raise _error("step", "a step stands twice")
    for step in steps:
        python = step.kind is WorkloadKind.PYTHON
        if not python and (step.entry or step.bundle is not None):
            raise _error("step", f"step {step.name!r}: only python has an entry point and a bundle")
        for name, source in step.inputs.items():
            _require_source(f"input {name!r} of step {step.name!r}", source, known, datasets)
    order(steps)


def order(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps so that each comes after those whose results it reads.

    Of those that could be next, the one that stands first in the manifest is: every enclave
    runs them in the same order.

    Raises:
        ManifestError: `manifest.cycle`.
    """
    waiting, done = list(steps), set[str]()
    found: list[Step] = []
    while waiting:
        ready = next((step for step in waiting if _reads(step) <= done), None)
        if ready is None:
            names = ", ".join(step.name for step in waiting)
            raise _error("cycle", f"steps {names} wait for each other")
        waiting.remove(ready)
        done.add(ready.name)
        found.append(ready)
    return tuple(found)


def behind(steps: tuple[Step, ...], name: str) -> frozenset[str]:
    """A step and all those whose results it reads, directly or through others."""
    by_name = {step.name: step for step in steps}
    found: set[str] = set()
    waiting = [name]
    while waiting:
        step = waiting.pop()
        if step not in found:
            found.add(step)
            waiting.extend(_reads(by_name[step]))
    return frozenset(found)


def _reads(step: Step) -> set[str]:
    return {source.step for source in step.inputs.values() if source.step is not None}


def _require_source(
    what: str, source: Source, steps: set[str], datasets: Mapping[str, object]
) -> None:
    if (source.dataset is None) == (source.step is None):
        raise _error("source", f"{what} is of a dataset or of a step")
    if source.dataset is not None and source.dataset not in datasets:
        raise _error("source", f"{what} is of the dataset {source.dataset!r}, which is not there")
    if source.step is not None and source.step not in steps:
        raise _error("source", f"{what} is of the step {source.step!r}, which is not there")
    if source.dataset is not None and source.path:
        raise _error("source", f"{what} has a path, which only a step's results have")


def _error(code: str, why: str) -> ManifestError:
    return ManifestError(f"manifest: {why}", code=f"manifest.{code}")
