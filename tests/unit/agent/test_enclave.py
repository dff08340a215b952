"""An enclave's keys and the evidence over them."""

import secrets

from atoll.evidence import document as documents
from atoll.evidence.document import Tee as EvidenceTee
from atoll_agent.enclave import EnclaveKeys, make_evidence
from support.evidence import chain, guest

MANIFEST = b"m" * 32
NONCE = b"n" * 32


class Device:
    tee = EvidenceTee.SNP

    async def extended_report(self, report_data: bytes) -> tuple[bytes, tuple[bytes, ...]]:
        return guest().attest(report_data), chain().certificates


async def test_evidence_binds_both_keys_the_manifest_and_the_challenge() -> None:
    keys = EnclaveKeys.generate(secrets.token_bytes)
    evidence = await make_evidence(
        keys, Device(), enclave_id="e1", manifest_digest=MANIFEST, nonce=NONCE
    )
    document = documents.parse(evidence.raw)
    bound = documents.report_data(
        keys.signing.public_bytes, keys.hpke.public_bytes, MANIFEST, NONCE
    )
    assert document.report[0x50:0x90] == bound
    assert documents.expected_report_data(document) == bound
    assert evidence.digest == documents.digest(evidence.raw)
    assert document.enclave_id == "e1"


def test_each_enclave_has_keys_of_its_own_and_does_not_show_them() -> None:
    one, other = (EnclaveKeys.generate(secrets.token_bytes) for _ in range(2))
    assert one.signing.public_bytes != other.signing.public_bytes
    assert one.hpke.public_bytes != other.hpke.public_bytes
    assert one.hpke.seed.hex() not in repr(one)
