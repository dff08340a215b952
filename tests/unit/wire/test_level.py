"""What is written at a level is read by all who know it, and nothing is lost from it on."""

import dataclasses
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.audit.record import AuditRecord
from atoll.computation.manifest import Manifest
from atoll.errors import ConfigError, MessageError
from atoll.evidence.document import EvidenceDocument
from atoll.policy.records import AppraisalRecord
from atoll.receipt.statement import Receipt
from atoll.sealing.release import KeyRelease
from atoll.sealing.result import ResultRecord
from atoll.wire import codec, hosts, level, messages, schema
from atoll.wire.admission import Admission
from atoll.wire.level import Since
from atoll.wire.messages import (
    AgreedManifest,
    Consent,
    JobRecord,
    JobState,
    JobView,
    OutcomeRecord,
    Tee,
    Withdrawal,
)
from atoll.wire.schema import Range, Size, Token, message
from atoll.wire.upgrade import LevelRecord, SpeakerRecord

RELEASED = level.NEWEST
HIGHEST = 4


@message
class Part:
    name: Token
    since_three: Annotated[int, Range(0, 9), Since(3)] = 0


@message
class Whole:
    first: int
    since_two: Annotated[tuple[Token, ...], Size(0, 3), Since(2)] = ()
    part: Part | None = None
    parts: Annotated[tuple[Part, ...], Size(0, 3)] = ()
    table: Annotated[dict[Token, Part], Size(0, 3)] = dataclasses.field(default_factory=dict)
    since_four: Annotated[Part | None, Since(4)] = None


TOKENS = st.sampled_from(("a", "b", "c-1", "D_2"))
PARTS = st.builds(Part, name=TOKENS, since_three=st.integers(0, 9))
WHOLES = st.builds(
    Whole,
    first=st.integers(-5, 5),
    since_two=st.lists(TOKENS, max_size=3).map(tuple),
    part=st.none() | PARTS,
    parts=st.lists(PARTS, max_size=3).map(tuple),
    table=st.dictionaries(TOKENS, PARTS, max_size=3),
    since_four=st.none() | PARTS,
)
LEVELS = st.integers(1, HIGHEST)


