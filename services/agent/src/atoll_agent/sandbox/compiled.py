"""Compiled modules that the steps of one job share: kept by the agent, never read by it.

A worker that has to compile gets an empty memory file and leaves the artifact there, sealed,
before the guest runs (`artifact`). The agent keeps the file under the SHA-256 that it took of the
module itself, and gives it to the next worker that runs the same module under the same engine.
Nothing has a name in a file system, nothing comes from outside the process, and all of it goes
with the job. A worker that finds it missing, damaged or made by another engine compiles anew.

What a module that breaks the compiler could leave is loaded for that module alone, in a worker that
would have compiled it with the same end.
"""

import hashlib
import os
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Final, Self

from atoll_agent.sandbox import artifact
from atoll_agent.sandbox.limits import MAX_KEPT_ARTIFACTS, MAX_KEPT_MODULE
from atoll_agent.sandbox.step import Step

ENGINE: Final = "1"
"""Of `engine._config`: to be changed with it. wasmtime compares its part of it once more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A memory file for one worker: to be filled, or `known`: to be loaded."""

    key: str
    descriptor: int
    known: bool


@dataclass(slots=True)
class CompiledModules:
    """The artifacts of one job, while the context is entered."""

    _kept: dict[str, int] = field(default_factory=dict)
    _bytes: int = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._kept:
            os.close(self._kept.popitem()[1])
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def offer(self, step: Step) -> Offer | None:
        """What the worker of a step gets; None: the module is too large to be kept. Blocks."""
        key = key_of(step.space.algorithm, counts_fuel=step.limits.fuel > 0)
        if key is None:
            return None
        if (descriptor := self._kept.get(key)) is not None:
            return Offer(key=key, descriptor=descriptor, known=True)
        return Offer(key=key, descriptor=artifact.create(), known=False)

    def settle(self, offer: Offer) -> None:
        """The worker is gone: keep what it left, if it was sealed; else let go of it."""
        if offer.known:
            return
        size = artifact.size_if_sealed(offer.descriptor)
        if not size or self._bytes + size > MAX_KEPT_ARTIFACTS or offer.key in self._kept:
            os.close(offer.descriptor)
            return
        self._kept[offer.key] = offer.descriptor
        self._bytes += size


def key_of(module: Path, *, counts_fuel: bool) -> str | None:
    """SHA-256 of the module, and everything that decides what is compiled from it."""
    with module.open("rb") as file:
        raw = file.read(MAX_KEPT_MODULE + 1)
    if len(raw) > MAX_KEPT_MODULE:
        return None
    digest = hashlib.sha256(raw).hexdigest()
    return f"{digest} wasmtime {version('wasmtime')} engine {ENGINE} fuel {counts_fuel:d}"
