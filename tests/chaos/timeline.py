"""One job's story, from the facts: for whoever looks into a finding. Pure."""

from atoll.wire.messages import JobEvent
from chaos.facts import Facts


def timeline(facts: Facts, job_id: str) -> list[str]:
    """Everything that is known of a job, in the order of time; one line each."""
    told = facts.history.get(job_id, ())
    lines = [(one.time_ms, _event(one.event)) for one in told]
    lines += [
        (one.time_ms, f"release of {one.asset} to {one.enclave_id}, attempt {one.attempt}")
        for one in facts.releases
        if one.job_id == job_id
    ]
    lines += [
        (one.last_ms, f"{one.enclave_id}, attempt {one.attempt}, was seen alive for the last time")
        for one in facts.sightings
        if one.job_id == job_id
    ]
    begin = min((time_ms for time_ms, _ in lines), default=0)
    end = max((time_ms for time_ms, _ in lines), default=0)
    lines += [
        (one.time_ms, f"kill of {one.target.value} {one.pid}")
        for one in facts.kills
        if one.job_id == job_id or (not one.job_id and begin <= one.time_ms <= end)
    ]
    return [f"{time_ms - begin:8} ms  {text}" for time_ms, text in sorted(lines)]


def _event(event: JobEvent) -> str:
    text = f"event {event.seq} {event.type.value}, attempt {event.attempt}, {event.enclave_id}"
    return f"{text}, {event.reason.code}: {event.reason.message}" if event.reason else text
