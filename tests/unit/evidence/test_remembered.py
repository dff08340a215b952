"""What is remembered follows from bytes alone: nothing else is ever taken from memory."""

from datetime import timedelta

import pytest

from atoll.errors import MalformedEvidenceError, RejectedEvidenceError
from atoll.evidence import document as documents
from atoll.evidence.chain import read_certificate, verify_chain
from atoll.evidence.comparisons import MEMO, equal, finding, unchecked
from atoll.evidence.findings import Outcome
from atoll.evidence.x509 import Certificate
from support import crls, evidence
from support.evidence import NOW

DAY = timedelta(days=1)


def test_a_document_that_differs_in_one_bit_is_another_document() -> None:
    raw = documents.encode(evidence.document())
    known = documents.parse(raw)
    changed = raw.replace(known.nonce, bytes([known.nonce[0] ^ 1]) + known.nonce[1:])
    assert documents.parse(changed).nonce != known.nonce
    assert documents.digest(changed) != documents.digest(raw)
    assert documents.parse(bytes(bytearray(raw))) == known


def test_a_refusal_is_a_refusal_every_time() -> None:
    raw = documents.encode(evidence.document())[:-1]
    for _ in range(3):
        with pytest.raises(MalformedEvidenceError):
            documents.parse(raw)


def test_equal_certificates_have_equal_hashes_and_others_are_told_apart() -> None:
    first, second = evidence.chain().certificates[:2]
    again = Certificate.from_bytes(bytes(bytearray(first)))
    assert again == read_certificate(first)
    assert hash(again) == hash(read_certificate(first))
    assert read_certificate(first) != read_certificate(second)


def test_a_revocation_list_that_was_seen_before_still_expires() -> None:
    certs, raw = evidence.chain().certificates, crls.crl(end=NOW + DAY)
    assert verify_chain(certs, evidence.trust(), now=NOW, crls=[raw]).crl_checked
    with pytest.raises(RejectedEvidenceError) as refused:
        verify_chain(certs, evidence.trust(), now=NOW + 2 * DAY, crls=[raw])
    assert refused.value.code == "evidence.crl_expired"


def test_findings_of_one_field_say_what_each_comparison_found() -> None:
    for number in range(MEMO + 2):
        actual = number.to_bytes(2, "big")
        found = equal("snp.host_data", "HOST_DATA", b"\0\1", actual)
        assert (found.outcome is Outcome.PASS) == (number == 1)
        assert found.actual == actual.hex()
    assert unchecked("a.b", "A", "1").outcome is Outcome.UNCHECKED
    assert finding("a.b", "A", "unchecked", "1").outcome is Outcome.FAIL
    assert finding("a.b", "A", "unchecked", "1", passed=True).outcome is Outcome.PASS
