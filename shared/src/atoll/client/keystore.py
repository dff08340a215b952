"""Identity keys in ATOLL_HOME/keys: `<name>.json`, mode 0600."""

import secrets
from dataclasses import dataclass
from pathlib import Path

from atoll.client.files import read_private, write_private
from atoll.errors import ConfigError, InputError, NotFoundError
from atoll.identity import MAX_FILE, PartyKeys
from atoll.wire.names import require_name


@dataclass(frozen=True, slots=True)
class KeyStore:
    home: Path

    def path(self, name: str) -> Path:
        """Raises: InputError `name.invalid`."""
        return self.home / "keys" / f"{require_name(name, 'key name')}.json"

    def new(self, name: str) -> PartyKeys:
        """Make a key pair; an existing one is never replaced.

        Raises:
            InputError: `name.invalid`.
            ConfigError: `key.exists`.
        """
        keys = PartyKeys.generate(name, secrets.token_bytes)
        try:
            write_private(self.path(name), keys.to_bytes(), exclusive=True)
        except ConfigError as error:
            if error.code != "file.exists":
                raise
            raise ConfigError(
                f"there is a key {name!r} already",
                code="key.exists",
                hint="choose another name; a key in use is not replaced",
            ) from error
        return keys

    def load(self, name: str) -> PartyKeys:
        """The key pair `name`.

        Raises:
            NotFoundError: `key.not_found`.
            InputError: `name.invalid`, `file.unreadable`, `file.too_large`,
                `identity.malformed` (also for a file that holds another name's keys).
        """
        try:
            raw = read_private(self.path(name), limit=MAX_FILE)
        except NotFoundError as error:
            raise NotFoundError(
                f"there is no key {name!r}",
                code="key.not_found",
                hint=f"`atoll keys new {name}` makes one",
            ) from error
        keys = PartyKeys.from_bytes(raw)
        if keys.name != name:
            raise InputError(
                f"{self.path(name)} holds the keys of {keys.name!r}", code="identity.malformed"
            )
        return keys

    def load_or_new(self, name: str) -> PartyKeys:
        """The key `name`, made now if there is none."""
        try:
            return self.load(name)
        except NotFoundError:
            pass
        try:
            return self.new(name)
        except ConfigError as error:
            if error.code != "key.exists":
                raise
            # Somebody else made it just now.
            return self.load(name)

    def names(self) -> tuple[str, ...]:
        """The names of all keys, in order."""
        directory = self.home / "keys"
        return tuple(sorted(path.stem for path in directory.glob("*.json")))
