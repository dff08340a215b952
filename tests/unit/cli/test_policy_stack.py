"""What a replay over a stream says, however long the stream is."""

from atoll.evidence import document as documents
from atoll.evidence.findings import Verdict
from atoll.policy.records import AppraisalRecord, judge_with, to_bytes
from atoll_cli.policy_stack import MAX_EXAMPLES, Tally, tally_document
from support.evidence import MANIFEST, NOW, document, trust
from unit.attestor import given

JUDGE = judge_with(trust())


def kept(number: int, *, passed: bool, reason: str = "") -> bytes:
    record = AppraisalRecord(
        id=f"r{number}",
        at=int(NOW.timestamp() * 1000) + number,
        evidence=documents.encode(document()),
        crls=(),
        manifest_digest=MANIFEST,
        nonce=b"",
        policy_name="default",
        policy_version=1,
        policy_digest="0" * 64,
        verdict=Verdict.PASS if passed else Verdict.FAIL,
        reason=reason,
    )
    return to_bytes(record)


def tally(raws: list[bytes], of: object = None) -> Tally:
    made = Tally()
    for raw in raws:
        made.add(raw, of or given.document(), JUDGE)  # type: ignore[arg-type]
    return made


def test_the_policy_that_decided_changes_nothing() -> None:
    found = tally([kept(1, passed=True)])
    assert (found.judged, found.now_refused, found.now_accepted, found.examples) == (1, 0, 0, [])


def test_changes_are_counted_by_the_check_that_decides_now() -> None:
    strict = given.document(2, section=given.strange())
    found = tally([kept(1, passed=True), kept(2, passed=False, reason="snp.debug")], strict)
    assert (found.now_refused, found.now_accepted, found.other_reason) == (1, 0, 1)
    assert dict(found.by_finding) == {"snp.measurement": 2}


def test_what_is_accepted_now_is_counted_by_the_check_that_decided_then() -> None:
    found = tally([kept(1, passed=False, reason="snp.measurement")])
    assert (found.now_accepted, dict(found.by_finding)) == (1, {"snp.measurement": 1})


def test_examples_are_few_and_the_counts_are_whole() -> None:
    raw = kept(1, passed=False, reason="snp.debug")
    found = tally([raw] * (MAX_EXAMPLES + 5))
    assert (found.now_accepted, len(found.examples)) == (MAX_EXAMPLES + 5, MAX_EXAMPLES)
    assert len(tally_document(found)["changes"]) == MAX_EXAMPLES


def test_what_is_no_record_is_counted_and_does_not_end_the_replay() -> None:
    found = tally([b"no record", kept(1, passed=True)])
    assert (found.unreadable, found.judged) == (1, 1)
