"""A job that waits says why, and one that does not says nothing."""

from dataclasses import replace

import pytest

from atoll.wire.hosts import HostRecord, HostState
from atoll.wire.messages import JobState, JobView, Tee
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
    memory_bytes=1 << 30,
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
    assert why_waiting(JOB, hosts) == said


@pytest.mark.parametrize("state", [state for state in JobState if state is not JobState.SUBMITTED])
def test_a_job_that_was_taken_or_ended_waits_for_no_host(state: JobState) -> None:
    assert why_waiting(replace(JOB, state=state), ()) is None
