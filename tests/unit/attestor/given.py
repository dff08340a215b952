"""What an attestor is set up with, and its ports in memory."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from atoll.errors import UnreachableError
from atoll.evidence import document as documents
from atoll.evidence.document import Tee
from atoll.evidence.ear_keys import KeyRing
from atoll.evidence.policy import SnpPolicy
from atoll.evidence.products import Product
from atoll.identity import PartyKeys
from atoll.policy.document import Mode, PolicyDocument
from atoll.policy.records import AppraisalRecord
from atoll.policy.sections import KEYSTONE, SNP, TDX, Policy
from atoll.policy.signed import sign_policy
from atoll.policy.templates import strict_keystone, strict_tdx
from atoll.wire.messages import PolicyRecord, PolicyView
from atoll_attestor.collateral.crls import KnownCrl
from atoll_attestor.collateral.documents import Document, read
from atoll_attestor.config import AttestorConfig
from atoll_attestor.gathering import Gathering
from atoll_attestor.judging import Judging
from atoll_attestor.policies import InForce, Owners, activated, verified_state
from atoll_attestor.setup import Setup
from atoll_attestor.signing import SigningKeys
from atoll_attestor.verifier import Verifier
from support import dcap, intel_pcs
from support.evidence import NOW, Binding, chain, policy, trust
from support.evidence import document as evidence_document
from support.gateway import keys as party_keys
from support.keystone import DEVICE, ENCLAVE_HASH, Content
from support.logins import IDENTITIES

NOW_S = int(NOW.timestamp())
RING = KeyRing.generate(lambda size: b"\7" * (size - 1) + b"\1", now=NOW_S)
KEY: Ed25519PublicKey = RING.active.private.public_key()
OWNER: PartyKeys = party_keys("operator")
OTHER: PartyKeys = party_keys("mallory")
MR_TD = b"\x2a" * 48
OWNERS = Owners(name="default", keys=frozenset({OWNER.signing_key}), threshold=1)


def write(directory: Path) -> AttestorConfig:
    """Good files, and the settings that name them."""
    (directory / "keys.json").write_bytes(RING.to_bytes())
    (directory / "owners").mkdir(exist_ok=True)
    (directory / "owners" / "operator.json").write_bytes(OWNER.public.to_bytes())
    (directory / "ark.pem").write_bytes(chain().ark_pem)
    (directory / "door.json").write_bytes(IDENTITIES.door_keys().to_bytes())
    return AttestorConfig(
        nats_url="nats://127.0.0.1:4222",
        nats_creds_file=directory / "attestor.creds",
        door_creds_file=directory / "door.creds",
        door_keys_file=directory / "door.json",
        key_ring_file=directory / "keys.json",
        policy_owners_dir=directory / "owners",
        development_root_file=directory / "ark.pem",
    )


def write_all(directory: Path) -> AttestorConfig:
    """The same, with development roots of both vendors and a Keystone device."""
    config = write(directory)
    roots = chain().ark_pem + dcap.pem(dcap.root_der())
    (directory / "ark.pem").write_bytes(roots)
    (directory / "devices.txt").write_text(f"{DEVICE.public.hex()}  # of these tests\n")
    return replace(config, keystone_devices_file=directory / "devices.txt")


def intel_documents() -> dict[str, Document]:
    """Our own vendor's, about the platform of `enclave`; good at `dcap.NOW`."""
    own = intel_pcs.own_trust()
    found = (read(one.body, one.chain, own) for one in intel_pcs.own().values())
    return {one.key: one for one in found}


def enclave(tee: Tee, nonce: bytes, *, mr_td: bytes = MR_TD) -> bytes:
    """Evidence of a TD or a Keystone enclave over a nonce of the attestor."""
    bound = Binding(nonce=nonce)
    if tee is Tee.TDX:
        body = dcap.td_report(mr_td=mr_td, report_data=bound.report_data)
        report = dcap.Platform(body=body).quote()
    else:
        report = Content(data=bound.report_data).report()
    made = evidence_document(binding=bound)
    return documents.encode(replace(made, tee=tee, report=report, certs=()))


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


def sections() -> dict[str, Policy]:
    """One for every TEE, that a good enclave of our own vendors passes."""
    return {
        SNP: policy(),
        TDX: strict_tdx(frozenset({MR_TD})),
        KEYSTONE: strict_keystone(frozenset({ENCLAVE_HASH})),
    }


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


def in_force(*documents: PolicyDocument) -> MemoryPolicies:
    """The bucket after these were activated, one after the other."""
    policies = MemoryPolicies()
    for of in documents:
        policies.record, _ = activated(policies.record, signed(of), OWNERS, now=NOW_S)
    return policies


def gathering(documents: MemoryDocuments | None = None, **changes: Any) -> Gathering:
    """Over these documents, under the root of `support.evidence`; nobody may be asked."""
    fields: dict[str, Any] = {
        "trust": trust(),
        "crls": MemoryCrls(),
        "documents": documents or MemoryDocuments(),
    }
    return Gathering(**(fields | changes))


def judging(of: Gathering | None = None, **changes: Any) -> Judging:
    """The operation about anybody's evidence."""
    fields: dict[str, Any] = {
        "keys": SigningKeys(RING, ttl_s=300),
        "owners": OWNERS,
        "policies": MemoryPolicies(),
        "archive": MemoryArchive(),
        "gathering": of or gathering(),
        "result_ttl_s": 300,
    }
    return Judging(**(fields | changes))


@dataclass
class Attestor:
    """A verifier and what is behind it."""

    verifier: Verifier
    policies: MemoryPolicies
    archive: MemoryArchive
    crls: MemoryCrls
    documents: MemoryDocuments


def attestor(config: AttestorConfig, *documents: PolicyDocument) -> Attestor:
    """An attestor in which these were activated, one after the other."""
    policies, archive, crls = in_force(*documents), MemoryArchive(), MemoryCrls()
    setup, stored = Setup.read(config), MemoryDocuments()
    found = gathering(stored, trust=setup.trust, crls=crls)
    verifier = setup.verifier(policies, archive, found)
    return Attestor(verifier, policies, archive, crls, stored)
