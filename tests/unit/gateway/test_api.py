"""Accepting jobs, without a bus."""

from dataclasses import replace

import pytest

from atoll.computation.consent import withdraw
from atoll.computation.manifest import Manifest, TeeRequirements, digest
from atoll.computation.network import Destination, Network, NetworkMode
from atoll.computation.steps import WorkloadKind
from atoll.errors import (
    ConflictError,
    ManifestError,
    NotFoundError,
    RefusedError,
    UnreachableError,
)
from atoll.telemetry.context import SpanContext
from atoll.wire.messages import (
    AgreedManifest,
    JobListRequest,
    JobRequest,
    JobState,
    SubmitRequest,
    Tee,
    WithdrawRequest,
)
from atoll_gateway import index
from atoll_gateway.api import GatewayApi
from atoll_gateway.index import JobIndex
from atoll_gateway.ledger import Ledger
from atoll_gateway.placing import AnyPlace
from support.gateway import (
    NOW_MS,
    MemoryJobs,
    MemoryManifests,
    MemoryOutlet,
    MemoryWithdrawals,
    keys,
    make_manifest,
    sign,
    submission,
)

CONTEXT = SpanContext(trace_id="ab" * 16, span_id="cd" * 8)


def make(
    jobs: MemoryJobs | None = None,
    context: SpanContext | None = None,
    *,
    withdrawals: MemoryWithdrawals | None = None,
    known: JobIndex | None = None,
    places: AnyPlace | None = None,
) -> GatewayApi:
    return GatewayApi(
        ledger=Ledger(jobs or MemoryJobs(), MemoryOutlet(), lambda: NOW_MS),
        manifests_store=MemoryManifests(),
        withdrawals=withdrawals or MemoryWithdrawals(),
        index=JobIndex() if known is None else known,
        clock=lambda: NOW_MS,
        tees=frozenset({Tee.SIMULATED}),
        places=places or AnyPlace(),
        context=lambda: context,
    )


class NoPlace(AnyPlace):
    """Refuses every job as long as it is full."""

    full = True

    async def require(self, manifest: Manifest, digest: str, tenant: str) -> None:
        if self.full:
            raise RefusedError("full", code="placement.too_many")


async def test_a_job_without_a_place_is_refused_unless_it_was_accepted_before() -> None:
    places, jobs = NoPlace(), MemoryJobs()
    api = make(jobs, places=places)
    with pytest.raises(RefusedError) as caught:
        await api.submit(submission())
    assert caught.value.code == "placement.too_many"
    places.full = False
    view = await api.submit(submission())
    places.full = True
    assert await api.submit(submission()) == view
    with pytest.raises(RefusedError):
        await api.submit(submission(key="key-2"))


async def test_accepts_an_agreed_manifest_as_a_job() -> None:
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
    theirs = SubmitRequest(agreed=sign(raw, bob), idempotency_key="key-1")
    assert (await api.submit(theirs)).job_id != (await api.submit(submission())).job_id


@pytest.mark.parametrize("kind", WorkloadKind)
async def test_refuses_a_network_that_nothing_holds_a_workload_of_the_kind_to(
    kind: WorkloadKind,
) -> None:
    allowed = Network(
        mode=NetworkMode.ALLOW, destinations=(Destination(host="example.org", port=443),)
    )
    (step,) = make_manifest(keys("alice")).steps
    asked = submission(network=allowed, steps=(replace(step, kind=kind),))
    if kind in {WorkloadKind.BINARY, WorkloadKind.PYTHON}:
        await make().submit(asked)
        return
    with pytest.raises(RefusedError, match=kind.value) as caught:
        await make().submit(asked)
    assert caught.value.code == "network.unsupported"


async def test_refuses_a_kind_of_enclave_that_nobody_here_starts() -> None:
    with pytest.raises(RefusedError) as caught:
        await make().submit(submission(tee=TeeRequirements(kind=Tee.SEV_SNP)))
    assert caught.value.code == "job.no_such_tee"


