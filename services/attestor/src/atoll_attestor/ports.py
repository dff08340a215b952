"""What the attestor needs from outside, as small as it needs it."""

from collections.abc import Mapping
from typing import Protocol

from atoll.evidence.products import Product
from atoll.policy.records import AppraisalRecord
from atoll.wire.messages import EvidenceRecord, PolicyView
from atoll_attestor.collateral.crls import KnownCrl
from atoll_attestor.collateral.documents import Document
from atoll_attestor.policies import InForce
from atoll_attestor.turned_away import Revoked


class Policies(Protocol):
    """The policy that is enforced here."""

    @property
    def in_force(self) -> InForce | None:
        """What is in force now; None: nothing."""

    async def activate(self, signed: bytes, *, now: int) -> PolicyView:
        """Put a signed document in force, for all replicas."""


class Crls(Protocol):
    """The revocation lists that are known."""

    @property
    def known(self) -> Mapping[Product, KnownCrl]:
        """By product; each is authentic and may have expired."""


class Documents(Protocol):
    """What vendors signed, as far as it is known."""

    @property
    def known(self) -> Mapping[str, Document]:
        """By key; each is authentic and may have expired."""


class Archive(Protocol):
    """Where past appraisals are kept."""

    async def keep(self, role: str, record: AppraisalRecord) -> None:
        """Durable when this returns."""


class EvidenceStore(Protocol):
    """The first evidence of each enclave, for everybody to read."""

    async def create(self, record: EvidenceRecord) -> None:
        """Raises: ConflictError: there is some of this enclave."""

    async def get(self, enclave_id: str) -> EvidenceRecord | None:
        """What is there."""


class Revocations(Protocol):
    """Whom the operator turned away."""

    @property
    def now(self) -> Revoked:
        """All that is known here."""
