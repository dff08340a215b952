"""What an attestor is set up with, and its ports in memory."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from atoll.errors import UnreachableError
from atoll.evidence.ear_keys import KeyRing
from atoll.evidence.judgement import Roots
from atoll.evidence.policy import SnpPolicy
from atoll.evidence.products import Product
from atoll.identity import PartyKeys
from atoll.policy.document import Mode, PolicyDocument
from atoll.policy.records import AppraisalRecord
from atoll.policy.sections import SNP, Policy
from atoll.policy.signed import sign_policy
from atoll.wire.messages import PolicyRecord, PolicyView
from atoll_attestor.collateral.crls import KnownCrl
from atoll_attestor.collateral.documents import Document
from atoll_attestor.config import AttestorConfig
from atoll_attestor.judging import Judging
from atoll_attestor.policies import InForce, Owners, activated, verified_state
from atoll_attestor.setup import Setup
from atoll_attestor.verifier import Verifier
from support.evidence import NOW, chain, policy
from support.gateway import keys as party_keys

NOW_S = int(NOW.timestamp())
RING = KeyRing.generate(lambda size: b"\7" * (size - 1) + b"\1", now=NOW_S)
KEY: Ed25519PublicKey = RING.active.private.public_key()
OWNER: PartyKeys = party_keys("operator")
OTHER: PartyKeys = party_keys("mallory")
OWNERS = Owners(name="default", keys=frozenset({OWNER.signing_key}), threshold=1)


def write(directory: Path) -> AttestorConfig:
    """Good files, and the settings that name them."""
    (directory / "keys.json").write_bytes(RING.to_bytes())
    (directory / "owners").mkdir(exist_ok=True)
    (directory / "owners" / "operator.json").write_bytes(OWNER.public.to_bytes())
    (directory / "ark.pem").write_bytes(chain().ark_pem)
    return AttestorConfig(
        nats_url="nats://127.0.0.1:4222",
        nats_password="marker",
        key_ring_file=directory / "keys.json",
        policy_owners_dir=directory / "owners",
        development_root_file=directory / "ark.pem",
    )


def document(
    version: int = 1, mode: Mode = Mode.ENFORCE, section: Policy | None = None, **changes: Any
) -> PolicyDocument:
    """A policy document; by default it accepts the good evidence of `support.evidence`."""
    fields: dict[str, Any] = {
        "name": "default",
        "version": version,
        "not_before": 0,
        "mode": mode,
        "sections": {SNP: section or policy()},
    }
    return PolicyDocument(**{**fields, **changes})


def signed(of: PolicyDocument, *owners: PartyKeys) -> bytes:
    return sign_policy(of, owners or [OWNER]).to_bytes()


def strange() -> SnpPolicy:
    """Accepts other code than that of the good evidence."""
    return policy(measurements=frozenset({bytes(48)}))


@dataclass
class MemoryPolicies:
    """One key of the bucket."""

    record: PolicyRecord | None = None

    @property
    def in_force(self) -> InForce | None:
        return None if self.record is None else InForce.of(verified_state(self.record, OWNERS))

    async def activate(self, signed: bytes, *, now: int) -> PolicyView:
        self.record, view = activated(self.record, signed, OWNERS, now=now)
        return view


@dataclass
class MemoryArchive:
    """The stream."""

    kept: list[tuple[str, AppraisalRecord]] = field(default_factory=list)
    down: bool = False

    async def keep(self, role: str, record: AppraisalRecord) -> None:
        if self.down:
            raise UnreachableError("no stream", code="bus.unreachable")
        self.kept.append((role, record))


@dataclass
class MemoryCrls:
    """The lists that were put there."""

    known: dict[Product, KnownCrl] = field(default_factory=dict)


@dataclass
class MemoryDocuments:
    """The documents that were put there."""

    known: dict[str, Document] = field(default_factory=dict)


def judging(documents: MemoryDocuments | None = None, **changes: Any) -> Judging:
    """The operation over these documents; AMD's service may not be asked."""
    fields: dict[str, Any] = {
        "crls": MemoryCrls(),
        "documents": documents or MemoryDocuments(),
        "kds": None,
        "amd_roots": Roots(certificates=(chain().ark_pem,)),
    }
    return Judging(**(fields | changes))


@dataclass
class Attestor:
    """A verifier and what is behind it."""

    verifier: Verifier
    policies: MemoryPolicies
    archive: MemoryArchive
    crls: MemoryCrls


def attestor(config: AttestorConfig, *documents: PolicyDocument) -> Attestor:
    """An attestor in which these were activated, one after the other."""
    policies, archive, crls = MemoryPolicies(), MemoryArchive(), MemoryCrls()
    for of in documents:
        policies.record, _ = activated(policies.record, signed(of), OWNERS, now=NOW_S)
    verifier = Setup.read(config).verifier(policies, archive, crls)
    return Attestor(verifier, policies, archive, crls)
