"""The file a login is kept in: a user's JWT and the seed of its key (`*.creds` of NATS).

    -----BEGIN NATS USER JWT-----
    ...
    ------END NATS USER JWT------

    -----BEGIN USER NKEY SEED-----
    ...
    ------END USER NKEY SEED------

Any NATS client and command reads it. It is a secret: mode 0600.
"""

import re
from dataclasses import dataclass, field
from typing import Final, Self

from atoll.credentials import jwt
from atoll.credentials.nkey import KeyPair, Kind
from atoll.errors import InputError

MAX_CREDS: Final = 96 << 10
_BLOCK: Final = re.compile(
    r"-{5}BEGIN (?P<what>NATS USER JWT|USER NKEY SEED)-{5}\s+(?P<text>[A-Za-z0-9._-]+)\s+"
    r"-{3,6}END (?P=what)-{3,6}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Who somebody is on the bus, and the key that shows it."""

    jwt: str = field(repr=False)
    key: KeyPair = field(repr=False)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read a creds file.

        Raises:
            InputError: `creds.invalid`: not one, cut off, or the key is not the JWT's;
                no part of it is repeated.
        """
        blocks = {match["what"]: match["text"] for match in _BLOCK.finditer(text[:MAX_CREDS])}
        try:
            statement = jwt.read(blocks["NATS USER JWT"], Kind.ACCOUNT)
            key = KeyPair.from_seed(blocks["USER NKEY SEED"], Kind.USER)
        except KeyError as error:
            raise _invalid(f"it has no {error.args[0]}") from error
        except InputError as error:
            raise _invalid(error.message) from error
        if statement.subject != key.public:
            raise _invalid("its seed is not the key that its JWT is about")
        return cls(jwt=blocks["NATS USER JWT"], key=key)

    @property
    def text(self) -> str:
        """The content of the file."""
        return (
            f"-----BEGIN NATS USER JWT-----\n{self.jwt}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{self.key.seed}\n------END USER NKEY SEED------\n"
        )


def _invalid(why: str) -> InputError:
    return InputError(
        f"not a creds file: {why}",
        code="creds.invalid",
        hint="`atoll init` writes these files, `atoll rotate` renews them",
    )
