"""The hash chain of a writer's records: linking them, and judging what was read back. Pure.

Each record names the SHA-256 of the writer's record before it. To change, insert or take away a
record in the middle, all later ones of that writer must be made anew. What this does not show:
that the newest records of a writer are missing, unless a later writer named one of them when it
began; and anything that a whole rewriting of the stream hides, since no key signs the chain.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Final

from atoll.ascii_text import printable
from atoll.audit.record import MAX_ACTOR, MAX_OBJECT, AuditEntry, AuditRecord
from atoll.errors import MessageError
from atoll.wire import schema

NO_RECORD: Final = bytes(32)
MAX_RECORD: Final = 4096
"""Bytes of the largest record that is read."""
MAX_FINDINGS: Final = 1000


def digest(raw: bytes) -> bytes:
    """What the next record says of this one."""
    return hashlib.sha256(raw).digest()


@dataclass(slots=True, kw_only=True)
class Chain:
    """A writer's end of its chain."""

    writer: str
    previous: bytes = NO_RECORD
    seq: int = 0
    """Of the record before."""

    def link(self, entry: AuditEntry, *, time_ms: int, unrecorded: int) -> AuditRecord:
        """The next record; it counts once `took` was told so."""
        return AuditRecord(
            writer=self.writer,
            seq=self.seq + 1,
            previous=self.previous,
            time_ms=time_ms,
            tenant=entry.tenant,
            action=entry.action,
            actor_kind=entry.actor_kind,
            actor=printable(entry.actor, MAX_ACTOR) or "-",
            object=printable(entry.object, MAX_OBJECT),
            outcome=entry.outcome,
            code=entry.code,
            request_id=entry.request_id,
            trace_id=entry.trace_id,
            source=printable(entry.source, 64),
            unrecorded=unrecorded,
        )

    def took(self, raw: bytes) -> None:
        """The stream took the record that `link` made."""
        self.previous = digest(raw)
        self.seq += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that a whole chain does not have. `place` is a sequence of the stream.

    code: `audit.malformed`, `audit.subject` (it says something else than its subject),
    `audit.hole` (the stream lacks a sequence), `audit.gap` (the writer's count has one),
    `audit.edited` (the record before is not the one that is named), `audit.forked` (two records
    with one place in a chain), `audit.anchor` (it began after a record that is not there).
    """

    code: str
    place: int
    writer: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was read and what is wrong with it."""

    records: int
    writers: int
    unanchored: int
    """Chains that began when the stream, as they saw it, was empty."""
    unrecorded: int
    """Records that writers say the stream did not take."""
    first_place: int
    last_place: int
    head: str
    """SHA-256 of the newest record: kept elsewhere, it shows later whether anything is gone."""
    findings: tuple[Finding, ...]


@dataclass(slots=True)
class _Seen:
    seq: int
    raw: bytes


@dataclass(slots=True)
class ChainVerifier:
    """Takes every record of the stream in order, then says what is wrong."""

    _last: dict[str, _Seen] = field(default_factory=dict)
    _digests: set[bytes] = field(default_factory=set)
    _begun: list[tuple[int, str, bytes]] = field(default_factory=list)
    _findings: list[Finding] = field(default_factory=list)
    _first: int = 0
    _place: int = 0
    _records: int = 0
    _unrecorded: int = 0
    _head: bytes = NO_RECORD

    def add(self, place: int, raw: bytes, *, tenant: str, action: str) -> AuditRecord | None:
        """Look at the record at `place` of the stream, under the subject of `tenant` and
        `action`; the record, or None for what is none."""
        if self._first and place != self._place + 1:
            self._find("audit.hole", place, "", f"nothing between {self._place} and {place}")
        self._first = self._first or place
        self._place = place
        self._records += 1
        self._head = digest(raw)
        self._digests.add(self._head)
        try:
            record = schema.decode(AuditRecord, raw, limit=MAX_RECORD)
        except MessageError as error:
            self._find("audit.malformed", place, "", error.message)
            return None
        if (record.tenant, record.action.value) != (tenant, action):
            self._find("audit.subject", place, record.writer, f"came as {tenant}.{action}")
        self._link(place, record, raw)
        return record

    def verdict(self) -> Verdict:
        """All findings, in order of their places."""
        unanchored = 0
        for place, writer, anchor in self._begun:
            if anchor == NO_RECORD:
                unanchored += 1
            elif anchor not in self._digests and self._first == 1:
                # In a stream whose beginning has aged away, what it names may have, too.
                self._find("audit.anchor", place, writer, "it began after a record that is gone")
        return Verdict(
            records=self._records,
            writers=len(self._last),
            unanchored=unanchored,
            unrecorded=self._unrecorded,
            first_place=self._first,
            last_place=self._place,
            head=self._head.hex() if self._records else "",
            findings=tuple(sorted(self._findings, key=lambda found: (found.place, found.code))),
        )

    def _link(self, place: int, record: AuditRecord, raw: bytes) -> None:
        last = self._last.get(record.writer)
        if last is not None and record.seq <= last.seq:
            # A record whose acknowledgement was lost may be stored twice, but then as it was.
            if digest(raw) != digest(last.raw):
                self._find("audit.forked", place, record.writer, f"another record {record.seq}")
            return
        self._unrecorded += record.unrecorded
        self._last[record.writer] = _Seen(record.seq, raw)
        if last is None:
            if record.seq == 1:
                self._begun.append((place, record.writer, record.previous))
            elif self._first == 1:
                self._find("audit.gap", place, record.writer, f"it begins at {record.seq}")
            return
        if record.seq != last.seq + 1:
            missing = f"records {last.seq + 1} to {record.seq - 1} are missing"
            self._find("audit.gap", place, record.writer, missing)
        elif record.previous != digest(last.raw):
            message = f"record {last.seq} is not the one that record {record.seq} names"
            self._find("audit.edited", place, record.writer, message)

    def _find(self, code: str, place: int, writer: str, message: str) -> None:
        if len(self._findings) < MAX_FINDINGS:
            self._findings.append(Finding(code=code, place=place, writer=writer, message=message))
