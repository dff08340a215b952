"""A tenant on the bus: an account of its own, and the one login that its clients share. Pure.

The account has nothing but what it imports (`atoll.wire.tenancy`). Its clients are made by a
signing key that can make nothing else: their permissions are the key's and stand in the account.
A tenant that was removed leaves an account behind in which nobody may be: what servers were told
once they keep, and a server that was away must not let its clients in again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from atoll.credentials import claims, jwt
from atoll.credentials.claims import Account, Export, Import, Permissions, Scope
from atoll.credentials.creds import Credentials
from atoll.credentials.nkey import KeyPair, Kind, decode_public
from atoll.wire import tenancy
from atoll.wire.names import require_token

CLIENT: Final = "client"
"""The role of a tenant's login."""

EVERYBODY: Final = "*"
"""In revocations: all users of an account."""

BACKDATED_S: Final = 300
"""Statements are dated back, for servers whose clocks are behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A tenant's private keys."""

    account: KeyPair = field(repr=False)
    signer: KeyPair = field(repr=False)
    """Makes its clients."""
    client: KeyPair = field(repr=False)
    revoked: Mapping[str, int] = field(default_factory=dict)
    """Clients that no longer count, and the second up to which they were issued."""

    @classmethod
    def generate(cls, random: Callable[[int], bytes]) -> Self:
        """A new one's."""
        return cls(
            account=KeyPair.generate(Kind.ACCOUNT, random),
            signer=KeyPair.generate(Kind.ACCOUNT, random),
            client=KeyPair.generate(Kind.USER, random),
        )

    @classmethod
    def from_plain(cls, value: Any) -> Self:
        """Read what `to_plain` gave. Raises: InputError, or what reading JSON values raises."""
        return cls(
            account=KeyPair.from_seed(value["account"], Kind.ACCOUNT),
            signer=KeyPair.from_seed(value["signer"], Kind.ACCOUNT),
            client=KeyPair.from_seed(value["client"], Kind.USER),
            revoked={str(user): int(at) for user, at in value["revoked"].items()},
        )

    def to_plain(self) -> dict[str, Any]:
        """As JSON values, secret."""
        return {
            "account": self.account.seed,
            "signer": self.signer.seed,
            "client": self.client.seed,
            "revoked": dict(self.revoked),
        }

    def rotated(self, random: Callable[[int], bytes], *, now: int) -> Self:
        """The same account with fresh keys for its clients; those before no longer count."""
        return replace(
            self,
            signer=KeyPair.generate(Kind.ACCOUNT, random),
            client=KeyPair.generate(Kind.USER, random),
            revoked={**self.revoked, self.client.public: now},
        )

    def credentials(self, *, now: int) -> Credentials:
        """What its clients connect with."""
        token = jwt.sign(
            claims.scoped_user(account=self.account.public, tags={}),
            by=self.signer,
            subject=self.client.public,
            name=CLIENT,
            now=now - BACKDATED_S,
        )
        return Credentials(jwt=token, key=self.client)

    def claims(self, name: str, services: KeyPair, *, now: int) -> Account:
        """What the operator states of its account; `services` is the account that serves it."""
        scope = Scope(
            key=self.signer.public,
            role=CLIENT,
            permissions=Permissions(
                publish=tenancy.may_publish(name), subscribe=tenancy.may_subscribe()
            ),
        )
        imports = tuple(
            Import(
                name=f"{number} {offer.local}",
                subject=offer.served,
                account=services.public,
                local="" if offer.local == offer.served else offer.local,
                activation=self._activation(offer.served, services, now),
            )
            for number, offer in enumerate(tenancy.offers(name))
        )
        return Account(signing_keys=(scope,), imports=imports, revocations=self.revoked)

    def _activation(self, subject: str, services: KeyPair, now: int) -> str:
        return jwt.sign(
            claims.activation(subject, kind="service"),
            by=services,
            subject=self.account.public,
            now=now - BACKDATED_S,
        )


def exports() -> tuple[Export, ...]:
    """What the account of the services offers to tenants, each by an activation."""
    return tuple(
        Export(name=f"{number} {subject}", subject=subject, answers=answers)
        for number, (subject, answers) in enumerate(tenancy.exports())
    )


def closed(*, now: int) -> Account:
    """An account that nobody may be in."""
    return Account(max_connections=0, revocations={EVERYBODY: now})


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """A tenant that was removed; its name is not given again, since its jobs keep it."""

    account: str
    at: int

    @classmethod
    def from_plain(cls, value: Any) -> Self:
        """Read what `to_plain` gave."""
        decode_public(value["account"], Kind.ACCOUNT)
        return cls(account=str(value["account"]), at=int(value["at"]))

    def to_plain(self) -> dict[str, Any]:
        return {"account": self.account, "at": self.at}


def read_tenants(value: Mapping[str, Any]) -> dict[str, Tenant]:
    """Tenants by name."""
    return {require_token(name, "tenant"): Tenant.from_plain(each) for name, each in value.items()}
