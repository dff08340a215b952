"""The enclave's identity: fresh keys, and the evidence that binds them to one manifest.

The keys are made here, live in this process's memory and are never written anywhere.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from atoll.evidence.document import EvidenceDocument, encode, report_data
from atoll.sealing.hpke import HpkePrivateKey
from atoll.sealing.signature import SigningKey
from atoll_agent.evidence.provider import Provider


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
    keys: EnclaveKeys, provider: Provider, *, enclave_id: str, manifest_digest: bytes, nonce: bytes
) -> Evidence:
    """Ask the hardware for a quote over keys, manifest and challenge.

    Raises:
        EvidenceError, UnreachableError: as `Provider.quote`.
    """
    signing, hpke = keys.signing.public_bytes, keys.hpke.public_bytes
    bound = report_data(signing, hpke, manifest_digest, nonce)
    quoted = await provider.quote(bound)
    document = EvidenceDocument(
        tee=provider.tee,
        enclave_id=enclave_id,
        report=quoted.report,
        certs=quoted.certs,
        signing_key=signing,
        hpke_key=hpke,
        manifest_digest=manifest_digest,
        nonce=nonce,
    )
    return Evidence(raw=encode(document))
