"""Which of the outcomes that enclaves stored is a job's, and which results it names."""

import contextlib
from typing import Protocol

from atoll.errors import MessageError
from atoll.sealing.result import ResultRecord
from atoll.wire import schema
from atoll.wire.messages import JobView, OutcomeRecord


class Outcomes(Protocol):
    """What an attempt gave."""

    async def get(self, job_id: str, attempt: int) -> OutcomeRecord | None: ...


async def current_outcome(view: JobView, outcomes: Outcomes) -> OutcomeRecord | None:
    """The outcome that the ledger names, and no other."""
    if not view.state.terminal or view.outcome_digest is None:
        return None
    record = await outcomes.get(view.job_id, view.attempt)
    if record is None or schema.sha256_hex(schema.encode(record)) != view.outcome_digest:
        return None
    return record


def result_ids(record: OutcomeRecord) -> set[str]:
    """The sealed results that an outcome names. An enclave wrote it: what is unreadable names
    none."""
    found = set()
    for raw in record.results.values():
        with contextlib.suppress(MessageError):
            found.add(schema.decode(ResultRecord, raw).asset_id.hex())
    return found
