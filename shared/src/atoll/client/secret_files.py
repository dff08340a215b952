"""The keys of one's own assets, each in a file of mode 0600 named after the asset's id.

{"format": "atoll-asset-secret", "version": 1, "asset_id": hex, "content_key": hex,
 "salt": hex}
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from atoll import canonical
from atoll.client.files import read_private, write_private
from atoll.computation.assets import AssetId
from atoll.errors import InputError, NotFoundError
from atoll.sealing.release import ReleasedKey
from atoll.wire import schema
from atoll.wire.schema import Pattern, message

FORMAT: Final = "atoll-asset-secret"
VERSION: Final = 1
MAX_FILE: Final = 4096
DIRECTORY: Final = "asset-secrets"
"""Below ATOLL_HOME."""

SecretsFor = Callable[[Collection[str]], Mapping[str, ReleasedKey]]
"""The keys of those of these assets of which there are any, by asset id."""


def first_of(*sources: SecretsFor) -> SecretsFor:
    """Asks each source for what those before it did not have."""

    def secrets_for(asset_ids: Collection[str]) -> Mapping[str, ReleasedKey]:
        found: dict[str, ReleasedKey] = {}
        for source in sources:
            if wanted := [one for one in asset_ids if one not in found]:
                found |= source(wanted)
        return found

    return secrets_for


_Secret = Annotated[str, Pattern(r"[0-9a-f]{64}")]


@message
class _File:
    format: Annotated[str, Pattern(FORMAT)]
    version: int
    asset_id: AssetId
    content_key: _Secret
    salt: _Secret


@dataclass(frozen=True, slots=True)
class SecretFiles:
    """A directory of such files."""

    directory: Path

    def save(self, asset_id: str, key: ReleasedKey) -> Path:
        """Keep a key. Raises: ConfigError: `file.exists`, `file.unwritable`."""
        path = self._path(asset_id)
        plain = {
            "format": FORMAT,
            "version": VERSION,
            "asset_id": asset_id,
            "content_key": key.content_key.hex(),
            "salt": key.salt.hex(),
        }
        write_private(path, canonical.dumps(plain) + b"\n", exclusive=True)
        return path

    def secrets_for(self, asset_ids: Collection[str]) -> dict[str, ReleasedKey]:
        """The keys that are here of these assets.

        Raises:
            InputError: `asset.secret`: a file that is none; `file.*`. No message repeats a key.
        """
        found = {}
        for asset_id in asset_ids:
            try:
                raw = read_private(self._path(asset_id), limit=MAX_FILE)
            except NotFoundError:
                continue
            found[asset_id] = self._key(asset_id, raw)
        return found

    def _path(self, asset_id: str) -> Path:
        return self.directory / f"{asset_id}.json"

    def _key(self, asset_id: str, raw: bytes) -> ReleasedKey:
        try:
            file = schema.from_plain(_File, canonical.loads(raw.removesuffix(b"\n")), json=True)
        except InputError:
            # The cause could repeat a part of the key.
            file = None
        if file is None or file.version != VERSION or file.asset_id != asset_id:
            raise InputError(
                f"{self._path(asset_id)} is not the key of that asset", code="asset.secret"
            )
        return ReleasedKey(
            content_key=bytes.fromhex(file.content_key), salt=bytes.fromhex(file.salt)
        )
