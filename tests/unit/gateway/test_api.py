"""Accepting jobs, without a bus."""

import pytest

from atoll.errors import ConflictError, ManifestError, NotFoundError, RefusedError
from atoll.telemetry.context import SpanContext
from atoll.wire.messages import (
    JobListRequest,
    JobRequest,
    JobState,
    SignedManifest,
    SubmitRequest,
    Tee,
)
from atoll_gateway.api import GatewayApi
from atoll_gateway.index import JobIndex
from atoll_gateway.ledger import Ledger
from support.gateway import (
    NOW_MS,
    MemoryJobs,
    MemoryManifests,
    MemoryOutlet,
    keys,
    make_manifest,
    sign,
    submission,
)

CONTEXT = SpanContext(trace_id="ab" * 16, span_id="cd" * 8)


def make(jobs: MemoryJobs | None = None, context: SpanContext | None = None) -> GatewayApi:
    return GatewayApi(
        ledger=Ledger(jobs or MemoryJobs(), MemoryOutlet(), lambda: NOW_MS),
        manifests_store=MemoryManifests(),
        index=JobIndex(),
        clock=lambda: NOW_MS,
        tees=frozenset({Tee.SIMULATED}),
        context=lambda: context,
    )


async def test_accepts_a_signed_manifest_as_a_job() -> None:
    view = await make().submit(submission())
    assert view.state is JobState.SUBMITTED
    assert view.expires_ms == NOW_MS + 3_600_000


async def test_the_same_key_gives_the_same_job() -> None:
    api = make()
    first, created = await api.accept(submission())
    again, created_again = await api.accept(submission())
    assert first == again
    assert (created, created_again) == (True, False)


async def test_another_key_gives_another_job() -> None:
    api = make()
    assert (await api.submit(submission())).job_id != (
        await api.submit(submission(key="key-2"))
    ).job_id


async def test_refuses_a_key_that_was_used_for_another_manifest() -> None:
    api = make()
    await api.submit(submission())
    with pytest.raises(ConflictError) as caught:
        await api.submit(submission(nonce=7))
    assert caught.value.code == "job.idempotency"


async def test_one_party_cannot_take_anothers_key() -> None:
    api = make()
    bob = keys("bob")
    raw = make_manifest(bob).to_bytes()
    theirs = SubmitRequest(signed=sign(raw, bob), idempotency_key="key-1")
    assert (await api.submit(theirs)).job_id != (await api.submit(submission())).job_id


async def test_refuses_a_kind_of_enclave_that_nobody_here_starts() -> None:
    with pytest.raises(RefusedError) as caught:
        await make().submit(submission(tee=Tee.SEV_SNP))
    assert caught.value.code == "job.no_such_tee"


async def test_refuses_what_is_not_signed_by_its_parties_and_keeps_nothing() -> None:
    jobs = MemoryJobs()
    request = submission()
    forged = sign(request.signed.manifest, keys("alice", seed=2))
    with pytest.raises(ManifestError) as caught:
        await make(jobs).submit(SubmitRequest(signed=forged, idempotency_key="k"))
    assert caught.value.code == "manifest.signature"
    assert jobs.entries == {}


async def test_remembers_the_trace_of_the_submission() -> None:
    jobs = MemoryJobs()
    view = await make(jobs, CONTEXT).submit(submission())
    found = jobs.peek(view.job_id)
    assert found is not None
    assert view.trace_id == CONTEXT.trace_id
    assert found[0].traceparent == f"00-{'ab' * 16}-{'cd' * 8}-01"


async def test_cancels_once_and_leaves_the_end_as_it_is() -> None:
    api = make()
    job = JobRequest(job_id=(await api.submit(submission())).job_id)
    first = await api.cancel(job)
    again = await api.cancel(job)
    assert first.state is JobState.CANCELLED
    assert first == again == await api.get(job)


async def test_an_unknown_job_is_said_to_be_unknown() -> None:
    with pytest.raises(NotFoundError):
        await make().get(JobRequest(job_id="nobody"))


async def test_a_fresh_index_lists_nothing() -> None:
    assert (await make().list(JobListRequest())).jobs == ()


def test_a_submission_is_legal_on_the_wire() -> None:
    assert isinstance(submission().signed, SignedManifest)
