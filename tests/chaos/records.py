"""Reads what a run left on the bus, with the operator's login."""

from collections import defaultdict
from datetime import datetime

from atoll.bus import Bus, KeyValue, read_stream
from atoll.client.appraisal import Appraiser
from atoll.client.results import check_receipt
from atoll.errors import AtollError, ReceiptError
from atoll.sealing.release import KeyRelease
from atoll.wire import cloudevents, schema, subjects, topology
from atoll.wire.messages import JobRecord, JobView, OutcomeRecord
from chaos.facts import Accepted, Facts, Kill, Outcome, Released, Sighting, Told


async def read_facts(
    bus: Bus,
    appraiser: Appraiser,
    *,
    accepted: list[Accepted],
    sightings: tuple[Sighting, ...],
    kills: list[Kill],
    faults: list[str],
) -> Facts:
    """Everything; what cannot be decoded becomes a fault."""
    faults = list(faults)
    views, undone = await _ledger(bus)
    history = await _history(bus, faults)
    outcomes = await _outcomes(bus, appraiser)
    releases = await _releases(bus)
    faults += await _dead(bus)
    return Facts(
        accepted=tuple(accepted),
        views=views,
        undone=undone,
        history=history,
        outcomes=outcomes,
        releases=releases,
        sightings=sightings,
        kills=tuple(kills),
        faults=tuple(faults),
    )


async def _ledger(bus: Bus) -> tuple[dict[str, JobView], frozenset[str]]:
    entries = await KeyValue(bus, topology.JOBS).entries()
    records = [schema.decode(JobRecord, entry.value) for entry in entries if entry.value]
    return (
        {record.view.job_id: record.view for record in records},
        frozenset(record.view.job_id for record in records if record.outbox),
    )


async def _history(bus: Bus, faults: list[str]) -> dict[str, tuple[Told, ...]]:
    history: dict[str, list[Told]] = defaultdict(list)
    async for item in read_stream(bus, topology.EVENTS.name, subjects.HISTORY.under(None, "job")):
        event = cloudevents.read_job(item.headers, item.payload)
        history[event.job_id].append(Told(time_ms=_ms(item.time), event=event))
        if item.headers.get("ce-id") != cloudevents.event_id(event):
            faults.append(f"event {item.seq} has the id {item.headers.get('ce-id')}")
    return {job_id: tuple(told) for job_id, told in history.items()}


async def _outcomes(bus: Bus, appraiser: Appraiser) -> tuple[Outcome, ...]:
    found = []
    for entry in await KeyValue(bus, topology.OUTCOMES).entries():
        record = schema.decode(OutcomeRecord, entry.value or b"")
        fault = _receipt_fault(record, appraiser)
        if entry.key != f"{record.job_id}.{record.attempt}":
            fault = f"it is stored as {entry.key}"
        found.append(Outcome(job_id=record.job_id, attempt=record.attempt, fault=fault))
    return tuple(found)


def _receipt_fault(record: OutcomeRecord, appraiser: Appraiser) -> str:
    """Verified from end to end; why it is not valid for what it is stored as, or nothing."""
    try:
        receipt = check_receipt(record.receipt, appraiser).receipt
    except (ReceiptError, AtollError) as error:
        return f"{error.code}: {error.message}"
    if (receipt.job_id, receipt.attempt) != (record.job_id, record.attempt):
        return f"it is about {receipt.job_id}, attempt {receipt.attempt}"
    return ""


async def _releases(bus: Bus) -> tuple[Released, ...]:
    found = []
    async for item in read_stream(bus, topology.ENCLAVE.name, subjects.RELEASE.wildcard):
        release = schema.decode(KeyRelease, item.payload)
        (enclave_id,) = subjects.RELEASE.read(item.subject)
        found.append(
            Released(
                time_ms=_ms(item.time),
                job_id=release.job_id,
                attempt=release.attempt,
                enclave_id=enclave_id,
                asset=release.asset_name,
            )
        )
    return tuple(found)


async def _dead(bus: Bus) -> list[str]:
    """Nothing that was published here is poison: a dead letter is a failure."""
    return [
        f"dead letter {item.subject}: {dict(item.headers)}"
        async for item in read_stream(bus, topology.DEAD.name, subjects.DEAD.wildcard)
    ]


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
