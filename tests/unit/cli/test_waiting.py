"""A job that waits says why, and one that does not says nothing."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.wire.hosts import HostRecord, HostState
from atoll.wire.messages import JobState, JobView, Tee
from atoll.wire.placement import Needs, class_of, misfit
from atoll_cli.waiting import why_waiting

JOB = JobView(
    job_id="j1",
    state=JobState.SUBMITTED,
    tee=Tee.SIMULATED,
    manifest_digest="ab" * 32,
    attempt=0,
    seq=1,
    created_ms=1,
    updated_ms=1,
    expires_ms=2,
)
FREE = HostRecord(
    host_id="a",
    instance="i",
    machine="m",
    tees=(Tee.SIMULATED,),
    state=HostState.ACTIVE,
    slots=2,
    busy=1,
    cpus=2,
    memory_bytes=8 << 30,
    has_room=True,
    labels={},
    started_ms=1,
    version="0",
)
DRAINED = replace(FREE, state=HostState.DRAINED)
FULL = replace(FREE, busy=2)
OTHER = replace(FREE, tees=(Tee.SEV_SNP,))
CRAMPED = replace(FREE, has_room=False)


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        ((), "no host that starts simulated enclaves is registered"),
        ((OTHER,), "no host that starts simulated enclaves is registered"),
        ((DRAINED, OTHER), "no simulated host takes jobs: 1 is drained"),
        ((DRAINED, DRAINED), "no simulated host takes jobs: 2 are drained"),
        ((FULL, DRAINED), "no simulated host has a free slot: 2 are busy"),
        ((FULL, CRAMPED), "no simulated host with a free slot has enough free memory"),
        ((CRAMPED, FREE), "a host with a free slot is about to take it"),
    ],
)
def test_a_waiting_job_says_why(hosts: tuple[HostRecord, ...], said: str) -> None:
    assert why_waiting(JOB, hosts, Needs()) == said


GIB = 1 << 30
LARGEST = "the largest simulated host that it may use has"
CLAIMED = "which other jobs have claimed on 2 hosts that could start it"
GPU = Needs(labels={"gpu": "a100"})
WITH_GPU = replace(FREE, labels={"gpu": "a100"})
PLACES = "a.example:1, b.example:2"
OUT = Needs(destinations=("a.example:1", "b.example:2"))
LETS_OUT = replace(FREE, egress=("*.example:1", "b.example:2"))
NORTHS = replace(FREE, tenants=("north",))


@pytest.mark.parametrize(
    ("needs", "hosts", "said"),
    [
        (GPU, (FREE,), "no simulated host that it may use has gpu=a100"),
        (GPU, (FREE, WITH_GPU), "a host with a free slot is about to take it"),
        (GPU, (FREE, replace(WITH_GPU, busy=2)), "no simulated host has a free slot: 2 are busy"),
        (
            Needs(),
            (NORTHS,),
            "every simulated host is reserved for jobs that ask for one of their tenant's",
        ),
        (
            Needs(tenant="south"),
            (FREE, NORTHS),
            "no simulated host is dedicated to the tenant south",
        ),
        (Needs(tenant="north"), (FREE, NORTHS), "a host with a free slot is about to take it"),
        (
            OUT,
            (FREE, replace(FREE, egress=("a.example:1",))),
            f"no simulated host that it may use lets jobs connect to all of {PLACES}",
        ),
        (OUT, (FREE, LETS_OUT), "a host with a free slot is about to take it"),
        (
            Needs(memory_bytes=9 * GIB),
            (FREE, replace(FREE, memory_bytes=4 * GIB)),
            f"it needs a host with 12.0 GiB for jobs, and {LARGEST} 8.0 GiB",
        ),
        (
            Needs(cpus=3),
            (FREE,),
            f"it needs 3 processors for itself, and {LARGEST} 2",
        ),
        (
            Needs(memory_bytes=3 * GIB, cpus=1),
            (replace(FREE, taken_bytes=6 * GIB), replace(FREE, taken_cpus=2), FULL),
            f"it needs 3.0 GiB and 1 processor, {CLAIMED}",
        ),
        (
            Needs(),
            (replace(FREE, keeps_room_for="managers-simulated-m8c0-any"),),
            "the simulated hosts with room keep it for a larger job that waits longer",
        ),
        (
            Needs(memory_bytes=8 * GIB),
            (replace(FREE, keeps_room_for="managers-simulated-m8c0-any"),),
            "a host with a free slot is about to take it",
        ),
    ],
)
def test_a_job_with_further_needs_says_what_is_missing(
    needs: Needs, hosts: tuple[HostRecord, ...], said: str
) -> None:
    assert why_waiting(JOB, hosts, needs) == said


@given(
    st.builds(
        Needs,
        memory_bytes=st.integers(0, 12 * GIB),
        cpus=st.integers(0, 4),
        labels=st.sampled_from([{}, {"gpu": "a100"}, {"gpu": "a100", "zone": "b"}]),
        tenant=st.sampled_from([None, "north", "south"]),
        destinations=st.sampled_from([(), OUT.destinations]),
    ),
    st.sampled_from(
        [LETS_OUT, FREE, WITH_GPU, NORTHS, OTHER, replace(NORTHS, labels={"gpu": "a100"})]
    ),
)
def test_what_it_says_is_what_managers_go_by(needs: Needs, host: HostRecord) -> None:
    can_start = misfit(Tee.SIMULATED, class_of(Tee.SIMULATED, needs).needs, host) is None
    said = why_waiting(JOB, [host], needs)
    assert (said == "a host with a free slot is about to take it") == can_start


@pytest.mark.parametrize("state", [state for state in JobState if state is not JobState.SUBMITTED])
def test_a_job_that_was_taken_or_ended_waits_for_no_host(state: JobState) -> None:
    assert why_waiting(replace(JOB, state=state), (), Needs()) is None
