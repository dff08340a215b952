"""Who there is on the bus of one deployment. Pure.

    operator   signs the accounts; its key is needed only to make and to change things
    SYS        the servers' own account; from it comes the right to end connections
    AUTH       here servers ask who may come in; anybody may come as far as that (sentinel)
    ATOLL      gateway, manager, attestor, operator; all streams; admitted enclaves
    tenants    one account each, in which its clients are (`atoll_cli.deployment.tenants`)

Users are made by signing keys of ATOLL, one for each role, that can make nothing else: their
permissions are of the table (`atoll.wire.topology`). The two keys for enclaves and applicants
(`atoll.wire.admission`) are with the attestors.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from atoll.credentials import callout, claims, jwt
from atoll.credentials.claims import Account, Callout, Export, Import, Permissions, Scope
from atoll.credentials.creds import Credentials
from atoll.credentials.door_keys import DoorKeys
from atoll.credentials.nkey import KeyPair, Kind
from atoll.errors import ConflictError, InputError, NotFoundError, RefusedError
from atoll.wire import admission, tenancy, topology
from atoll.wire.endpoints import ROLES, Role
from atoll.wire.names import require_token
from atoll_cli.deployment.tenants import (
    BACKDATED_S,
    CLIENT,
    Removed,
    Tenant,
    closed,
    exports,
    read_tenants,
)

DOOR: Final = "door"
"""Whom servers ask."""
SYSTEM: Final = "system"
"""Who may change what servers know of accounts."""
OPERATOR: Final = "operator"
"""Who provisions."""
SERVICES: Final[tuple[Role, ...]] = tuple(role for role in ROLES if role not in {"enclave", CLIENT})
LOGINS: Final = (*SERVICES, OPERATOR, DOOR, SYSTEM)
"""Everybody who has a creds file, beside the clients of tenants."""

ACCOUNTS: Final = ("SYS", "AUTH", "ATOLL")
DOOR_SIGNERS: Final = ("callout", "enclave", "applicant")
"""Signing keys that attestors have: of AUTH, and two of ATOLL."""

SIGNERS: Final = (*DOOR_SIGNERS, *SERVICES)
"""And one of ATOLL for each role: the permissions are the key's and stand in the account, so that
a login fits into the one line (4 KiB) that a client may show, and an upgrade changes no login."""

ANY_DOMAIN: Final = "*"
"""A login reaches the streams from a site behind a leaf node too, by whatever domain."""

_FORMAT: Final = "atoll-identities/v2"
_OLDER_FORMAT: Final = "atoll-identities/v1"
_KICK: Final = "end connections"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identities:
    """All private keys of a deployment's bus. Whoever has them is the deployment."""

    operator: KeyPair = field(repr=False)
    accounts: Mapping[str, KeyPair] = field(repr=False)
    signers: Mapping[str, KeyPair] = field(repr=False)
    users: Mapping[str, KeyPair] = field(repr=False)
    sentinel: KeyPair = field(repr=False)
    tenants: Mapping[str, Tenant] = field(default_factory=dict)
    removed: Mapping[str, Removed] = field(default_factory=dict)
    """Tenants that there were."""
    revoked: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By account: users that no longer count, and the second up to which they were issued."""

    @classmethod
    def generate(cls, random: Callable[[int], bytes]) -> Self:
        """A new deployment's."""
        return cls(
            operator=KeyPair.generate(Kind.OPERATOR, random),
            accounts={name: KeyPair.generate(Kind.ACCOUNT, random) for name in ACCOUNTS},
            signers={name: KeyPair.generate(Kind.ACCOUNT, random) for name in SIGNERS},
            users={name: KeyPair.generate(Kind.USER, random) for name in LOGINS},
            sentinel=KeyPair.generate(Kind.USER, random),
            tenants={tenancy.HOUSE: Tenant.generate(random)},
        )

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            InputError: `identities.invalid`; no part of it is repeated.
        """
        try:
            value = _upgraded(json.loads(raw))
            return cls(
                operator=KeyPair.from_seed(value["operator"], Kind.OPERATOR),
                accounts=_seeds(value["accounts"], ACCOUNTS, Kind.ACCOUNT),
                signers=_seeds(value["signers"], SIGNERS, Kind.ACCOUNT),
                users=_seeds(value["users"], LOGINS, Kind.USER),
                sentinel=KeyPair.from_seed(value["sentinel"], Kind.USER),
                tenants=read_tenants(value["tenants"]),
                removed={
                    str(name): Removed.from_plain(each) for name, each in value["removed"].items()
                },
                revoked={
                    name: {str(user): int(at) for user, at in value["revoked"][name].items()}
                    for name in value["revoked"]
                },
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise _invalid() from error
        except InputError as error:
            raise _invalid() from error

    def to_bytes(self) -> bytes:
        """For a private file."""
        value = {
            "format": _FORMAT,
            "operator": self.operator.seed,
            "accounts": {name: pair.seed for name, pair in self.accounts.items()},
            "signers": {name: pair.seed for name, pair in self.signers.items()},
            "users": {name: pair.seed for name, pair in self.users.items()},
            "sentinel": self.sentinel.seed,
            "tenants": {name: each.to_plain() for name, each in self.tenants.items()},
            "removed": {name: each.to_plain() for name, each in self.removed.items()},
            "revoked": {name: dict(users) for name, users in self.revoked.items()},
        }
        return json.dumps(value, indent=1).encode() + b"\n"

    def rotated(self, login: str, random: Callable[[int], bytes], *, now: int) -> Self:
        """The same with a fresh key for `login`; the one before no longer counts."""
        account = _account_of(login)
        before = self.revoked.get(account, {})
        return replace(
            self,
            users={**self.users, login: KeyPair.generate(Kind.USER, random)},
            revoked={**self.revoked, account: {**before, self.users[login].public: now}},
        )

    def with_tenant(self, name: str, random: Callable[[int], bytes]) -> Self:
        """The same with a tenant more, unless it is there.

        Raises:
            InputError: `name.invalid`.
            ConflictError: `tenant.removed`: there was one of this name.
        """
        require_token(name, "tenant")
        if name in self.removed:
            raise ConflictError(
                f"there was a tenant {name!r}, and its jobs and events are kept under the name",
                code="tenant.removed",
                hint="choose another name",
            )
        if name in self.tenants:
            return self
        return replace(self, tenants={**self.tenants, name: Tenant.generate(random)})

    def without_tenant(self, name: str, *, now: int) -> Self:
        """The same without a tenant, in whose account nobody may be any more.

        Raises:
            NotFoundError: `tenant.not_found`.
            RefusedError: `tenant.house`.
        """
        tenant = self.tenant(name)
        if name == tenancy.HOUSE:
            raise RefusedError(
                f"{name!r} is the operator's own tenant, which stays", code="tenant.house"
            )
        return replace(
            self,
            tenants={known: each for known, each in self.tenants.items() if known != name},
            removed={**self.removed, name: Removed(account=tenant.account.public, at=now)},
        )

    def with_rotated_tenant(self, name: str, random: Callable[[int], bytes], *, now: int) -> Self:
        """The same with fresh keys for a tenant's clients.

        Raises:
            NotFoundError: `tenant.not_found`.
        """
        fresh = self.tenant(name).rotated(random, now=now)
        return replace(self, tenants={**self.tenants, name: fresh})

    def tenant(self, name: str) -> Tenant:
        """Raises: NotFoundError `tenant.not_found`."""
        try:
            return self.tenants[name]
        except KeyError as error:
            raise NotFoundError(
                f"there is no tenant {name!r}",
                code="tenant.not_found",
                hint="`atoll tenant list` shows those that are there",
            ) from error

    def with_fresh_signers(self, random: Callable[[int], bytes]) -> Self:
        """The same with fresh keys for the attestors; those before make nothing any more."""
        return replace(
            self,
            signers={
                **self.signers,
                **{name: KeyPair.generate(Kind.ACCOUNT, random) for name in DOOR_SIGNERS},
            },
        )

    def credentials(self, login: str, *, now: int) -> Credentials:
        """What `login` connects with."""
        key = self.users[login]
        account = self.accounts[_account_of(login)]
        scoped = login in SERVICES
        token = jwt.sign(
            claims.scoped_user(account=account.public, tags={})
            if scoped
            else claims.user(_permissions(login)),
            by=self.signers[login] if scoped else account,
            subject=key.public,
            name=login,
            now=now - BACKDATED_S,
        )
        return Credentials(jwt=token, key=key)

    def sentinel_jwt(self, *, now: int) -> str:
        """What anybody who wants to be admitted shows; it opens nothing by itself."""
        return jwt.sign(
            claims.user(Permissions(), bearer=True),
            by=self.accounts["AUTH"],
            subject=self.sentinel.public,
            name="sentinel",
            now=now - BACKDATED_S,
        )

    def door_keys(self) -> DoorKeys:
        """What attestors admit with."""
        return DoorKeys(
            account=self.accounts["ATOLL"].public,
            enclave=self.signers["enclave"],
            applicant=self.signers["applicant"],
            callout_account=self.accounts["AUTH"].public,
            callout=self.signers["callout"],
        )

    def server_trust(self, *, now: int) -> dict[str, Any]:
        """The part of a nats-server's configuration that says whom it believes."""
        operator = jwt.sign(
            claims.operator(signing_keys=(), system_account=self.accounts["SYS"].public),
            by=self.operator,
            subject=self.operator.public,
            name="atoll",
            now=now,
        )
        return {
            "operator": operator,
            "system_account": self.accounts["SYS"].public,
            "resolver_preload": self.statements(now=now),
        }

    def statements(self, *, now: int) -> dict[str, str]:
        """Every account as the operator states it, by its public key; the services' first."""
        found = {
            pair.public: self._state(pair.public, name, self._account(name, now=now), now)
            for name, pair in self.accounts.items()
        }
        services = self.accounts["ATOLL"]
        for name, tenant in self.tenants.items():
            public = tenant.account.public
            stated = tenant.claims(name, services, now=now)
            found[public] = self._state(public, f"tenant {name}", stated, now)
        for name, gone in self.removed.items():
            stated = closed(now=gone.at)
            found[gone.account] = self._state(gone.account, f"removed {name}", stated, now)
        return found

    def _state(self, public: str, name: str, stated: Account, now: int) -> str:
        return jwt.sign(
            claims.account(stated), by=self.operator, subject=public, name=name, now=now
        )

    def _account(self, name: str, *, now: int) -> Account:
        revoked = self.revoked.get(name, {})
        match name:
            case "SYS":
                kick = Export(name=_KICK, subject=callout.KICK)
                return Account(exports=(kick,), revocations=revoked)
            case "AUTH":
                return Account(
                    signing_keys=(self.signers["callout"].public,),
                    imports=(self._kick(now),),
                    callout=Callout(
                        users=(self.users[DOOR].public,), accounts=(self.accounts["ATOLL"].public,)
                    ),
                    revocations=revoked,
                )
            case _:
                scopes: dict[str, Permissions] = {
                    admission.ENCLAVE: admission.ENCLAVE_TEMPLATE,
                    admission.APPLICANT: admission.APPLICANT_TEMPLATE,
                    **{role: _permissions(role) for role in SERVICES},
                }
                return Account(
                    signing_keys=tuple(
                        Scope(
                            key=self.signers[role].public,
                            role=role,
                            permissions=_anywhere(permissions),
                        )
                        for role, permissions in scopes.items()
                    ),
                    exports=exports(),
                    jetstream=True,
                    revocations=revoked,
                )

    def _kick(self, now: int) -> Import:
        activation = jwt.sign(
            claims.activation(callout.KICK, kind="service"),
            by=self.accounts["SYS"],
            subject=self.accounts["AUTH"].public,
            now=now - BACKDATED_S,
        )
        return Import(
            name=_KICK,
            subject=callout.KICK,
            account=self.accounts["SYS"].public,
            activation=activation,
        )


