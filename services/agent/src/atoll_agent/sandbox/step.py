"""One step of a computation as a sandbox sees it: files, arguments, limits. Values only.

The contract is the same for every kind of workload:

    /data/<name>    read-only: a file, or a directory for what was unpacked or made by a step
    /results        writable, comes back
    arguments, environment, exit code, standard output, standard error
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from atoll_agent.sandbox.limits import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSpace:
    """The directories and files of one step, below one directory on a tmpfs (`workspace`).

    algorithm       0400 (0500 for a binary)
    bundle/         the installed dependencies of a python step, or not there
    data/           what the guest reads
    results/        what the guest writes
    scratch/        the guest's /tmp, where its sandbox gives it one
    stdout, stderr  0600
    """

    root: Path

    @property
    def algorithm(self) -> Path:
        return self.root / "algorithm"

    @property
    def bundle(self) -> Path:
        return self.root / "bundle"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def results(self) -> Path:
        return self.root / "results"

    @property
    def scratch(self) -> Path:
        return self.root / "scratch"

    @property
    def stdout(self) -> Path:
        return self.root / "stdout"

    @property
    def stderr(self) -> Path:
        return self.root / "stderr"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What to run once."""

    space: StepSpace
    entry: str = ""
    """python: empty for a script, `module:function` or `module` for a wheel. Else empty."""
    args: tuple[str, ...] = field(default=(), repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    limits: Limits
