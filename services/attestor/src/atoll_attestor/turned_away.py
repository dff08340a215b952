"""Whom the operator turned away. Pure.

An enclave is turned away for what it is or for where it runs. The word `host` is its
manager's, the chip, the measurement and the policy are from appraised evidence.
"""

from collections.abc import Mapping
from typing import Protocol

from atoll.errors import RefusedError
from atoll.wire.admission_messages import RevocationRecord, RevokedKind

Revoked = Mapping[tuple[RevokedKind, str], RevocationRecord]


class Admittable(Protocol):
    """What is known of an enclave; a ticket's admission and a session have it."""

    @property
    def host_id(self) -> str: ...
    @property
    def chip_id(self) -> str: ...
    @property
    def measurement(self) -> str: ...
    @property
    def policy_digest(self) -> str: ...


def key(kind: RevokedKind, name: str) -> str:
    """Of a revocation in its bucket."""
    return f"{kind.value}.{name}"


def turned_away(revoked: Revoked, enclave_id: str, facts: Admittable) -> RevocationRecord | None:
    """The first revocation that hits this enclave, or None."""
    asked = (
        (RevokedKind.ENCLAVE, enclave_id),
        (RevokedKind.HOST, facts.host_id),
        (RevokedKind.CHIP, facts.chip_id),
        (RevokedKind.MEASUREMENT, facts.measurement),
        (RevokedKind.POLICY, facts.policy_digest),
    )
    return next((revoked[each] for each in asked if each in revoked), None)


def require_wanted(revoked: Revoked, enclave_id: str, facts: Admittable) -> None:
    """Return unless the enclave is turned away.

    Raises:
        RefusedError: `admission.revoked`.
    """
    record = turned_away(revoked, enclave_id, facts)
    if record is not None:
        raise RefusedError(
            f"{record.kind.value} {record.id[:40]} is turned away: {record.reason}",
            code="admission.revoked",
        )
