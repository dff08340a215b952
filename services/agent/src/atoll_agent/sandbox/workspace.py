"""The one directory of an enclave: RAM-only, private, erased.

    <root>/atoll-<enclave id>/      0700
        algorithm                   0400   what is run
        bundle.archive              0400   its dependencies, until they are installed in bundle/
        data/<name>                 0400   what the guest reads
        results/                           what the guest writes
        stdout, stderr              0600

`root` must be on a tmpfs or ramfs. Pages of a tmpfs can reach a swap device; an image
for an enclave has none, and this module does not check that. Erasing means unlinking:
the kernel zeroes a page before anybody else gets it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from atoll.enclave_storage import MEMORY_ROOT, erase, workspace_path
from atoll.errors import ConfigError, ConflictError, RefusedError
from atoll.wire.names import require_name
from atoll_agent.sandbox.procfs import filesystem_of

__all__ = ["MEMORY_ROOT", "Workspace", "erase", "open_workspace", "workspace_path"]

MEMORY_TYPES: Final = frozenset({"tmpfs", "ramfs"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """The directory, while it exists. Made by `open_workspace`."""

    root: Path

    @property
    def module(self) -> Path:
        return self.root / "algorithm"

    @property
    def bundle_archive(self) -> Path:
        return self.root / "bundle.archive"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def results(self) -> Path:
        return self.root / "results"

    @property
    def stdout(self) -> Path:
        return self.root / "stdout"

    @property
    def stderr(self) -> Path:
        return self.root / "stderr"

    @contextmanager
    def create_module(self) -> Iterator[BinaryIO]:
        """A file to write the algorithm into; read-only afterwards.

        Raises:
            ConflictError: `agent.workspace_exists`: it was written before.
        """
        with _create(self.module) as file:
            yield file

    @contextmanager
    def create_bundle(self) -> Iterator[BinaryIO]:
        """A file to write the bundle into; read-only afterwards.

        Raises:
            ConflictError: `agent.workspace_exists`: it was written before.
        """
        with _create(self.bundle_archive) as file:
            yield file

    @contextmanager
    def create_data(self, name: str) -> Iterator[BinaryIO]:
        """A file to write the dataset `name` into; read-only afterwards.

        Raises:
            InputError: `name.invalid`.
            ConflictError: `agent.workspace_exists`: it was written before.
        """
        with _create(self.data / require_name(name, "dataset")) as file:
            yield file

    def clear_outputs(self) -> None:
        """Make /results, standard output and standard error empty: the state before a run."""
        erase(self.results)
        self.results.mkdir(mode=0o700)
        for path in (self.stdout, self.stderr):
            path.unlink(missing_ok=True)
            os.close(_open(path))


@contextmanager
def open_workspace(
    enclave_id: str, *, need_bytes: int, root: Path = MEMORY_ROOT
) -> Iterator[Workspace]:
    """Make the workspace of an enclave and erase it at the end, however that comes.

    Args:
        enclave_id: a token; it names the directory.
        need_bytes: what module, data and output will take together.
        root: a directory on a tmpfs or ramfs.

    Raises:
        InputError: `name.invalid`.
        ConfigError: `agent.no_memory_storage`: `root` is not there or not in memory.
        RefusedError: `agent.no_space`.
        ConflictError: `agent.workspace_exists`: /dev/shm is open to all, so a directory that
            is already there is not ours.
    """
    path = workspace_path(enclave_id, root=root)
    _require_memory(root)
    _require_space(root, need_bytes)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError as error:
        raise ConflictError(f"{path} is there already", code="agent.workspace_exists") from error
    try:
        workspace = Workspace(root=path)
        workspace.data.mkdir(mode=0o700)
        workspace.clear_outputs()
        yield workspace
    finally:
        erase(path)


def _open(path: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o600)


@contextmanager
def _create(path: Path) -> Iterator[BinaryIO]:
    try:
        descriptor = _open(path)
    except FileExistsError as error:
        raise ConflictError(
            f"{path.name} was written before", code="agent.workspace_exists"
        ) from error
    with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
        yield file
        file.flush()
        os.fchmod(descriptor, 0o400)


def _require_memory(root: Path) -> None:
    kind = None
    with suppress(OSError):
        device = root.stat().st_dev
        mountinfo = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
        kind = filesystem_of(mountinfo, os.major(device), os.minor(device))
    if kind not in MEMORY_TYPES:
        raise ConfigError(
            f"{root} is on {kind or 'no file system that can be told'}, want tmpfs or ramfs",
            code="agent.no_memory_storage",
            hint="plaintext is only ever written to memory: mount a tmpfs there",
        )


def _require_space(root: Path, need_bytes: int) -> None:
    status = os.statvfs(root)
    free = status.f_bavail * status.f_frsize
    # A ramfs has no size and reports none.
    if status.f_blocks and free < need_bytes:
        raise RefusedError(
            f"{root} has {free} bytes free, this job needs {need_bytes}", code="agent.no_space"
        )
