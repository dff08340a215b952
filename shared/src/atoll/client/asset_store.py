"""An owner's assets in ATOLL_HOME/assets: `<name>.json`, mode 0600, and a lock for each.

What is lost here is lost: nobody else has the content keys.
"""

import fcntl
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from atoll.client.asset_record import MAX_RECORD, AssetRecord
from atoll.client.files import make_private_directory, read_private, write_private
from atoll.errors import AtollError, ConfigError, ConflictError, InputError, NotFoundError
from atoll.sealing.release import ReleasedKey
from atoll.wire.names import require_name

FOLDER: Final = "assets"


@dataclass(frozen=True, slots=True)
class AssetStore:
    home: Path

    def path(self, name: str) -> Path:
        """Raises: InputError `name.invalid`."""
        return self.home / FOLDER / f"{require_name(name, 'asset name')}.json"

    def load(self, name: str) -> AssetRecord:
        """The record `name`.

        Raises:
            NotFoundError: `asset.not_found`.
            InputError: `name.invalid`, `file.unreadable`, `asset.malformed` (also for a file that
                holds another asset's record).
        """
        path = self.path(name)
        try:
            record = AssetRecord.from_bytes(read_private(path, limit=MAX_RECORD))
        except NotFoundError as error:
            raise NotFoundError(
                f"there is no asset {name!r}",
                code="asset.not_found",
                hint="`atoll asset list` shows those that are here",
            ) from error
        except InputError as error:
            if error.code == "file.unreadable":
                raise
            raise _malformed(name, f"{path}: {error.message}") from error
        if record.name != name:
            raise _malformed(name, f"{path} holds the record of {record.name!r}")
        return record

    def find(self, name: str) -> AssetRecord | None:
        """The record `name`, or None. Raises: as `load`, but for `asset.not_found`."""
        try:
            return self.load(name)
        except NotFoundError:
            return None

    def save(self, record: AssetRecord) -> None:
        """Keep the record under its name, in place of what was there.

        Raises:
            InputError: `name.invalid`.
            ConfigError: `file.unwritable`.
        """
        write_private(self.path(record.name), record.to_bytes())

    def remove(self, name: str) -> None:
        """Forget an asset and its keys, whatever its file holds; what the disk keeps stays.

        Raises:
            NotFoundError: `asset.not_found`.
            InputError: `name.invalid`.
            ConfigError: `file.unwritable`.
        """
        path = self.path(name)
        try:
            path.unlink()
        except FileNotFoundError as error:
            raise NotFoundError(f"there is no asset {name!r}", code="asset.not_found") from error
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}", code="file.unwritable") from error

    def names(self) -> tuple[str, ...]:
        """The names of all assets, in order; of damaged ones too."""
        return tuple(sorted(path.stem for path in (self.home / FOLDER).glob("[!.]*.json")))

    def secrets_for(self, asset_ids: Collection[str]) -> Mapping[str, ReleasedKey]:
        """Content key and salt of those of `asset_ids` that are here, as `Releaser` wants them.

        Raises:
            InputError: one is missing, and a record that cannot be read may be it.
        """
        found: dict[str, ReleasedKey] = {}
        trouble: AtollError | None = None
        for name in self.names():
            try:
                record = self.load(name)
            except NotFoundError:
                continue  # deleted meanwhile
            except InputError as error:
                trouble = error
                continue
            if record.asset_id in asset_ids:
                found[record.asset_id] = record.released
        if trouble is not None and set(asset_ids) - found.keys():
            raise trouble
        return found

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Keep other processes from putting or deleting the same asset meanwhile.

        Raises:
            ConflictError: `asset.busy`.
            InputError: `name.invalid`.
            ConfigError: `file.unwritable`.
        """
        path = self.path(name).with_suffix(".lock")
        try:
            make_private_directory(path.parent)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}", code="file.unwritable") from error
        try:
            try:
                # The kernel takes it away when the process dies, however that happens.
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ConflictError(
                    f"another process is putting or deleting the asset {name!r}",
                    code="asset.busy",
                    hint="wait until it has ended",
                ) from error
            yield
        finally:
            os.close(descriptor)


def _malformed(name: str, why: str) -> InputError:
    return InputError(
        why,
        code="asset.malformed",
        hint=f"restore the file from a backup, or give the asset up: "
        f"`atoll asset delete {name} --local`",
    )
