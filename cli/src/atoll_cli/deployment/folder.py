"""A deployment's bus as files, all of them 0600.

    <dir>/identities.json        every private key: keep it where the operator is, and a copy
    <dir>/creds/<login>.creds    what each role connects with
    <dir>/tenants/<name>.creds   what the clients of a tenant connect with
    <dir>/sentinel.jwt           for managers: what enclaves ask for admission with; no secret
    <dir>/door.json              for attestors: what they admit with
    <dir>/auth.conf              for servers: whom to believe; what they learn of accounts goes into
                                 `jwt` in the directory that they are started in
    <dir>/tls/                   see `atoll_cli.deployment.authority`

Writing is repeatable: keys that are there stay, what follows from them is written anew, so that
an upgrade that changes permissions takes hold.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

from atoll.client.files import read_private, write_private
from atoll.credentials import jwt
from atoll.credentials.creds import MAX_CREDS, Credentials
from atoll.credentials.nkey import Kind
from atoll.errors import ConfigError, InputError, NotFoundError
from atoll_cli.deployment.identities import LOGINS, Identities

IDENTITIES: Final = "identities.json"
SENTINEL: Final = "sentinel.jwt"
DOOR_KEYS: Final = "door.json"
AUTH_CONF: Final = "auth.conf"
CREDS: Final = "creds"
TENANTS: Final = "tenants"
KEY_RING: Final = "attestor-keys.json"
"""Beside this folder in a data directory: the keys of attestation results."""

_MAX_FILE: Final = 1 << 20

AUTH_TIMEOUT_S: Final = 5
"""How long a server waits for whoever decides about a login."""


@dataclass(frozen=True, slots=True)
class Folder:
    """One deployment's files."""

    path: Path

    @property
    def door_keys(self) -> Path:
        return self.path / DOOR_KEYS

    @property
    def sentinel(self) -> Path:
        return self.path / SENTINEL

    def creds(self, login: str) -> Path:
        """The file of a login."""
        return self.path / CREDS / f"{login}.creds"

    def tenant_creds(self, name: str) -> Path:
        """The file of the login that a tenant's clients share."""
        return self.path / TENANTS / f"{name}.creds"

    def identities(self) -> Identities:
        """The keys that are there.

        Raises:
            NotFoundError: `deployment.missing`.
            ConfigError: `deployment.damaged`.
        """
        path = self.path / IDENTITIES
        try:
            return Identities.from_bytes(read_private(path, limit=_MAX_FILE))
        except NotFoundError as error:
            raise NotFoundError(
                f"there is no deployment in {self.path}",
                code="deployment.missing",
                hint="`atoll init` makes one",
            ) from error
        except InputError as error:
            raise ConfigError(
                f"{path} is damaged",
                code="deployment.damaged",
                hint="restore it from a backup; without it nothing can be changed any more",
            ) from error

    def write(self, identities: Identities, *, now: int) -> Self:
        """Write the keys and all that follows from them.

        Raises:
            ConfigError: `file.unwritable`.
        """
        # The keys come first: what follows from keys that were lost could not be changed.
        write_private(self.path / IDENTITIES, identities.to_bytes())
        for login in LOGINS:
            self._write_creds(self.creds(login), identities.credentials(login, now=now))
        for name, tenant in identities.tenants.items():
            self._write_creds(self.tenant_creds(name), tenant.credentials(now=now))
        for name in identities.removed:
            self.tenant_creds(name).unlink(missing_ok=True)
        write_private(self.sentinel, identities.sentinel_jwt(now=now).encode() + b"\n")
        write_private(self.door_keys, identities.door_keys().to_bytes())
        trust = server_section(identities, Path("jwt"), now=now)
        write_private(self.path / AUTH_CONF, conf(trust))
        return self

    def _write_creds(self, path: Path, fresh: Credentials) -> None:
        """A file that says the same stays as it is: others have copies of it."""
        try:
            known = Credentials.from_text(read_private(path, limit=MAX_CREDS).decode("latin-1"))
        except (NotFoundError, InputError):
            known = None
        if known is None or not _same(known, fresh):
            write_private(path, fresh.text.encode())


def _same(one: Credentials, other: Credentials) -> bool:
    """Whether they say the same but for when they were issued."""
    said, says = (jwt.read(each.jwt, Kind.ACCOUNT) for each in (one, other))
    return replace(said, issued=0) == replace(says, issued=0)


def server_section(identities: Identities, resolver: Path, *, now: int) -> dict[str, Any]:
    """A server's configuration about logins; `resolver` is a directory of its own."""
    return {
        **identities.server_trust(now=now),
        "resolver": {"type": "full", "dir": str(resolver), "allow_delete": False, "interval": "2m"},
        "authorization": {"timeout": AUTH_TIMEOUT_S},
    }


def conf(section: dict[str, Any]) -> bytes:
    """As a file to include: one setting on a line, each value in JSON, which servers read."""
    lines = [f"{key}: {json.dumps(value)}" for key, value in section.items()]
    return ("\n".join(lines) + "\n").encode()
