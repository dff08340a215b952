"""Who we are to a nats-server, asked anew at each connection.

A login may change while a connection lasts: a file is rotated, an admission renewed. The
next connection, which the bus makes by itself, is made as whoever we are by then.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from atoll.credentials.creds import Credentials
from atoll.credentials.nkey import KeyPair
from atoll.errors import ConfigError, InputError


class Login(Protocol):
    """What `atoll.bus.connect` needs to know."""

    @property
    def name(self) -> str:
        """For messages to people; no secret."""
        ...

    def options(self) -> dict[str, Any]:
        """For nats-py's `connect`."""
        ...


@dataclass(frozen=True, slots=True)
class Password:
    """A user that the server has in its own configuration."""

    user: str
    password: str = field(repr=False)

    @property
    def name(self) -> str:
        return self.user

    def options(self) -> dict[str, Any]:
        return {"user": self.user, "password": self.password}


@dataclass(frozen=True, slots=True)
class Signed:
    """A user by a JWT of its account and the key that the JWT names.

    `credentials` is called at each connection. What it raises, the connection waits out.
    """

    name: str
    credentials: Callable[[], Credentials] = field(repr=False)

    def options(self) -> dict[str, Any]:
        def token() -> bytes:
            return self.credentials().jwt.encode()

        def signed(nonce: str) -> bytes:
            return signature(self.credentials().key, nonce)

        return {"user_jwt_cb": token, "signature_cb": signed}


@dataclass(frozen=True, slots=True)
class Admitted:
    """One for whom somebody else decides (auth callout): anybody's JWT, a key of our own,
    and a ticket, which is asked for at each connection.
    """

    name: str
    jwt: str = field(repr=False)
    key: KeyPair = field(repr=False)
    ticket: Callable[[], str] = field(repr=False)

    def options(self) -> dict[str, Any]:
        return {
            "user_jwt_cb": self.jwt.encode,
            "signature_cb": lambda nonce: signature(self.key, nonce),
            "token": self.ticket,
        }


def login_from(path: Path, name: str) -> Signed:
    """The login in a creds file, read again at each connection.

    Raises:
        ConfigError: `config.unreadable`, `creds.invalid`: now, not at a later connection.
    """

    def credentials() -> Credentials:
        try:
            text = path.read_text("ascii")
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} cannot be read", code="config.unreadable") from error
        try:
            return Credentials.from_text(text)
        except InputError as error:
            raise ConfigError(
                f"{path}: {error.message}", code=error.code, hint=error.hint
            ) from error

    credentials()
    return Signed(name, credentials)


def signature(key: KeyPair, nonce: str) -> bytes:
    """The answer to a server's challenge, as nats-py wants it."""
    return base64.b64encode(key.sign(nonce.encode()))
