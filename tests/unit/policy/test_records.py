"""The time machine: past evidence, its own time, another policy."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import MessageError
from atoll.evidence import document as documents
from atoll.evidence.appraise import appraise_document
from atoll.evidence.findings import Verdict
from atoll.evidence.policy import SnpPolicy
from atoll.evidence.trust import PRODUCTION
from atoll.policy.document import PolicyDocument
from atoll.policy.records import (
    NO_SECTION,
    AppraisalRecord,
    from_bytes,
    judge_with,
    replay,
    to_bytes,
)
from support import evidence, policies
from support.evidence import MANIFEST, NONCE, NOW

OTHER = b"\x77" * 48


def record(name: str = "r1", *, policy: SnpPolicy | None = None, **changes: Any) -> AppraisalRecord:
    """What the attestor would keep of an appraisal of a good or a changed document."""
    judged_by = policy or evidence.policy()
    raw = documents.encode(evidence.document(**changes))
    appraisal = appraise_document(
        raw,
        trust=evidence.trust(),
        policy=judged_by,
        manifest_digest=MANIFEST,
        nonce=NONCE,
        now=NOW,
    )
    return AppraisalRecord(
        id=name,
        at=int(NOW.timestamp() * 1000),
        evidence=raw,
        crls=(),
        manifest_digest=MANIFEST,
        nonce=NONCE,
        policy_name="fleet",
        policy_version=1,
        policy_digest=judged_by.digest.hex(),
        verdict=appraisal.verdict,
        reason=appraisal.reason,
    )


def _document(**changes: Any) -> PolicyDocument:
    sections: dict[str, Any] = {"sev-snp": evidence.policy(**changes)}
    return policies.document(sections=sections)


JUDGE = judge_with(evidence.trust())
GOOD = record()
BAD = record("r2", measurement=OTHER)


def test_records_survive_being_kept() -> None:
    assert from_bytes(to_bytes(GOOD)) == GOOD
    assert (GOOD.verdict, BAD.verdict, BAD.reason) == (
        Verdict.PASS,
        Verdict.FAIL,
        "snp.measurement",
    )


@settings(max_examples=150)
@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_no_record(raw: bytes) -> None:
    with pytest.raises(MessageError):
        from_bytes(raw)


def test_the_same_policy_changes_nothing() -> None:
    result = replay([GOOD, BAD], _document(), JUDGE)
    assert (result.judged, result.changes) == (2, ())


def test_says_which_verdicts_would_change_and_why() -> None:
    new = _document(measurements=frozenset({OTHER}))
    result = replay([GOOD, BAD], new, JUDGE)
    assert (result.judged, result.now_refused, result.now_accepted) == (2, 1, 1)
    refused, accepted = result.changes
    assert (refused.id, refused.new.reason, refused.at) == ("r1", "snp.measurement", NOW)
    (why,) = refused.failed
    assert OTHER.hex() in why
    assert evidence.MEASUREMENT.hex() in why
    assert (accepted.id, accepted.new.passed, accepted.failed) == ("r2", True, ())


def test_another_reason_is_a_change_that_accepts_and_refuses_nothing() -> None:
    result = replay([BAD], _document(vmpls=frozenset({3})), JUDGE)
    (change,) = result.changes
    assert (change.old.reason, change.new.reason) == ("snp.measurement", "snp.vmpl")
    assert (result.now_refused, result.now_accepted) == (0, 0)


def test_evidence_is_judged_at_its_own_time() -> None:
    late = replace(GOOD, at=GOOD.at + int(timedelta(days=365 * 60).total_seconds() * 1000))
    (change,) = replay([late], _document(), JUDGE).changes
    assert change.new.reason == "snp.chain"


def test_evidence_for_another_challenge_does_not_pass_now() -> None:
    (change,) = replay([replace(GOOD, nonce=bytes(32))], _document(), JUDGE).changes
    assert change.new.reason == "document.nonce"
    assert replay([replace(GOOD, nonce=b"")], _document(), JUDGE).changes == ()


def test_a_document_without_the_section_refuses() -> None:
    (change,) = replay([GOOD], policies.document(sections={}), JUDGE).changes
    assert change.new.reason == NO_SECTION
    assert change.failed


def test_malformed_evidence_stays_malformed() -> None:
    broken = replace(BAD, evidence=b"noise", reason="document.parse")
    assert replay([broken], _document(), JUDGE).changes == ()


def test_roots_count_as_they_are_given() -> None:
    (change,) = replay([GOOD], _document(), judge_with(PRODUCTION)).changes
    assert change.new.reason == "snp.root"
