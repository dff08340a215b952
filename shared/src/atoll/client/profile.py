"""Where a stack is and whom to trust: one JSON file in ATOLL_HOME, mode 0600.

`atoll up` writes it; for a remote stack the operator hands it out, and its reader
decides by `policy` and `development_root` what evidence to believe.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Self

from atoll.client.files import read_private, write_private
from atoll.credentials.creds import MAX_CREDS
from atoll.errors import ConfigError, InputError, NotFoundError
from atoll.wire import schema
from atoll.wire.access import DEFAULT_TENANT
from atoll.wire.messages import Tee
from atoll.wire.schema import Size, Token, message

FILE: Final = "profile.json"
FORMAT: Final = "atoll-profile/v2"
MAX_FILE: Final = 256 << 10


@message
class Profile:
    format: str = FORMAT
    nats_url: Annotated[str, Size(1, 1024)]
    nats_creds: Annotated[str, Size(1, MAX_CREDS)] = field(repr=False)
    """The login on the bus: the text of a creds file."""
    tenant: Token = DEFAULT_TENANT
    """Whose login it is."""
    ca: Annotated[str, Size(0, 16_384)] = ""
    """PEM roots by which the bus's certificate is checked; empty: the system's."""
    http_url: Annotated[str, Size(0, 1024)] = ""
    http_token: Annotated[str, Size(0, 1024)] = field(default="", repr=False)
    http_ca: Annotated[str, Size(0, 65_536)] = ""
    """PEM of whose certificates the HTTP API may show. Empty: those that the system trusts."""
    tee: Tee
    """The kind of enclave that jobs ask for unless told otherwise."""
    policy: Annotated[str, Size(2, 65_536)]
    """The appraisal policy, as text (`atoll.evidence.policy`)."""
    development_root: Annotated[str, Size(0, 16_384)] = ""
    """PEM of a simulated TEE's root. Empty: simulated evidence is refused."""

    def to_bytes(self) -> bytes:
        """The file."""
        return json.dumps(schema.to_plain(self, json=True), indent=2).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class ProfileFile:
    """The profile of one ATOLL_HOME."""

    home: Path

    @property
    def path(self) -> Path:
        return self.home / FILE

    def load(self) -> Profile:
        """What is in the file.

        Raises:
            NotFoundError: `profile.missing`.
            ConfigError: `profile.invalid`, `profile.version`.
        """
        try:
            raw = read_private(self.path, limit=MAX_FILE)
        except InputError as error:
            raise ConfigError(error.message, code="profile.invalid") from error
        except NotFoundError as error:
            raise NotFoundError(
                f"no stack is known: {self.path} does not exist",
                code="profile.missing",
                hint="start one with `atoll up`, or set ATOLL_HOME to where its profile is",
            ) from error
        try:
            plain = json.loads(raw)
            self._require_version(plain)
            return schema.from_plain(Profile, plain, json=True)
        except (ValueError, RecursionError, InputError) as error:
            raise ConfigError(f"{self.path}: {error}", code="profile.invalid") from error

    def _require_version(self, plain: Any) -> None:
        # Before anything else is looked at: other versions may have other fields.
        found = plain.get("format", FORMAT) if isinstance(plain, dict) else FORMAT
        if found != FORMAT:
            raise ConfigError(
                f"{self.path}: format {str(found)[:40]!r}, this build knows {FORMAT!r}",
                code="profile.version",
            )

    def save(self, profile: Profile) -> Self:
        write_private(self.path, profile.to_bytes())
        return self
