"""Access tokens of the HTTP gateway: their text, what is kept of them, and the roles they carry.

    atoll_<id>_<secret><check>

`id` is 12 characters of base62 and public: it stands in lists and in the audit. `secret` is
256 random bits, 43 characters of base62. `check` is the CRC-32 of all before it, 6 characters
of base62: a typing error, or half a token, is told from a wrong one without asking anybody, and
a scanner for leaked secrets finds tokens by their form and is hardly ever wrong. It protects
nothing.

Whoever makes a token keeps its text; the gateways get its record, with the SHA-256 of the secret.
The secret has 256 bits, so that a slow hash would make guessing no harder.
"""

import hashlib
import re
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Final, Self

from atoll.errors import InputError
from atoll.wire.messages import Sha256
from atoll.wire.schema import Pattern, Range, Size, Timestamp, Token, message

DEFAULT_TENANT: Final = "main"
"""The tenant of the bus's own clients, and of everything from before there were tenants."""

ID_SIZE: Final = 12
SECRET_BYTES: Final = 32
MAX_LIFETIME_S: Final = 3650 * 86_400
MAX_TOKENS: Final = 2000
"""Tokens of one deployment, those that are revoked included."""

_SECRET_SIZE: Final = 43
_CHECK_SIZE: Final = 6
_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_TEXT: Final = re.compile(r"atoll_([0-9A-Za-z]{12})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})")

TokenId = Annotated[str, Pattern(r"[0-9A-Za-z]{12}")]


class AccessRole(Enum):
    """What a token may do; each may what the one before it may.

    viewer     reads jobs, events and results of its tenant
    submitter  submits, cancels, uploads assets, sends key releases, for its tenant
    operator   tokens, hosts, dead letters; sees all tenants
    """

    VIEWER = "viewer"
    SUBMITTER = "submitter"
    OPERATOR = "operator"

    def allows(self, wanted: "AccessRole") -> bool:
        """Whether this role may what `wanted` may."""
        return _RANK[self] >= _RANK[wanted]


_RANK: Final = {role: rank for rank, role in enumerate(AccessRole)}


def permits(held: Collection[AccessRole], wanted: AccessRole) -> bool:
    """Whether one of the roles `held` may what `wanted` may; without any, nothing is."""
    return any(role.allows(wanted) for role in held)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """A token with its secret."""

    id: str
    secret: str = field(repr=False)

    @classmethod
    def generate(cls, random: Callable[[int], bytes]) -> Self:
        """A fresh one; `random` gives so many bytes from the system's generator."""
        return cls(
            id=_base62(int.from_bytes(random(16), "big"), ID_SIZE),
            secret=_base62(int.from_bytes(random(SECRET_BYTES), "big"), _SECRET_SIZE),
        )

    @classmethod
    def parse(cls, text: str) -> Self:
        """The token whose text this is.

        Raises:
            InputError: `token.malformed`: not the form, or the check does not fit. The message
                does not quote the text.
        """
        match = _TEXT.fullmatch(text)
        if match is None or match[3] != _check(match[1], match[2]):
            raise InputError(
                "this is not a whole access token",
                code="token.malformed",
                hint="atoll_<12 characters>_<49 characters>, as `atoll token create` printed it",
            )
        return cls(id=match[1], secret=match[2])

    @property
    def text(self) -> str:
        """What its bearer shows."""
        return f"atoll_{self.id}_{self.secret}{_check(self.id, self.secret)}"

    @property
    def digest(self) -> bytes:
        """What is kept of the secret."""
        return hashlib.sha256(self.secret.encode()).digest()


def _base62(number: int, size: int) -> str:
    digits = []
    for _ in range(size):
        number, rest = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[rest])
    return "".join(reversed(digits))


def _check(token_id: str, secret: str) -> str:
    return _base62(zlib.crc32(f"atoll_{token_id}_{secret}".encode()), _CHECK_SIZE)


Roles = Annotated[tuple[AccessRole, ...], Size(1, 3)]
Label = Annotated[str, Pattern(r"[^\x00-\x1f\x7f]*"), Size(0, 80)]
"""A line for people."""


@message
class TokenRecord:
    """What is kept of a token (bucket `tokens`, key: its id), written by the gateway only."""

    version: Annotated[int, Range(1, 1)] = 1
    token_id: TokenId
    digest: Sha256
    tenant: Token
    roles: Roles
    name: Label = ""
    created_ms: Timestamp
    expires_ms: Timestamp | None = None
    """None: never."""
    used_day: Annotated[int, Range(0, 1 << 20)] = 0
    """Days since 1970-01-01 (UTC) of the last use; 0: not used yet."""
    disabled: bool = False

    def is_live(self, now_ms: int) -> bool:
        """Whether it is neither revoked nor expired."""
        return not self.disabled and (self.expires_ms is None or now_ms < self.expires_ms)


@message
class TokenView:
    """A token as operators see it: all but the digest."""

    token_id: TokenId
    tenant: Token
    roles: Roles
    name: Label
    created_ms: Timestamp
    expires_ms: Timestamp | None = None
    used_day: Annotated[int, Range(0, 1 << 20)]
    disabled: bool


def view_of(record: TokenRecord) -> TokenView:
    """What may be shown of a record."""
    return TokenView(
        token_id=record.token_id,
        tenant=record.tenant,
        roles=record.roles,
        name=record.name,
        created_ms=record.created_ms,
        expires_ms=record.expires_ms,
        used_day=record.used_day,
        disabled=record.disabled,
    )


@message
class CreateTokenRequest:
    """A token is to count from now on. Its secret stays with the asker: here is its digest."""

    token_id: TokenId
    digest: Sha256
    tenant: Token
    roles: Roles
    name: Label = ""
    lifetime_s: Annotated[int, Range(1, MAX_LIFETIME_S)] | None = None
    """None: until it is revoked."""


@message
class TokenRequest:
    token_id: TokenId


@message
class TokenListRequest:
    tenant: Token | None = None


@message
class TokenList:
    tokens: Annotated[tuple[TokenView, ...], Size(0, MAX_TOKENS)]
