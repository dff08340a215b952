"""What operators, accounts and users state of each other (NATS JWT library, version 2).

Only what Atoll uses. A limit that is not set is none (-1). Each function gives the `nats`
object of a statement for `atoll.credentials.jwt.sign`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

VERSION: Final = 2
NO_LIMIT: Final = -1
_NANOSECOND: Final = 1_000_000_000
_ANSWER: Final = {"max": 1, "ttl": 120 * _NANOSECOND}


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """The subjects that a user may use; nothing else is allowed."""

    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    answer: bool = False
    """May answer requests that it received, on whatever subject they ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """A signing key that can make users of one shape only: `permissions` is a template in which
    the server puts the user's `{{name()}}` and `{{tag(...)}}`."""

    key: str
    role: str
    permissions: Permissions


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What an account offers to others. With `private`, an importer needs an activation."""

    name: str
    subject: str
    kind: Literal["service", "stream"] = "service"
    private: bool = True
    answers: Literal["Singleton", "Stream"] = "Singleton"


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """What an account takes from `account`, locally named `local`."""

    name: str
    subject: str
    account: str
    kind: Literal["service", "stream"] = "service"
    local: str = ""
    activation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Callout:
    """Who decides about logins of an account: `users` of it answer, for `accounts`."""

    users: tuple[str, ...]
    accounts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account's own statement about itself, as its operator signs it."""

    signing_keys: tuple[str | Scope, ...] = ()
    exports: tuple[Export, ...] = ()
    imports: tuple[Import, ...] = ()
    jetstream: bool = False
    callout: Callout | None = None
    max_connections: int = NO_LIMIT
    revocations: Mapping[str, int] = field(default_factory=dict)
    """Users by their public key, and the time up to which what was issued to them is void."""


def operator(*, signing_keys: Sequence[str], system_account: str) -> dict[str, Any]:
    """An operator about itself."""
    return {
        "signing_keys": list(signing_keys),
        "system_account": system_account,
        "type": "operator",
        "version": VERSION,
    }


def account(claims: Account) -> dict[str, Any]:
    """An account."""
    limits: dict[str, Any] = {
        **dict.fromkeys(("subs", "data", "payload", "imports", "exports", "leaf"), NO_LIMIT),
        "wildcards": True,
        "conn": claims.max_connections,
    }
    if claims.jetstream:
        keys = ("mem_storage", "disk_storage", "streams", "consumer", "max_ack_pending")
        limits.update(dict.fromkeys(keys, NO_LIMIT))
    nats: dict[str, Any] = {
        "limits": limits,
        "signing_keys": [_signing_key(each) for each in claims.signing_keys],
        "exports": [_export(each) for each in claims.exports],
        "imports": [_import(each) for each in claims.imports],
        "default_permissions": {"pub": {}, "sub": {}},
        "type": "account",
        "version": VERSION,
    }
    if claims.revocations:
        nats["revocations"] = dict(claims.revocations)
    if claims.callout:
        nats["authorization"] = {
            "auth_users": list(claims.callout.users),
            "allowed_accounts": list(claims.callout.accounts),
        }
    return nats


def user(permissions: Permissions, *, bearer: bool = False) -> dict[str, Any]:
    """A user, as its account states it. `bearer`: it need not prove to have the private key."""
    nats = {**_shape(permissions), "type": "user", "version": VERSION}
    if bearer:
        nats["bearer_token"] = True
    return nats


def scoped_user(*, account: str, tags: Mapping[str, str]) -> dict[str, Any]:
    """A user of the shape that the signing key prescribes. Tags are compared in lower case."""
    return {
        "pub": {},
        "sub": {},
        "subs": 0,
        "data": 0,
        "payload": 0,
        "tags": [f"{key}:{value}" for key, value in tags.items()],
        "issuer_account": account,
        "type": "user",
        "version": VERSION,
    }


def activation(subject: str, *, kind: Literal["service", "stream"]) -> dict[str, Any]:
    """The right of an account to import `subject`."""
    return {"subject": subject, "kind": kind, "type": "activation", "version": VERSION}


def _shape(permissions: Permissions) -> dict[str, Any]:
    """What a user may do, in its own statement or in the template of a signing key."""
    shape: dict[str, Any] = {
        "pub": _rules(permissions.publish),
        "sub": _rules(permissions.subscribe),
        **dict.fromkeys(("subs", "data", "payload"), NO_LIMIT),
    }
    if permissions.answer:
        shape["resp"] = _ANSWER
    return shape


def _rules(allowed: Sequence[str]) -> dict[str, Any]:
    # An empty list of what is allowed would allow everything.
    return {"allow": list(allowed)} if allowed else {"deny": [">"]}


def _signing_key(key: str | Scope) -> Any:
    if isinstance(key, str):
        return key
    return {
        "kind": "user_scope",
        "key": key.key,
        "role": key.role,
        "template": _shape(key.permissions),
    }


def _export(export: Export) -> dict[str, Any]:
    value: dict[str, Any] = {
        "name": export.name,
        "subject": export.subject,
        "type": export.kind,
        "token_req": export.private,
    }
    if export.kind == "service":
        value["response_type"] = export.answers
    return value


def _import(item: Import) -> dict[str, Any]:
    value: dict[str, Any] = {
        "name": item.name,
        "subject": item.subject,
        "account": item.account,
        "type": item.kind,
    }
    if item.local:
        value["local_subject"] = item.local
    if item.activation:
        value["token"] = item.activation
    return value
