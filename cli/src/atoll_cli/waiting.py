"""Why a job has not been taken, from what the hosts say of themselves; pure."""

from collections.abc import Callable, Iterable

from atoll.wire.egress import Allowance
from atoll.wire.hosts import HostRecord, HostState
from atoll.wire.messages import JobState, JobView
from atoll.wire.placement import Needs, SpawnClass, class_of
from atoll_cli.text import size


def why_waiting(job: JobView, hosts: Iterable[HostRecord], needs: Needs) -> str | None:
    """One sentence, or None for a job that does not wait for a host."""
    if job.state is not JobState.SUBMITTED:
        return None
    place = class_of(job.tee, needs)
    left = list(hosts)
    for fits, otherwise in (*_fitting(place), *_free(place)):
        fitting = [host for host in left if fits(host)]
        if not fitting:
            return otherwise(left)
        left = fitting
    return "a host with a free slot is about to take it"


_Step = tuple[Callable[[HostRecord], bool], Callable[[list[HostRecord]], str]]
"""What a host must be, and what to say of those before it if none of them is."""


def _fitting(place: SpawnClass) -> tuple[_Step, ...]:
    """What a host must be to start it at all, as `atoll.wire.placement.misfit` has it."""
    kind, needs = place.tee.value, place.needs
    cpus = _count(needs.cpus, "processor", "processors")
    labels = " ".join(f"{name}={value}" for name, value in sorted(needs.labels.items()))
    if needs.tenant is None:
        reserved = f"every {kind} host is reserved for jobs that ask for one of their tenant's"
    else:
        reserved = f"no {kind} host is dedicated to the tenant {needs.tenant}"
    return (
        (
            lambda host: place.tee in host.tees,
            lambda _: f"no host that starts {kind} enclaves is registered",
        ),
        (lambda host: needs.tenant in (host.tenants or (None,)), lambda _: reserved),
        (
            lambda host: needs.labels.items() <= host.labels.items(),
            lambda _: f"no {kind} host that it may use has {labels}",
        ),
        (
            lambda host: not Allowance(host.egress).first_refused(needs.destinations),
            lambda _: (
                f"no {kind} host that it may use lets jobs connect to all of "
                f"{', '.join(needs.destinations)}"
            ),
        ),
        (
            lambda host: needs.memory_bytes <= host.memory_bytes,
            lambda seen: (
                f"it needs a host with {size(needs.memory_bytes)} for jobs, and the largest "
                f"{kind} host that it may use has {size(max(it.memory_bytes for it in seen))}"
            ),
        ),
        (
            lambda host: needs.cpus <= host.cpus,
            lambda seen: (
                f"it needs {cpus} for itself, and the largest {kind} host that it may use has "
                f"{max(it.cpus for it in seen)}"
            ),
        ),
    )


def _free(place: SpawnClass) -> tuple[_Step, ...]:
    """What of a host must be free now."""
    kind, needs = place.tee.value, place.needs
    asked = size(needs.memory_bytes)
    if needs.cpus:
        asked += f" and {_count(needs.cpus, 'processor', 'processors')}"
    return (
        (
            lambda host: host.state is HostState.ACTIVE,
            lambda seen: f"no {kind} host takes jobs: {_count(len(seen), 'is', 'are')} drained",
        ),
        (
            lambda host: host.busy < host.slots,
            lambda seen: (
                f"no {kind} host has a free slot: "
                f"{_count(sum(it.slots for it in seen), 'is', 'are')} busy"
            ),
        ),
        (
            lambda host: host.has_room,
            lambda _: f"no {kind} host with a free slot has enough free memory",
        ),
        (
            lambda host: (
                host.taken_bytes + needs.memory_bytes <= host.memory_bytes
                and host.taken_cpus + needs.cpus <= host.cpus
            ),
            lambda seen: (
                f"it needs {asked}, which other jobs have claimed on "
                f"{_count(len(seen), 'host', 'hosts')} that could start it"
            ),
        ),
        (
            lambda host: host.keeps_room_for in (None, place.consumer.name),
            lambda _: f"the {kind} hosts with room keep it for a larger job that waits longer",
        ),
    )


def _count(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"
