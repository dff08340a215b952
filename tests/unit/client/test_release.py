"""Keys go to the enclave that the job waits with, and to no other."""

from dataclasses import replace
from typing import Final

import pytest

from atoll.client.release import StaleAttemptError, require_waiting
from atoll.wire.messages import JobState, JobView, Tee

WAITING: Final = JobView(
    job_id="job-1",
    state=JobState.AWAITING_ASSETS,
    tee=Tee.SIMULATED,
    manifest_digest="ab" * 32,
    attempt=2,
    seq=9,
    created_ms=1,
    updated_ms=1,
    expires_ms=1,
    enclave_id="enclave-2",
)


def test_an_enclave_that_the_job_waits_with_may_get_keys() -> None:
    require_waiting(WAITING, attempt=2, enclave_id="enclave-2")


@pytest.mark.parametrize("state", [s for s in JobState if s is not JobState.AWAITING_ASSETS])
def test_in_no_other_state_any_enclave_may_get_keys(state: JobState) -> None:
    with pytest.raises(StaleAttemptError) as caught:
        require_waiting(replace(WAITING, state=state), attempt=2, enclave_id="enclave-2")
    assert caught.value.code == "release.stale_attempt"


@pytest.mark.parametrize(
    ("attempt", "enclave_id"), [(1, "enclave-1"), (1, "enclave-2"), (2, "twin"), (3, "enclave-2")]
)
def test_an_enclave_of_another_attempt_gets_none(attempt: int, enclave_id: str) -> None:
    with pytest.raises(StaleAttemptError):
        require_waiting(WAITING, attempt=attempt, enclave_id=enclave_id)
