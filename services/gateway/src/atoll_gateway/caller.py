"""Who asks: what the gateway decides by, and what it puts on record."""

from dataclasses import dataclass, replace
from typing import Final

from atoll.audit import ActorKind
from atoll.wire.access import DEFAULT_TENANT, AccessRole, permits
from atoll.wire.messages import JobView


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Somebody whose token or login has been checked."""

    kind: ActorKind
    actor: str
    """A token's id, or the bus login's name."""
    tenant: str = DEFAULT_TENANT
    roles: frozenset[AccessRole]
    request_id: str | None = None
    source: str = ""
    """The address it called from; empty on the bus."""

    @property
    def sees_all(self) -> bool:
        """Whether jobs of all tenants are there for it."""
        return permits(self.roles, AccessRole.OPERATOR)

    def sees(self, tenant: str) -> bool:
        """Whether what belongs to `tenant` is there for it."""
        return tenant == self.tenant or self.sees_all

    def may_read(self, view: JobView) -> bool:
        """Whether a job is there for it: its tenant's own, or one that its tenant takes part in."""
        return self.sees(view.tenant) or self.tenant in view.guests


BUS: Final = Caller(kind=ActorKind.LOGIN, actor="client", roles=frozenset({AccessRole.SUBMITTER}))
"""A client of the default tenant, on the bus."""


def client_of(tenant: str) -> Caller:
    """Whoever asks over the bus in the name of `tenant`, which the bus has seen to."""
    return replace(BUS, tenant=tenant)


BUS_OPERATOR: Final = Caller(
    kind=ActorKind.LOGIN, actor="operator", roles=frozenset({AccessRole.OPERATOR})
)
"""Whoever asks over the bus what only the operator's login may ask."""
