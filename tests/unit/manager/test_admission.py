"""Only the enclave that the attestor spoke for is offered the job."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given as with_values
from hypothesis import settings
from hypothesis import strategies as st

from atoll.errors import EvidenceError
from atoll.evidence import document as documents
from atoll.evidence.appraise import appraise_document
from atoll.evidence.ear import issue_ear
from atoll.wire.messages import EvidenceRecord
from atoll_manager.admission import admit
from atoll_manager.drivers.driver import EnclaveSpec
from support.evidence import MANIFEST, NONCE, NOW, Binding, document, other_chain, policy, trust

KEY = Ed25519PrivateKey.generate()
KEYS: Mapping[str, Ed25519PublicKey] = {"k1": KEY.public_key()}
SPEC = EnclaveSpec(
    enclave_id="enclave-1", job_id="job-1", attempt=1, manifest_digest=MANIFEST.hex()
)


def record(key: Ed25519PrivateKey = KEY, **changes: Any) -> EvidenceRecord:
    """What an enclave publishes, with the attestor's word on it."""
    raw = documents.encode(document(**changes))
    appraisal = appraise_document(
        raw, trust=trust(), policy=policy(), manifest_digest=MANIFEST, nonce=NONCE, now=NOW
    )
    ear = issue_ear(
        appraisal,
        evidence_digest=documents.digest(raw),
        nonce=NONCE,
        issuer="test",
        key=key,
        kid="k1",
        now=NOW,
        ttl_s=300,
    )
    return EvidenceRecord(enclave_id="enclave-1", job_id="job-1", attempt=1, evidence=raw, ear=ear)


GOOD = record()


def refused(given: EvidenceRecord, *, spec: EnclaveSpec = SPEC, late_s: int = 0) -> str:
    with pytest.raises(EvidenceError) as caught:
        admit(given, spec, KEYS, now=NOW + timedelta(seconds=late_s))
    return caught.value.code


def test_an_enclave_that_the_attestor_affirms_is_admitted_and_says_simulated() -> None:
    assert admit(GOOD, SPEC, KEYS, now=NOW).simulated


@pytest.mark.parametrize(
    "field", [{"enclave_id": "enclave-2"}, {"job_id": "job-2"}, {"attempt": 2}]
)
def test_evidence_of_another_enclave_job_or_attempt_is_refused(field: dict[str, Any]) -> None:
    assert refused(replace(GOOD, **field)) == "evidence.other_enclave"
    assert refused(GOOD, spec=replace(SPEC, **field)) == "evidence.other_enclave"


def test_a_record_that_calls_itself_ours_over_another_s_evidence_is_refused() -> None:
    spec = replace(SPEC, enclave_id="enclave-2")
    assert refused(replace(GOOD, enclave_id="enclave-2"), spec=spec) == "evidence.other_enclave"


def test_evidence_for_another_manifest_is_refused() -> None:
    other = record(binding=Binding(manifest_digest=bytes(32)))
    assert refused(other) == "evidence.other_manifest"


def test_a_bad_verdict_is_a_refusal() -> None:
    assert refused(record(signer=other_chain())) == "ear.status"


def test_a_word_that_has_expired_is_refused() -> None:
    assert refused(GOOD, late_s=300) == "ear.expired"


def test_a_word_by_somebody_else_is_refused() -> None:
    assert refused(record(Ed25519PrivateKey.generate())) == "ear.signature"


def test_a_word_about_other_evidence_is_refused() -> None:
    other = record(binding=Binding(nonce=bytes(32)))
    assert refused(replace(GOOD, ear=other.ear)) == "ear.evidence"


@settings(max_examples=60, deadline=None)
@with_values(st.binary(max_size=200), st.text(max_size=100))
def test_arbitrary_records_are_refused(raw: bytes, ear: str) -> None:
    assert refused(replace(GOOD, evidence=raw or b"x"))
    assert refused(replace(GOOD, ear=ear or "x"))