async def test_refuses_what_its_parties_did_not_consent_to_and_keeps_nothing() -> None:
    jobs = MemoryJobs()
    request = submission()
    forged = sign(request.agreed.manifest, keys("alice", seed=2))
    with pytest.raises(ManifestError) as caught:
        await make(jobs).submit(SubmitRequest(agreed=forged, idempotency_key="k"))
    assert caught.value.code == "consent.signature"
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


async def test_an_empty_ledger_lists_nothing() -> None:
    api = make(known=await index_of(MemoryJobs()))
    assert (await api.list(JobListRequest())).jobs == ()


async def test_who_has_not_read_the_ledger_neither_lists_nor_withdraws(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(index, "CURRENT_WAIT_S", 0.01)
    api = make()
    await api.submit(submission())
    for question in (api.list(JobListRequest()), api.withdraw(TAKEN_BACK)):
        with pytest.raises(UnreachableError) as caught:
            await question
        assert caught.value.code == "jobs.reading"
    # The word stands all the same.
    with pytest.raises(RefusedError):
        await api.submit(submission(key="key-2"))


def test_a_submission_is_legal_on_the_wire() -> None:
    assert isinstance(submission().agreed, AgreedManifest)


DIGEST = digest(submission().agreed.manifest)
TAKEN_BACK = WithdrawRequest(withdrawal=withdraw(keys("alice"), DIGEST))


async def index_of(jobs: MemoryJobs) -> JobIndex:
    """What a gateway knows that has followed the bucket."""
    known = JobIndex()
    await known.follow(jobs)
    return known


async def test_a_withdrawn_consent_ends_jobs_and_lets_no_new_one_in() -> None:
    jobs = MemoryJobs()
    job = (await make(jobs).submit(submission())).job_id
    other = (await make(jobs).submit(submission(key="key-2", nonce=7))).job_id
    api = make(jobs, known=await index_of(jobs))
    await api._manifests.put(DIGEST.hex(), submission().agreed)
    assert (await api.withdraw(TAKEN_BACK)).ended == (job,)
    view = await api.get(JobRequest(job_id=job))
    assert (view.state, view.reason and view.reason.code) == (
        JobState.CANCELLED,
        "consent.withdrawn",
    )
    assert (await api.get(JobRequest(job_id=other))).state is JobState.SUBMITTED
    with pytest.raises(RefusedError) as caught:
        await api.submit(submission(key="key-3"))
    assert caught.value.code == "consent.withdrawn"
    assert (await api.withdraw(TAKEN_BACK)).ended in {(), (job,)}


async def test_a_withdrawal_of_a_stranger_or_about_nothing_is_refused() -> None:
    api = make()
    with pytest.raises(NotFoundError):
        await api.withdraw(TAKEN_BACK)
    await api.submit(submission())
    stranger = withdraw(keys("mallory"), DIGEST)
    with pytest.raises(ManifestError) as caught:
        await api.withdraw(WithdrawRequest(withdrawal=stranger))
    assert caught.value.code == "consent.foreign"


async def test_a_withdrawal_that_comes_while_a_job_is_made_ends_it() -> None:
    withdrawals = MemoryWithdrawals()
    api = make(withdrawals=withdrawals)

    class Late(MemoryManifests):
        async def put(self, digest: str, agreed: AgreedManifest) -> None:
            await super().put(digest, agreed)
            await withdrawals.put(digest, TAKEN_BACK.withdrawal)

    api._manifests = Late()
    assert (await api.submit(submission())).state is JobState.CANCELLED


async def test_renewed_consents_take_the_place_of_old_ones() -> None:
    api = make()
    await api.submit(submission())
    renewed = sign(submission().agreed.manifest, keys("alice"))
    await api.submit(SubmitRequest(agreed=renewed, idempotency_key="key-9"))
    assert await api._manifests.get(DIGEST.hex()) == renewed
