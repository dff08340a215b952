"""Policies in ATOLL_HOME/policies: one state file for each name, and one lock for all."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from atoll.client.files import make_private_directory, read_private, write_private
from atoll.errors import ConfigError, ConflictError, NotFoundError
from atoll.policy.state import MAX_STATE, PolicyState
from atoll.wire.names import require_name


@dataclass(frozen=True, slots=True)
class FilePolicyStore:
    """A `PolicyStore` in files; writers exclude each other by an advisory lock."""

    directory: Path

    def load(self, name: str) -> PolicyState | None:
        """The state of a name, or None.

        Raises:
            InputError: `name.invalid`, `policy.invalid`, `json.*`, `file.unreadable`.
        """
        try:
            return PolicyState.from_bytes(read_private(self._path(name), limit=MAX_STATE))
        except NotFoundError:
            return None

    def replace(self, old: PolicyState | None, new: PolicyState) -> None:
        """Store `new` if `old` is still what is there.

        Raises:
            ConflictError: `policy.conflict`: somebody activated another document meanwhile.
            ConfigError: `file.unwritable`.
        """
        with self._locked():
            if self.load(new.name) != old:
                raise ConflictError(
                    f"policy {new.name!r} was changed by somebody else meanwhile",
                    code="policy.conflict",
                    hint="look at it again, then activate",
                )
            write_private(self._path(new.name), new.to_bytes())

    def _path(self, name: str) -> Path:
        return self.directory / f"{require_name(name, 'policy name')}.json"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            make_private_directory(self.directory)
            descriptor = os.open(self.directory / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigError(
                f"{self.directory}: {error.strerror}", code="file.unwritable"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