@pytest.fixture(autouse=True)
def four_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this release had four."""
    monkeypatch.setattr(level, "NEWEST", HIGHEST)
    level.limit(HIGHEST)
    level.write(HIGHEST)


def written_at(value: object, at: int) -> bytes:
    level.limit(HIGHEST)
    level.write(at)
    return schema.encode(value)


def read_by(known: int, raw: bytes) -> Whole:
    """By a release whose newest level is `known`."""
    level.limit(known)
    try:
        return schema.decode(Whole, raw)
    finally:
        level.limit(HIGHEST)


def without(part: Part | None, at: int) -> Part | None:
    return part if part is None or at >= 3 else dataclasses.replace(part, since_three=0)


def left_of(whole: Whole, at: int) -> Whole:
    """What a level can say of it."""
    return Whole(
        first=whole.first,
        since_two=whole.since_two if at >= 2 else (),
        part=without(whole.part, at),
        parts=tuple(part for each in whole.parts if (part := without(each, at))),
        table={name: part for name, each in whole.table.items() if (part := without(each, at))},
        since_four=whole.since_four if at >= 4 else None,
    )


@given(WHOLES, LEVELS, LEVELS)
def test_everybody_who_knows_the_level_reads_what_it_can_say(
    whole: Whole, at: int, known: int
) -> None:
    raw = written_at(whole, at)
    if known >= at:
        assert read_by(known, raw) == left_of(whole, at)
        return
    # Whoever is older refuses a field that it does not know, whatever stands there.
    fields = {name for name, _ in flattened(codec.unpackb(raw))}
    newer = {"since_two": 2, "since_three": 3, "since_four": 4}
    if any(newer.get(name, 1) > known for name in fields):
        with pytest.raises(MessageError, match="unknown field"):
            read_by(known, raw)
    else:
        assert read_by(known, raw) == left_of(whole, at)


def flattened(plain: Any) -> list[tuple[str, Any]]:
    if isinstance(plain, dict):
        pairs = [*plain.items()]
        return pairs + [pair for value in plain.values() for pair in flattened(value)]
    if isinstance(plain, list):
        return [pair for value in plain for pair in flattened(value)]
    return []


@given(WHOLES)
def test_the_needed_level_is_the_oldest_that_loses_nothing(whole: Whole) -> None:
    needed = schema.needed_level(whole)
    for at in range(1, HIGHEST + 1):
        kept = read_by(HIGHEST, written_at(whole, at)) == whole
        assert kept == (at >= needed)


def test_a_level_that_nobody_has_heard_of_is_refused_whole() -> None:
    raw = codec.packb({"first": 1, "since_five": 1})
    with pytest.raises(MessageError, match="unknown field 'since_five'"):
        read_by(HIGHEST, raw)


def test_the_json_form_and_the_schema_say_the_same() -> None:
    level.write(1)
    assert schema.to_plain(Whole(first=1, since_two=("a",)), json=True) == {
        "first": 1,
        "part": None,
        "parts": [],
        "table": {},
    }
    described = schema.json_schema(Whole)["properties"]
    assert described["since_two"]["x-since-level"] == 2
    assert "x-since-level" not in described["first"]


def test_a_later_field_without_a_default_is_a_mistake_of_ours() -> None:
    @message
    class Late:
        field: Annotated[int, Since(2)]

    with pytest.raises(TypeError, match="has no default"):
        schema.decode(Late, codec.packb({"field": 1}))


def entry(**changes: Any) -> JobRecord:
    view = JobView(
        job_id="j1",
        state=JobState.SCHEDULED,
        tee=Tee.SIMULATED,
        manifest_digest="ab" * 32,
        attempt=2,
        seq=3,
        created_ms=1,
        updated_ms=2,
        expires_ms=3,
    )
    return JobRecord(view=view, **changes)


def test_the_ledgers_entry_has_holders_from_the_second_level_on() -> None:
    level.write(1)
    old = schema.encode(entry(holders=("e1",)))
    level.write(2)
    new = schema.encode(entry())
    assert "holders" not in codec.unpackb(old)
    assert "holders" in codec.unpackb(new)
    level.limit(1)
    assert schema.decode(JobRecord, old) == entry()
    with pytest.raises(MessageError, match="unknown field 'holders'"):
        schema.decode(JobRecord, new)


def test_an_older_release_reads_what_a_newer_host_says_of_itself() -> None:
    first = hosts.HostRecord(
        host_id="h1",
        instance="ab" * 8,
        machine="m",
        tees=(Tee.SIMULATED,),
        state=hosts.HostState.ACTIVE,
        slots=2,
        busy=1,
        cpus=4,
        memory_bytes=8 << 30,
        has_room=True,
        labels={},
        started_ms=1,
        version="1",
    )
    late = {"tenants", "taken_bytes", "taken_cpus", "warm", "keeps_room_for", "egress"}
    record = dataclasses.replace(
        first, tenants=("clinic",), taken_bytes=5, taken_cpus=1, warm=2, keeps_room_for="m2c0"
    )
    record = dataclasses.replace(record, egress=("example.org:443",))
    old, new = written_at(record, 1), written_at(record, 2)
    assert codec.unpackb(new).keys() - codec.unpackb(old).keys() == late
    level.limit(1)
    assert schema.decode(hosts.HostRecord, old) == first
    with pytest.raises(MessageError, match="unknown field"):
        schema.decode(hosts.HostRecord, new)


def test_a_process_writes_no_older_level_once_it_heard_of_a_newer_one() -> None:
    level.write(1)
    level.heard(2)
    level.heard(1)
    assert level.written() == 2
    level.take_part(1)
    assert level.written() == 1
    level.limit(1)
    with pytest.raises(ConfigError, match=r"level 2 is needed .* speaks 1 to 1") as caught:
        level.write(2)
    assert caught.value.code == "protocol.too_old"
    for wrong in (0, HIGHEST + 1):
        with pytest.raises(ConfigError) as caught:
            level.limit(wrong)
        assert caught.value.code == "protocol.limit"


def test_a_release_without_the_level_in_force_says_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(level, "OLDEST", 2)
    with pytest.raises(ConfigError, match=r"level 1 is needed .* speaks 2 to 4") as caught:
        level.require(1)
    assert caught.value.code == "protocol.too_new"


SAME_AT_EVERY_LEVEL = [
    *(Consent, Withdrawal, AgreedManifest, Manifest, KeyRelease, Admission),
    *(EvidenceDocument, OutcomeRecord, ResultRecord, Receipt, AuditRecord, AppraisalRecord),
    *(LevelRecord, SpeakerRecord),
]
"""Signed, hashed, kept for years, or read by releases of all levels."""


@pytest.mark.parametrize("cls", SAME_AT_EVERY_LEVEL)
def test_what_is_signed_or_hashed_is_the_same_at_every_level(cls: type) -> None:
    assert levels_of(cls) == set()


def levels_of(cls: Any) -> set[int]:
    """Of its fields and of what they hold."""
    text = str(schema.json_schema(cls))
    return {at for at in range(2, HIGHEST + 1) if f"'x-since-level': {at}" in text}


def test_no_field_is_of_a_level_that_this_release_does_not_have() -> None:
    declared = [
        *(one for one in vars(messages).values() if dataclasses.is_dataclass(one)),
        *(one for one in vars(hosts).values() if dataclasses.is_dataclass(one)),
    ]
    found = {at for cls in declared for at in levels_of(cls)}
    assert max(found) == RELEASED
    assert levels_of(JobRecord) == {2}


def test_whoever_starts_must_speak_what_is_about_to_be_in_force() -> None:
    assert LevelRecord(level=1).to_speak == 1
    assert LevelRecord(level=1, raising=2).to_speak == 2
