"""Whether an enclave may be offered work: pure, from its evidence record alone.

The manager does not appraise; it requires the attestor's signed word, and that the
word is about this evidence, this job and this enclave.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from atoll.errors import RejectedEvidenceError
from atoll.evidence import document as documents
from atoll.evidence.ear import Ear, verify_ear
from atoll.wire.messages import EvidenceRecord
from atoll_manager.drivers.driver import EnclaveSpec


def admit(
    record: EvidenceRecord,
    spec: EnclaveSpec,
    keys: Mapping[str, Ed25519PublicKey],
    *,
    now: datetime,
) -> Ear:
    """The attestation result, if it admits exactly this enclave to exactly this job.

    Raises:
        RejectedEvidenceError: `ear.*` from the token, or `evidence.other_enclave`,
            `evidence.other_manifest`.
        MalformedEvidenceError: the evidence is not an evidence document.
    """
    document = documents.parse(record.evidence)
    same = (spec.enclave_id, spec.job_id, spec.attempt)
    if (record.enclave_id, record.job_id, record.attempt) != same or (
        document.enclave_id != spec.enclave_id
    ):
        raise RejectedEvidenceError(
            f"evidence of {document.enclave_id} for enclave {spec.enclave_id}",
            code="evidence.other_enclave",
        )
    if document.manifest_digest.hex() != spec.manifest_digest:
        raise RejectedEvidenceError(
            "evidence is bound to another manifest", code="evidence.other_manifest"
        )
    digest = hashlib.sha256(record.evidence).digest()
    return verify_ear(record.ear, keys, evidence_digest=digest, now=now)