def _upgraded(value: Any) -> Any:
    """As the format is now. Before there were tenants, clients were a role among the services."""
    if value["format"] == _FORMAT:
        return value
    if value["format"] != _OLDER_FORMAT:
        raise ValueError("another format")
    kept = {
        part: {name: seed for name, seed in value[part].items() if name != CLIENT}
        for part in ("users", "signers")
    }
    return {**value, **kept, "tenants": {}, "removed": {}}


def _permissions(login: str) -> Permissions:
    if login in (OPERATOR, SYSTEM):
        return Permissions(publish=(">",), subscribe=(">",))
    if login == DOOR:
        return Permissions(
            publish=(callout.KICK,), subscribe=(callout.SUBJECT, "_INBOX_door.>"), answer=True
        )
    role = next(role for role in SERVICES if role == login)
    return Permissions(
        publish=topology.may_publish(role), subscribe=topology.may_subscribe(role), answer=True
    )


def _anywhere(template: Permissions) -> Permissions:
    return replace(template, publish=topology.in_domain(template.publish, ANY_DOMAIN))


def _account_of(login: str) -> str:
    return {DOOR: "AUTH", SYSTEM: "SYS"}.get(login, "ATOLL")


def _seeds(value: Any, names: tuple[str, ...], kind: Kind) -> dict[str, KeyPair]:
    if value.keys() != set(names):
        raise ValueError("other names")
    return {name: KeyPair.from_seed(value[name], kind) for name in names}


def _invalid() -> InputError:
    return InputError("not the identities of a deployment", code="identities.invalid")
