"""Where the assets and steps of a computation lie in the enclave's memory.

    <root>/datasets/<name>      a dataset: the file, or the directory that was unpacked from it
    <root>/steps/<name>/        one step (`sandbox.step.StepSpace`)

A step's `/data` is made when its turn comes: hard links to datasets and to what earlier steps
left, so that nothing is copied, and of regular files only. It is read-only to the guest; nothing
that a step could change is linked while the step that made it still runs.
"""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from atoll.computation.manifest import Manifest, Unpacking
from atoll.computation.steps import ALGORITHM, BUNDLE, Source, Step
from atoll.enclave_storage import erase
from atoll.errors import RefusedError
from atoll_agent.sandbox.bundle.install import install_bundle, this_interpreter
from atoll_agent.sandbox.step import StepSpace
from atoll_agent.unpacking import unpack

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Staging:
    """The directories of one computation, below the workspace's root."""

    root: Path
    manifest: Manifest

    def prepare(self) -> None:
        """Make the directories."""
        self.datasets.mkdir(mode=0o700)
        self._steps.mkdir(mode=0o700)
        for step in self.manifest.steps:
            space = self.space(step.name)
            space.root.mkdir(mode=0o700)
            space.data.mkdir(mode=0o700)
            space.results.mkdir(mode=0o700)

    @property
    def datasets(self) -> Path:
        return self.root / "datasets"

    @property
    def _steps(self) -> Path:
        return self.root / "steps"

    def space(self, step: str) -> StepSpace:
        """The directory of a step."""
        return StepSpace(root=self._steps / step)

    @contextmanager
    def create(self, asset: str) -> Iterator[BinaryIO]:
        """The file for the plaintext of an asset by its name in the manifest; read-only then."""
        path = self.path(asset)
        descriptor = os.open(path, _NEW, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
            yield file
            file.flush()
            os.fchmod(descriptor, 0o400)

    def path(self, asset: str) -> Path:
        """Where an asset's plaintext goes. Arguments are not among them: they stay off files."""
        if asset in self.manifest.datasets:
            return self.datasets / asset
        step, _, part = asset.partition(".")
        space = self.space(step)
        return space.algorithm if part == ALGORITHM else space.root / "bundle.archive"

    def unpack(self) -> None:
        """Turn archives into what is in them: datasets, and bundles into installed wheels.

        Raises:
            RefusedError: `archive.*`, `bundle.*`.
        """
        for name, dataset in self.manifest.datasets.items():
            if dataset.unpack is not None:
                self._unpack(name, dataset.unpack)
        for step in self.manifest.steps:
            if step.bundle is not None:
                archive = self.path(f"{step.name}.{BUNDLE}")
                with archive.open("rb") as file:
                    install_bundle(file, self.space(step.name).bundle, this_interpreter())
                archive.unlink()

    def _unpack(self, name: str, how: Unpacking) -> None:
        archive = self.datasets / name
        packed = archive.with_name(f".{name}.packed")
        archive.rename(packed)
        try:
            unpack(packed, archive, how)
        except RefusedError as error:
            raise RefusedError(f"dataset {name!r}: {error.message}", code=error.code) from error
        finally:
            packed.unlink()

    def link_inputs(self, step: Step) -> None:
        """Make `/data` of a step, once those that it reads have run.

        Raises:
            RefusedError: `pipeline.no_such_result`: an earlier step did not leave what this one
                wants.
        """
        for name, source in sorted(step.inputs.items()):
            found = self._find(source)
            if found is None:
                raise RefusedError(
                    f"input {name!r} of step {step.name!r}: {source.step!r} left no "
                    f"{source.path or 'results'!r}",
                    code="pipeline.no_such_result",
                )
            link(found, self.space(step.name).data / name)

    def _find(self, source: Source) -> Path | None:
        if source.dataset is not None:
            return self.datasets / source.dataset
        base = self.space(str(source.step)).results
        for part in [part for part in source.path.split("/") if part]:
            base /= part
            try:
                mode = base.lstat().st_mode
            except OSError:
                return None
            if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
                return None
        return base

    def forget(self, step: str) -> None:
        """Erase what no later step and no output reads any more."""
        erase(self.space(step).data)
        shutil.rmtree(self.space(step).scratch, ignore_errors=True)


def link(source: Path, target: Path) -> None:
    """Hard-link a file, or every regular file of a tree, at another place.

    Raises:
        RefusedError: `pipeline.no_such_result`: something that is neither file nor directory.
    """
    mode = source.lstat().st_mode
    if stat.S_ISREG(mode):
        os.link(source, target, follow_symlinks=False)
        return
    if not stat.S_ISDIR(mode):
        raise RefusedError("a result is no file", code="pipeline.no_such_result")
    target.mkdir(mode=0o700)
    with os.scandir(source) as entries:
        names = [entry.name for entry in entries]
    for name in names:
        link(source / name, target / name)
