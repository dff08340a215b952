"""Why a job has not been taken, from what the hosts say of themselves; pure."""

from collections.abc import Iterable

from atoll.wire.hosts import HostRecord, HostState
from atoll.wire.messages import JobState, JobView


def why_waiting(job: JobView, hosts: Iterable[HostRecord]) -> str | None:
    """One sentence, or None for a job that does not wait for a host."""
    if job.state is not JobState.SUBMITTED:
        return None
    kind = job.tee.value
    able = [host for host in hosts if job.tee in host.tees]
    if not able:
        return f"no host that starts {kind} enclaves is registered"
    active = [host for host in able if host.state is HostState.ACTIVE]
    if not active:
        return f"no {kind} host takes jobs: {_count(len(able), 'is', 'are')} drained"
    free = [host for host in active if host.busy < host.slots]
    if not free:
        slots = sum(host.slots for host in active)
        return f"no {kind} host has a free slot: {_count(slots, 'is', 'are')} busy"
    if not any(host.has_room for host in free):
        return f"no {kind} host with a free slot has enough free memory"
    return "a host with a free slot is about to take it"


def _count(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"
