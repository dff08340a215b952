"""Who asks: what the gateway decides by, and what it puts on record."""

from dataclasses import dataclass
from typing import Final

from atoll.audit import ActorKind
from atoll.wire.access import DEFAULT_TENANT, AccessRole, permits


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


BUS: Final = Caller(kind=ActorKind.LOGIN, actor="client", roles=frozenset({AccessRole.SUBMITTER}))
"""Whoever asks over the bus: one login for all clients, and so one tenant."""

BUS_OPERATOR: Final = Caller(
    kind=ActorKind.LOGIN, actor="operator", roles=frozenset({AccessRole.OPERATOR})
)
"""Whoever asks over the bus what only the operator's login may ask."""
