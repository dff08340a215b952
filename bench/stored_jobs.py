"""A ledger with a past: jobs that ended, with their events, as gateways would have left them."""

import asyncio
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from atoll.bus import BusConfig
from atoll.wire import cloudevents, schema
from atoll.wire.access import DEFAULT_TENANT
from atoll.wire.messages import JobRecord, Report, ReportKind, Tee
from atoll_gateway import core
from bench.load import LoadClient, Message
from bench.report import BenchError

FLYING: Final = 512
CHUNK: Final = 5000
DEADLINE_MS: Final = 3_600_000
LASTS_MS: Final = 500
"""Jobs that are prepared at a time."""
STEPS: Final = (
    ReportKind.LEASED,
    ReportKind.ATTESTING,
    ReportKind.ADMITTED,
    ReportKind.STARTED,
    ReportKind.FINISHED,
)


async def store(config: BusConfig, count: int, *, now_ms: int) -> None:
    """Store `count` jobs that ended one after the other, the last one a minute ago.

    Raises:
        BenchError: the bus did not take one.
    """
    await asyncio.to_thread(_store, config, count, now_ms)


def _store(config: BusConfig, count: int, now_ms: int) -> None:
    model = Past()
    with LoadClient(config) as client:
        for first in range(0, count, CHUNK):
            numbers = range(first, min(first + CHUNK, count))
            messages = [
                message
                for number in numbers
                for message in model.job(number, now_ms - 60_000 - 1000 * (count - number))
            ]
            for reply in client.send(messages, FLYING).replies:
                if b'"error"' in reply:
                    raise BenchError(f"the bus did not take a job: {reply[:200]!r}")


class Past:
    """Jobs that differ in ids and times only, so that a hundred thousand are made in no time."""

    def __init__(self) -> None:
        self._digest = "d" * 64
        self._ms = 1 << 40
        self._job = tuple(past(self._digest, self._ms))

    def job(self, number: int, created_ms: int) -> Iterator[Message]:
        """The events, with the times of the model, and the entry of one job."""
        old, new = self._digest, hashlib.sha256(b"stored %d" % number).hexdigest()
        for message in self._job:
            payload = message.payload.replace(old.encode(), new.encode())
            payload = payload.replace(old[:25].encode(), new[:25].encode())
            for later in (0, LASTS_MS, DEADLINE_MS):
                before, after = ((at + later).to_bytes(8) for at in (self._ms, created_ms))
                payload = payload.replace(before, after)
            subject = message.subject.replace(old[:25], new[:25])
            headers = {
                key: value.replace(old[:25], new[:25])
                for key, value in (message.headers or {}).items()
            }
            yield Message(subject, payload, headers)


def past(digest: str, created_ms: int) -> Iterator[Message]:
    """One job's events, then its entry; by the ledger's own core."""
    record = core.submitted(
        job_id=f"j{digest[:25]}",
        tee=Tee.SIMULATED,
        manifest_digest=digest,
        now_ms=created_ms,
        deadline_ms=DEADLINE_MS,
        traceparent="",
        trace_id=digest[:32],
    )
    for kind in STEPS:
        report = Report(
            job_id=record.view.job_id,
            attempt=1,
            kind=kind,
            enclave_id=f"e{digest[:25]}",
            host_id="host-1",
            spawn_seq=1 if kind is ReportKind.LEASED else 0,
            evidence_digest=digest if kind is ReportKind.ADMITTED else None,
            outcome_digest=digest if kind is ReportKind.FINISHED else None,
        )
        record = core.apply(record, report, now_ms=created_ms + LASTS_MS) or record
    yield from _told(record)
    entry = schema.encode(replace(record, outbox=()))
    yield Message(f"$KV.jobs.{record.view.job_id}", entry)


def _told(record: JobRecord) -> Iterator[Message]:
    for item in record.outbox:
        if item.event is not None:
            headers, payload = cloudevents.binary(item.event, "")
            yield Message(cloudevents.subject_of(item.event, DEFAULT_TENANT), payload, headers)
