"""Identity keys in ATOLL_HOME/keys: `<name>.json`, mode 0600, with or without a passphrase."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from atoll.client.files import read_private, write_private
from atoll.client.protected import MAX_PROTECTED, ProtectedKeys, is_protected
from atoll.errors import ConfigError, InputError, NotFoundError
from atoll.identity import PartyKeys, PartyPublic
from atoll.wire.names import require_name

AskPassphrase = Callable[[str], bytes]
"""Gives the passphrase of the key with this name, or raises `key.passphrase`."""


def no_passphrase(name: str) -> bytes:
    """Whoever cannot ask anybody. Raises: InputError `key.passphrase`."""
    raise InputError(
        f"the key {name!r} is protected by a passphrase, and none was given", code="key.passphrase"
    )


@dataclass(frozen=True, slots=True)
class KeyStore:
    home: Path
    ask: AskPassphrase = field(default=no_passphrase, repr=False)
    """Asked for each protected key that is loaded, and for nothing else."""

    def path(self, name: str) -> Path:
        """Raises: InputError `name.invalid`."""
        return self.home / "keys" / f"{require_name(name, 'key name')}.json"

    def new(self, name: str, passphrase: bytes | None = None) -> PartyKeys:
        """Make a key pair; an existing one is never replaced.

        Raises:
            InputError: `name.invalid`, `key.passphrase`.
            ConfigError: `key.exists`, `key.memory`.
        """
        keys = PartyKeys.generate(name, secrets.token_bytes)
        self.add(keys, passphrase)
        return keys

    def add(self, keys: PartyKeys, passphrase: bytes | None = None) -> None:
        """Keep keys under their name; existing ones are never replaced.

        Raises:
            InputError: `key.passphrase`, one that none can be.
            ConfigError: `key.exists`, `key.memory`.
        """
        try:
            write_private(self.path(keys.name), _file(keys, passphrase), exclusive=True)
        except ConfigError as error:
            if error.code != "file.exists":
                raise
            raise ConfigError(
                f"there is a key {keys.name!r} already",
                code="key.exists",
                hint="choose another name; a key in use is not replaced",
            ) from error

    def load(self, name: str) -> PartyKeys:
        """The key pair `name`, after asking for its passphrase if it has one.

        Raises:
            NotFoundError: `key.not_found`.
            InputError: `name.invalid`, `file.unreadable`, `file.too_large`, `key.passphrase`,
                `identity.malformed` (also for a file that holds another name's keys).
            ConfigError: `key.memory`.
        """
        found = self._read(name)
        return found.open(self.ask(name)) if isinstance(found, ProtectedKeys) else found

    def public(self, name: str) -> PartyPublic:
        """The public part of `name`, which needs no passphrase.

        Of a protected key it is what the file says; only `load` can tell a changed one.

        Raises:
            NotFoundError, InputError: as `load`, but for `key.passphrase`.
        """
        return self._read(name).public

    def is_protected(self, name: str) -> bool:
        """Whether `load` needs a passphrase. Raises: as `public`."""
        return isinstance(self._read(name), ProtectedKeys)

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

    def protect(self, name: str, passphrase: Callable[[], bytes]) -> PartyPublic:
        """Encrypt the file of a key that is in the clear, under what `passphrase` gives.

        What the disk keeps of the old file stays.

        Raises:
            NotFoundError, InputError: as `load`; `key.protected`, it is already.
            ConfigError: `key.memory`, `file.unwritable`.
        """
        found = self._read(name)
        if isinstance(found, ProtectedKeys):
            raise InputError(
                f"the key {name!r} has a passphrase already",
                code="key.protected",
                hint=f"to change it: `atoll keys unprotect {name}`, then protect it again",
            )
        write_private(self.path(name), _file(found, passphrase()))
        return found.public

    def unprotect(self, name: str) -> PartyPublic:
        """Put a protected key in the clear again, after asking for its passphrase.

        Raises:
            NotFoundError, InputError: as `load`; `key.unprotected`, it is already.
            ConfigError: `key.memory`, `file.unwritable`.
        """
        if not self.is_protected(name):
            raise InputError(f"the key {name!r} has no passphrase", code="key.unprotected")
        keys = self.load(name)
        write_private(self.path(name), _file(keys, None))
        return keys.public

    def names(self) -> tuple[str, ...]:
        """The names of all keys, in order."""
        directory = self.home / "keys"
        return tuple(sorted(path.stem for path in directory.glob("*.json")))

    def _read(self, name: str) -> PartyKeys | ProtectedKeys:
        try:
            raw = read_private(self.path(name), limit=MAX_PROTECTED)
        except NotFoundError as error:
            raise NotFoundError(
                f"there is no key {name!r}",
                code="key.not_found",
                hint=f"`atoll keys new {name}` makes one",
            ) from error
        kind = ProtectedKeys if is_protected(raw) else PartyKeys
        found: PartyKeys | ProtectedKeys = kind.from_bytes(raw)
        if found.public.name != name:
            raise InputError(
                f"{self.path(name)} holds the keys of {found.public.name!r}",
                code="identity.malformed",
            )
        return found


def _file(keys: PartyKeys, passphrase: bytes | None) -> bytes:
    if passphrase is None:
        return keys.to_bytes()
    return ProtectedKeys.seal(keys, passphrase, secrets.token_bytes).to_bytes()
