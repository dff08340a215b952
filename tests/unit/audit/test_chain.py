"""The chain shows what was done to the stream."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from atoll.audit import Action, ActorKind, AuditEntry, AuditRecord, ChainVerifier, Verdict
from atoll.audit.chain import NO_RECORD, Chain, digest
from atoll.wire import schema

ENTRY = AuditEntry(action=Action.JOB_SUBMIT, actor_kind=ActorKind.TOKEN, actor="abc", object="j1")


def written(
    count: int, writer: str = "w1", *, previous: bytes = NO_RECORD, unrecorded: int = 0
) -> list[bytes]:
    """What a writer stores."""
    chain = Chain(writer=writer, previous=previous)
    stored = []
    for number in range(count):
        record = chain.link(
            replace(ENTRY, object=f"j{number}"), time_ms=1000 + number, unrecorded=unrecorded
        )
        raw = schema.encode(record)
        chain.took(raw)
        stored.append(raw)
    return stored


def judged(records: Sequence[bytes], *, first: int = 1, places: Sequence[int] = ()) -> Verdict:
    verifier = ChainVerifier()
    for place, raw in zip(places or range(first, first + len(records)), records, strict=True):
        verifier.add(place, raw, tenant="main", action="job_submit")
    return verifier.verdict()


def codes(verdict: Verdict) -> list[str]:
    return [found.code for found in verdict.findings]


def edited(raw: bytes, **changes: object) -> bytes:
    return schema.encode(replace(schema.decode(AuditRecord, raw), **changes))  # type: ignore[arg-type]


def test_what_was_written_is_whole() -> None:
    records = written(5)
    verdict = judged(records)
    assert verdict.findings == ()
    assert (verdict.records, verdict.writers, verdict.unanchored) == (5, 1, 1)
    assert (verdict.first_place, verdict.last_place) == (1, 5)
    assert verdict.head == digest(records[-1]).hex()


def test_nothing_is_whole() -> None:
    verdict = judged([])
    assert (verdict.findings, verdict.head) == ((), "")


def test_writers_may_alternate() -> None:
    one = written(3)
    other = written(3, "w2", previous=digest(one[0]))
    verdict = judged([one[0], other[0], one[1], other[1], other[2], one[2]])
    assert verdict.findings == ()
    assert (verdict.writers, verdict.unanchored) == (2, 1)


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_an_edited_record_shows_at_the_next(at: int) -> None:
    records = written(5)
    records[at] = edited(records[at], actor="somebody else")
    verdict = judged(records)
    assert codes(verdict) == ["audit.edited"]
    assert verdict.findings[0].place == at + 2


def test_an_edited_last_record_shows_only_by_a_head_kept_elsewhere() -> None:
    records = written(3)
    kept = judged(records).head
    records[-1] = edited(records[-1], actor="somebody else")
    verdict = judged(records)
    assert verdict.findings == ()
    assert verdict.head != kept


def test_a_missing_record_shows_twice() -> None:
    records = written(5)
    del records[2]
    assert codes(judged(records)) == ["audit.gap"]
    assert codes(judged(records, places=[1, 2, 4, 5])) == ["audit.gap", "audit.hole"]


def test_a_chain_without_its_beginning_shows() -> None:
    assert codes(judged(written(3)[1:])) == ["audit.gap"]


def test_a_stream_whose_beginning_aged_away_is_whole() -> None:
    one = written(6)
    other = written(2, "w2", previous=digest(one[0]))
    assert judged([*one[2:], *other], first=3).findings == ()


def test_a_missing_end_shows_if_a_later_writer_named_it() -> None:
    one = written(3)
    other = written(2, "w2", previous=digest(one[2]))
    assert codes(judged([*one[:2], *other])) == ["audit.anchor"]


def test_a_record_in_the_place_of_another_shows() -> None:
    records = written(3)
    forged = edited(records[1], actor="somebody else")
    assert codes(judged([*records[:2], forged, records[2]])) == ["audit.forked"]


def test_a_record_that_was_stored_twice_is_no_fork() -> None:
    records = written(3)
    assert judged([*records[:2], records[1], records[2]]).findings == ()


def test_what_is_no_record_shows() -> None:
    records = written(2)
    assert codes(judged([records[0], b"\xff" * 20, records[1]])) == ["audit.malformed"]
    assert codes(judged([b"x" * 10_000])) == ["audit.malformed"]


def test_a_record_under_another_subject_shows() -> None:
    verifier = ChainVerifier()
    verifier.add(1, written(1)[0], tenant="other", action="job_submit")
    assert codes(verifier.verdict()) == ["audit.subject"]


def test_what_the_stream_did_not_take_is_counted() -> None:
    assert judged(written(2, unrecorded=3)).unrecorded == 6


def test_free_text_becomes_printable() -> None:
    chain = Chain(writer="w")
    entry = replace(ENTRY, actor="näme\n", object="x" * 1000, source="\x1b[31m")
    record = chain.link(entry, time_ms=1, unrecorded=0)
    assert schema.decode(AuditRecord, schema.encode(record)) == record
    assert (record.actor, len(record.object), record.source) == ("n?me?", 256, "?[31m")
