"""What a nats-server asks of whoever decides about logins, and the answer (NATS ADR-26).

The server signs its request, so a request that did not come from a server is told apart.
The key that a user proved to have is not the server's affair when the JWT it showed is
anybody's (bearer): `Request.proven` says whether it has a given key.
"""

import base64
from dataclasses import dataclass, field
from typing import Any, Final

from atoll.credentials import jwt
from atoll.credentials.nkey import KeyPair, Kind, verify
from atoll.errors import InputError

SUBJECT: Final = "$SYS.REQ.USER.AUTH"
KICK: Final = "$SYS.REQ.SERVER.*.KICK"
"""Where a connection is ended by a server's id and the connection's number there."""

AUDIENCE: Final = "nats-authorization-request"
_VERSION: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Somebody wants to come in at a server."""

    server_id: str
    connection: int
    """Its number at that server."""
    user_key: str
    """The key that the user's JWT must be about; the server made it up."""
    nonce: str
    """What the server challenged the user with."""
    signature: bytes
    token: str = field(repr=False)

    def proven(self, public: str) -> bool:
        """Whether the user answered the challenge with the private half of `public`."""
        return verify(public, Kind.USER, self.signature, self.nonce.encode())


def read(token: str) -> Request:
    """A server's request.

    Raises:
        InputError: `jwt.invalid`: not a request that a server signed.
    """
    statement = jwt.read(token, Kind.SERVER)
    nats = statement.nats
    if nats.get("type") != "authorization_request" or statement.audience != AUDIENCE:
        raise _invalid("it is no authorization request")
    server, client, options = (
        _object(nats, key) for key in ("server_id", "client_info", "connect_opts")
    )
    connection = client.get("id")
    if type(connection) is not int or connection < 0:
        raise _invalid("its connection has no number")
    server_id, user_key = _text(server, "id"), _text(nats, "user_nkey")
    if server_id != statement.issuer:
        raise _invalid("it is about another server than the one that signed it")
    return Request(
        server_id=server_id,
        connection=connection,
        user_key=user_key,
        nonce=_text(client, "nonce"),
        signature=_signature(_text(options, "sig")),
        token=_text(options, "auth_token"),
    )


def accept(request: Request, user_jwt: str, *, by: KeyPair, account: str, now: int) -> str:
    """Let the user in as `user_jwt`, which must be about `request.user_key`.

    `by` is a signing key of `account`, in which the server asked.
    """
    return _answer(request, {"jwt": user_jwt}, by=by, account=account, now=now)


def refuse(request: Request, why: str, *, by: KeyPair, account: str, now: int) -> str:
    """Keep it out. `why` goes into the server's log; the user hears nothing of it."""
    return _answer(request, {"error": why}, by=by, account=account, now=now)


def _answer(
    request: Request, verdict: dict[str, Any], *, by: KeyPair, account: str, now: int
) -> str:
    nats = {
        **verdict,
        "issuer_account": account,
        "type": "authorization_response",
        "version": _VERSION,
    }
    return jwt.sign(nats, by=by, subject=request.user_key, audience=request.server_id, now=now)


def _object(value: Any, key: str) -> dict[str, Any]:
    found = value.get(key)
    if not isinstance(found, dict):
        raise _invalid(f"{key!r} is not an object")
    return found


def _text(value: Any, key: str) -> str:
    found = value.get(key, "")
    if not isinstance(found, str):
        raise _invalid(f"{key!r} is not text")
    return found


def _signature(text: str) -> bytes:
    # Clients write it in either alphabet, with padding or without.
    plain = text.rstrip("=").replace("+", "-").replace("/", "_")
    try:
        return base64.urlsafe_b64decode(plain + "=" * (-len(plain) % 4))
    except ValueError:
        return b""


def _invalid(why: str) -> InputError:
    return InputError(f"not an authorization request: {why}", code="jwt.invalid")
