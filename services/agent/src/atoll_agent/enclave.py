"""The enclave's identity: fresh keys, and the evidence that binds them to one manifest.

The keys are made here, live in this process's memory and are never written anywhere.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, Self

from atoll.evidence.document import EvidenceDocument, encode, report_data
from atoll.evidence.document import Tee as EvidenceTee
from atoll.sealing.hpke import HpkePrivateKey
from atoll.sealing.signature import SigningKey


class Device(Protocol):
    """Where quotes come from."""

    @property
    def tee(self) -> EvidenceTee:
        """Of which kind they are."""

    async def extended_report(self, report_data: bytes) -> tuple[bytes, tuple[bytes, ...]]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EnclaveKeys:
    """An Ed25519 key that signs results and receipts, an X-Wing key that opens releases."""

    signing: SigningKey = field(repr=False)
    hpke: HpkePrivateKey = field(repr=False)

    @classmethod
    def generate(cls, random: Callable[[int], bytes]) -> Self:
        return cls(signing=SigningKey.generate(random), hpke=HpkePrivateKey.generate(random))


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The encoded evidence document, which everything else names by its digest."""

    raw: bytes = field(repr=False)

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.raw).digest()


async def make_evidence(
    keys: EnclaveKeys, device: Device, *, enclave_id: str, manifest_digest: bytes, nonce: bytes
) -> Evidence:
    """Ask the hardware for a quote over keys, manifest and challenge.

    Raises:
        EvidenceError: the device refused or answered nonsense.
        UnreachableError: `device.gone`.
    """
    signing, hpke = keys.signing.public_bytes, keys.hpke.public_bytes
    bound = report_data(signing, hpke, manifest_digest, nonce)
    report, certs = await device.extended_report(bound)
    document = EvidenceDocument(
        tee=device.tee,
        enclave_id=enclave_id,
        report=report,
        certs=certs,
        signing_key=signing,
        hpke_key=hpke,
        manifest_digest=manifest_digest,
        nonce=nonce,
    )
    return Evidence(raw=encode(document))
