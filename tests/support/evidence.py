"""Simulated evidence for tests, good and bad.

Chains are made once per process (`chain`, `other_chain`): their RSA keys are slow.
Bad reports are signed by the right key over the wrong content, which only a test can do.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from atoll.evidence import document as documents
from atoll.evidence.certs import Signer
from atoll.evidence.document import EvidenceDocument, Tee
from atoll.evidence.policy import UNCHECKED, SnpPolicy
from atoll.evidence.products import Product, TcbVersion
from atoll.evidence.snp import AttestationReport
from atoll.evidence.trust import TrustStore
from atoll.simulated.chain import DevelopmentChain, DevelopmentKeys
from atoll.simulated.report import SimulatedGuest, SimulatedProcessor, sign_body

NOW = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
CHIP_ID = bytes(range(64))
TCB = TcbVersion(bootloader=4, tee=1, snp=24, microcode=219)
MEASUREMENT = bytes(range(48))
REPORT_ID = b"\x11" * 32
SIGNING_KEY = b"\x21" * 32
HPKE_KEY = b"\x22" * 1216
MANIFEST = b"\x23" * 32
NONCE = b"\x24" * 32


@cache
def keys() -> DevelopmentKeys:
    """The keys of `chain`."""
    return DevelopmentKeys.generate()


@cache
def chain() -> DevelopmentChain:
    """The development chain that tests trust."""
    return DevelopmentChain.generate(now=NOW, keys=keys(), chip_id=CHIP_ID, tcb=TCB)


@cache
def other_chain() -> DevelopmentChain:
    """A chain with the same names under another root, which nobody trusts."""
    ark = rsa.generate_private_key(public_exponent=65537, key_size=4096)
    vcek = ec.generate_private_key(ec.SECP384R1())
    mixed = replace(keys(), ark=ark, vcek=vcek)
    return DevelopmentChain.generate(now=NOW, keys=mixed, chip_id=CHIP_ID, tcb=TCB)


@cache
def trust() -> TrustStore:
    """Only the root of `chain`."""
    return TrustStore(roots=frozenset()).with_development_root(chain().ark_pem)


def guest(measurement: bytes = MEASUREMENT, **launch: Any) -> SimulatedGuest:
    """A guest on the simulated processor."""
    processor = SimulatedProcessor(chain=chain())
    return processor.launch(measurement, report_id=REPORT_ID, **launch)


def resign(report: bytes, signer: DevelopmentChain | None = None, **changes: Any) -> bytes:
    """The report with changed fields of `ReportBody`, signed again by `chain` or `signer`."""
    body = replace(AttestationReport.from_bytes(report).body, **changes)
    return sign_body(body, signer or chain())


@dataclass(frozen=True, kw_only=True)
class Binding:
    """What a document is made for."""

    signing_key: bytes = SIGNING_KEY
    hpke_key: bytes = HPKE_KEY
    manifest_digest: bytes = MANIFEST
    nonce: bytes = NONCE

    @property
    def report_data(self) -> bytes:
        """As the agent would ask for it."""
        return documents.report_data(
            self.signing_key, self.hpke_key, self.manifest_digest, self.nonce
        )


def document(
    *, binding: Binding | None = None, signer: DevelopmentChain | None = None, **changes: Any
) -> EvidenceDocument:
    """A good document; `changes` to the report's body or another `signer` make it bad."""
    bound = binding or Binding()
    report = guest().attest(bound.report_data)
    if changes or signer is not None:
        report = resign(report, signer, **changes)
    return EvidenceDocument(
        tee=Tee.SNP,
        enclave_id="enclave-1",
        report=report,
        certs=(signer or chain()).certificates,
        signing_key=bound.signing_key,
        hpke_key=bound.hpke_key,
        manifest_digest=bound.manifest_digest,
        nonce=bound.nonce,
    )


def policy(**changes: Any) -> SnpPolicy:
    """Strict where the simulated processor can pass, unchecked elsewhere."""
    strict = SnpPolicy(
        measurements=frozenset({MEASUREMENT}),
        minimum_tcb=TCB,
        minimum_launch_tcb=UNCHECKED,
        minimum_committed_tcb=UNCHECKED,
        minimum_current_tcb=UNCHECKED,
        minimum_current_version=UNCHECKED,
        minimum_committed_version=UNCHECKED,
        minimum_current_build=UNCHECKED,
        minimum_committed_build=UNCHECKED,
        allow_provisional_firmware=False,
        products=frozenset({Product.SIMULATED}),
        steppings=UNCHECKED,
        signers=frozenset({Signer.VCEK}),
        csp_ids=UNCHECKED,
        minimum_report_version=UNCHECKED,
        vmpls=frozenset({0}),
        allow_debug=False,
        allow_migrate_ma=False,
        allow_smt=True,
        guest_policy_required=UNCHECKED,
        guest_policy_forbidden=UNCHECKED,
        minimum_guest_abi=UNCHECKED,
        host_data=UNCHECKED,
        require_id_block=False,
        id_key_digests=UNCHECKED,
        require_author_key=False,
        author_key_digests=UNCHECKED,
        family_id=UNCHECKED,
        image_id=UNCHECKED,
        chip_ids=UNCHECKED,
        report_ids=UNCHECKED,
        report_id_mas=UNCHECKED,
        minimum_guest_svn=UNCHECKED,
        platform_info_required=UNCHECKED,
        platform_info_forbidden=UNCHECKED,
        launch_mitigations_required=UNCHECKED,
        current_mitigations_required=UNCHECKED,
        require_crl=False,
    )
    return replace(strict, **changes)
