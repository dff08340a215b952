"""The signed statements of NATS: JWTs by nkeys (NATS ADR-14).

    base64url(header) . base64url(claims) . base64url(signature)

The header is always `{"typ":"JWT","alg":"ed25519-nkey"}`. `iss` is the nkey that signed,
`sub` whom the statement is about, `nats` what is stated; `jti` is a digest of the rest.
Reading is total: within the limits it gives claims or raises the one error.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from atoll.credentials.nkey import KeyPair, Kind, verify
from atoll.errors import InputError

MAX_JWT: Final = 64 << 10
"""Characters of the longest statement that is read."""

ALGORITHM: Final = "ed25519-nkey"
_HEADER: Final = {"typ": "JWT", "alg": ALGORITHM}
_MAX_TIME: Final = 1 << 53


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What a JWT says. Times are seconds since 1970; `expires` 0: never."""

    issuer: str
    subject: str
    audience: str
    issued: int
    expires: int
    nats: Mapping[str, Any]

    def require_current(self, *, now: int, skew_s: int = 0) -> None:
        """Return if it holds at `now`, give or take `skew_s`.

        Raises:
            InputError: `jwt.expired`, `jwt.not_yet`.
        """
        if self.expires and now >= self.expires + skew_s:
            raise InputError(f"this login expired {now - self.expires} s ago", code="jwt.expired")
        if self.issued > now + skew_s:
            raise InputError(
                f"this login was issued {self.issued - now} s from now",
                code="jwt.not_yet",
                hint="compare the clocks of the two machines",
            )


def sign(
    nats: Mapping[str, Any],
    *,
    by: KeyPair,
    subject: str,
    now: int,
    expires: int = 0,
    name: str = "",
    audience: str = "",
) -> str:
    """State `nats` about `subject`."""
    claims: dict[str, Any] = {"iss": by.public, "sub": subject, "iat": now, "nats": dict(nats)}
    if name:
        claims["name"] = name
    if audience:
        claims["aud"] = audience
    if expires:
        claims["exp"] = expires
    digest = hashlib.new("sha512_256", _json(claims)).digest()
    claims["jti"] = base64.b32encode(digest).decode().rstrip("=")
    signed = f"{_b64(_json(_HEADER))}.{_b64(_json(claims))}"
    return f"{signed}.{_b64(by.sign(signed.encode()))}"


def read(token: str, issuer_kind: Kind) -> Statement:
    """The statement of a JWT that its issuer, a key of `issuer_kind`, really signed.

    Whether that issuer may state it is the caller's question, and so is the time.

    Raises:
        InputError: `jwt.invalid`: too long, not a JWT of NATS, or not signed by `iss`.
    """
    parts = token.split(".") if len(token) <= MAX_JWT and token.isascii() else []
    if len(parts) != 3:  # noqa: PLR2004 (header, claims, signature)
        raise _invalid("want three parts of base64url")
    header, claims = _object(parts[0]), _object(parts[1])
    if header.get("alg") != ALGORITHM:
        raise _invalid(f"want the algorithm {ALGORITHM}")
    statement = Statement(
        issuer=_text(claims, "iss"),
        subject=_text(claims, "sub"),
        audience=_text(claims, "aud"),
        issued=_time(claims, "iat"),
        expires=_time(claims, "exp"),
        nats=_nats(claims),
    )
    signed = f"{parts[0]}.{parts[1]}".encode()
    if not verify(statement.issuer, issuer_kind, _unb64(parts[2]), signed):
        raise _invalid("it is not signed by the key it names")
    return statement


def _nats(claims: Mapping[str, Any]) -> Mapping[str, Any]:
    nats = claims.get("nats")
    if not isinstance(nats, dict):
        raise _invalid("'nats' is not an object")
    return nats


def _text(claims: Mapping[str, Any], key: str) -> str:
    value = claims.get(key, "")
    if not isinstance(value, str):
        raise _invalid(f"{key!r} is not text")
    return value


def _time(claims: Mapping[str, Any], key: str) -> int:
    value = claims.get(key, 0)
    if type(value) is not int or not 0 <= value < _MAX_TIME:
        raise _invalid(f"{key!r} is not a time")
    return value


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _object(part: str) -> dict[str, Any]:
    try:
        value = json.loads(_unb64(part))
    except (ValueError, RecursionError) as error:
        raise _invalid("a part is not JSON") from error
    if not isinstance(value, dict):
        raise _invalid("a part is not an object")
    return value


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _unb64(part: str) -> bytes:
    try:
        return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise _invalid("a part is not base64url") from error


def _invalid(why: str) -> InputError:
    return InputError(f"not a NATS login: {why}", code="jwt.invalid")
