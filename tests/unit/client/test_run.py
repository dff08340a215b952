"""The one-person path: keys go to enclaves that deserve them, and to nobody else."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from atoll.client.appraisal import Appraiser
from atoll.client.compose import OUTPUT
from atoll.client.release import EvidenceRefusedError
from atoll.client.run import Runner, RunSpec, require_runnable
from atoll.computation.consent import require_consents
from atoll.computation.manifest import digest as manifest_digest
from atoll.errors import (
    AtollError,
    InputError,
    MalformedEvidenceError,
    NotFoundError,
    RefusedError,
    UnreachableError,
)
from atoll.evidence import document as documents
from atoll.evidence.findings import Appraisal
from atoll.identity import PartyKeys
from atoll.sealing.release import KeyRelease
from atoll.telemetry.span import Recorder
from atoll.wire.messages import (
    AgreedManifest,
    EventType,
    EvidenceRecord,
    JobEvent,
    JobState,
    JobView,
    OutcomeRecord,
    Reason,
    Tee,
)
from support.evidence import Binding, document, other_chain, policy, trust
from support.nats import wait_for

if TYPE_CHECKING:
    from atoll.client.connection import AtollClient

OWNER = PartyKeys.generate("me", secrets.token_bytes)
WASM = b"\0asm\1\0\0\0"
JOB = "job-1"


def event(seq: int, kind: EventType, attempt: int = 1, **more: Any) -> JobEvent:
    state = JobState.AWAITING_ASSETS if kind is EventType.RELEASE_REFUSED else None
    if kind is EventType.RETRYING:
        state = JobState.SUBMITTED
    return JobEvent(
        job_id=JOB,
        seq=seq,
        type=kind,
        state=state or JobState(kind.value),
        attempt=attempt,
        time_ms=seq,
        enclave_id=f"e{attempt}",
        **more,
    )


WAITING = event(1, EventType.AWAITING_ASSETS)
DONE = event(9, EventType.FAILED, reason=Reason(code="test.failed", message=""))


@dataclass(kw_only=True)
class FakeClient:
    """A stack that answers what it is told to."""

    history: list[JobEvent | BaseException] = field(default_factory=lambda: [WAITING, DONE])
    state: JobState = JobState.FAILED
    changes: dict[str, Any] = field(default_factory=dict)
    """To the evidence of every enclave."""
    raw: bytes | None = None
    other: AgreedManifest | None = None
    """What is stored in the place of the manifest."""
    uploads: list[str] = field(default_factory=list)
    submitted: list[AgreedManifest] = field(default_factory=list)
    released: list[tuple[str, KeyRelease]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    cancel_fails: AtollError | None = None
    asked: int = 0
    told: JobEvent | None = None
    """The newest event that somebody read."""

    tracer = Recorder("atoll-cli", instance="t", clock=lambda: 1, random=secrets.token_bytes)

    def view(self) -> JobView:
        return JobView(
            job_id=JOB,
            state=self.state,
            tee=Tee.SIMULATED,
            manifest_digest=manifest_digest(self.submitted[0].manifest).hex(),
            attempt=1,
            seq=9,
            created_ms=1,
            updated_ms=9,
            expires_ms=99,
        )

    async def upload(self, asset_id: str, chunks: Iterator[bytes]) -> None:
        assert b"".join(chunks)
        self.uploads.append(asset_id)

    async def submit(self, agreed: AgreedManifest, _key: str) -> JobView:
        self.submitted.append(agreed)
        return self.view()

    async def manifest(self, _digest: str) -> AgreedManifest:
        return self.other or self.submitted[0]

    async def get(self, _job: str) -> JobView:
        if self.told is None or self.told.state.terminal:
            return self.view()
        now = self.told
        return replace(self.view(), state=now.state, attempt=now.attempt, enclave_id=now.enclave_id)

    async def cancel(self, job_id: str) -> None:
        self.cancelled.append(job_id)
        if self.cancel_fails is not None:
            raise self.cancel_fails

    async def events(self, _job: str, *, follow: bool) -> AsyncGenerator[JobEvent, None]:
        assert follow
        for item in self.history:
            if isinstance(item, BaseException):
                raise item
            self.told = item
            yield item

    def evidence_of(self, enclave_id: str) -> bytes:
        digest = manifest_digest(self.submitted[0].manifest)
        binding = Binding(manifest_digest=digest)
        made = document(binding=binding, **self.changes)
        return documents.encode(replace(made, enclave_id=enclave_id))

    async def evidence(self, enclave_id: str) -> EvidenceRecord:
        self.asked += 1
        return EvidenceRecord(
            enclave_id=enclave_id,
            job_id=JOB,
            attempt=int(enclave_id.removeprefix("e")),
            evidence=self.raw or self.evidence_of(enclave_id),
            ear="not asked for",
        )

    async def release(self, enclave_id: str, release: KeyRelease) -> None:
        self.released.append((enclave_id, release))

    async def outcome(self, _job: str, _attempt: int) -> OutcomeRecord:
        raise NotFoundError("none", code="result.not_found")


class Told:
    """Progress, kept."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def step(self, text: str) -> None:
        self.lines.append(text)

    def submitted(self, view: JobView) -> None:
        self.lines.append(f"submitted {view.job_id}")

    def event(self, event: JobEvent) -> None:
        self.lines.append(event.type.value)

    def appraised(self, appraisal: Appraisal, enclave_id: str) -> None:
        self.lines.append(f"{enclave_id} {appraisal.verdict.value}")


def spec(directory: Path, **changes: Any) -> RunSpec:
    module, data = directory / "guest.wasm", directory / "iris.csv"
    module.write_bytes(WASM)
    data.write_bytes(b"sepal")
    fields: dict[str, Any] = {
        "module": module,
        "data": {"iris": data},
        "tee": Tee.SIMULATED,
        "default_out": directory / "results",
    }
    return RunSpec(**{**fields, **changes})


def runner(client: FakeClient, told: Told | None = None) -> Runner:
    return Runner(
        client=cast("AtollClient", client),
        keys=OWNER,
        appraiser=Appraiser(trust=trust(), policy=policy()),
        progress=told or Told(),
    )


async def failure(client: FakeClient, directory: Path) -> AtollError:
    with pytest.raises(AtollError) as caught:
        await runner(client).run(spec(directory))
    return caught.value


async def test_each_enclave_gets_releases_bound_to_its_own_evidence(tmp_path: Path) -> None:
    client, told = FakeClient(), Told()
    client.history = [
        WAITING,
        event(2, EventType.RETRYING),
        event(3, EventType.AWAITING_ASSETS, attempt=2),
        event(4, EventType.RUNNING, attempt=2),
        DONE,
    ]
    outcome = await runner(client, told).run(spec(tmp_path))
    assert outcome.result is None
    assert outcome.appraisal is not None
    assert outcome.appraisal.simulated
    for attempt, enclave in ((1, "e1"), (2, "e2")):
        to_it = [release for name, release in client.released if name == enclave]
        assert {release.asset_name for release in to_it} == {
            "run.algorithm",
            "run.invocation",
            "iris",
        }
        digest = documents.digest(client.evidence_of(enclave))
        assert {(release.attempt, release.evidence_digest) for release in to_it} == {
            (attempt, digest)
        }
    assert client.cancelled == []
    assert told.lines.index("submitted job-1") < told.lines.index("e1 pass")


async def test_an_enclave_that_was_given_up_meanwhile_gets_no_key(tmp_path: Path) -> None:
    class Ahead(FakeClient):
        async def get(self, _job: str) -> JobView:
            view = await super().get(_job)
            if not view.state.terminal and view.attempt == 1:
                view = replace(view, attempt=2, enclave_id="e2")
            return view

    client, told = Ahead(), Told()
    client.history = [WAITING, event(3, EventType.AWAITING_ASSETS, attempt=2), DONE]
    await runner(client, told).run(spec(tmp_path))
    assert {(enclave, release.attempt) for enclave, release in client.released} == {("e2", 2)}
    assert client.cancelled == []


async def test_evidence_of_another_attempt_gets_no_key(tmp_path: Path) -> None:
    client = FakeClient()
    client.history = [event(1, EventType.AWAITING_ASSETS, attempt=2), DONE]

    async def stale(enclave_id: str) -> EvidenceRecord:
        record = await FakeClient.evidence(client, enclave_id)
        return replace(record, attempt=1)

    client.evidence = stale  # type: ignore[method-assign]
    assert (await failure(client, tmp_path)).code == "evidence.other_attempt"
    assert client.released == []


async def test_a_refused_release_is_no_reason_to_release_again(tmp_path: Path) -> None:
    client = FakeClient()
    client.history = [WAITING, event(2, EventType.RELEASE_REFUSED), DONE]
    await runner(client).run(spec(tmp_path))
    assert client.asked == 1


@pytest.mark.parametrize(
    "changes",
    [{"measurement": bytes(48)}, {"signer": other_chain()}, {"policy": 0x0133 | 1 << 17 | 1 << 19}],
    ids=["measurement", "untrusted root", "debug"],
)
async def test_evidence_that_fails_gets_no_key_and_the_job_is_cancelled(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    client = FakeClient(changes=changes)
    error = await failure(client, tmp_path)
    assert isinstance(error, EvidenceRefusedError)
    assert error.code == "evidence.refused"
    assert error.appraisal.reason in error.message
    assert client.released == []
    assert client.cancelled == [JOB]


async def test_evidence_that_is_none_gets_no_key_and_the_job_is_cancelled(tmp_path: Path) -> None:
    client = FakeClient(raw=b"no document")
    error = await failure(client, tmp_path)
    assert isinstance(error, EvidenceRefusedError | MalformedEvidenceError)
    assert (client.released, client.cancelled) == ([], [JOB])


async def test_a_run_that_is_interrupted_cancels_its_job(tmp_path: Path) -> None:
    class Slow(FakeClient):
        async def events(self, _job: str, *, follow: bool) -> AsyncGenerator[JobEvent, None]:
            yield event(1, EventType.SCHEDULED)
            await asyncio.Event().wait()

    client, told = Slow(), Told()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(runner(client, told).run(spec(tmp_path)))
        await wait_for(lambda: "scheduled" in told.lines, "the job is under way")
        running.cancel()
    assert client.cancelled == [JOB]


async def test_a_bus_that_goes_away_leaves_the_job_alone(tmp_path: Path) -> None:
    client = FakeClient(history=[WAITING, UnreachableError("gone")])
    assert isinstance(await failure(client, tmp_path), UnreachableError)
    assert client.cancelled == []
    assert isinstance(await failure(FakeClient(history=[WAITING]), tmp_path), UnreachableError)


async def test_a_cancellation_that_fails_does_not_hide_why(tmp_path: Path) -> None:
    client = FakeClient(history=[RefusedError("why", code="test.why")])
    client.cancel_fails = UnreachableError("gone")
    assert (await failure(client, tmp_path)).code == "test.why"


async def test_a_manifest_that_was_put_in_the_place_of_ours_gets_no_key(tmp_path: Path) -> None:
    elsewhere = FakeClient()
    await runner(elsewhere).run(spec(tmp_path))
    client = FakeClient(other=elsewhere.submitted[0])
    assert (await failure(client, tmp_path)).code == "manifest.other"
    assert client.released == []


async def test_an_event_without_an_enclave_releases_nothing(tmp_path: Path) -> None:
    client = FakeClient(history=[replace(WAITING, enclave_id=None), DONE])
    assert (await failure(client, tmp_path)).code == "evidence.not_found"
    assert client.released == []


async def test_a_completed_job_must_have_a_result(tmp_path: Path) -> None:
    client = FakeClient(state=JobState.COMPLETED)
    assert (await failure(client, tmp_path)).code == "result.not_found"


@pytest.mark.parametrize("state", [JobState.CANCELLED, JobState.EXPIRED])
async def test_a_job_that_came_to_nothing_has_no_result(tmp_path: Path, state: JobState) -> None:
    assert (await runner(FakeClient(state=state)).run(spec(tmp_path))).result is None


async def test_the_manifest_says_nothing_that_could_be_guessed(tmp_path: Path) -> None:
    client = FakeClient()
    await runner(client).run(spec(tmp_path, args=("marker",), env={"NAME": "marker"}))
    raw = client.submitted[0].manifest
    assert b"marker" not in raw
    assert b"sepal" not in raw
    assert require_consents(client.submitted[0], now_ms=1).outputs[OUTPUT].consumers == ("me",)


async def test_arguments_that_no_enclave_takes_are_refused_before_anything_is_uploaded(
    tmp_path: Path,
) -> None:
    client = FakeClient()
    with pytest.raises(InputError) as caught:
        await runner(client).run(spec(tmp_path, args=("x",) * 300))
    assert caught.value.code == "invocation.invalid"
    assert client.uploads == []


def unrunnable(of: RunSpec) -> str:
    with pytest.raises(InputError) as caught:
        require_runnable(of)
    return caught.value.code


def test_what_cannot_be_a_job_is_refused_at_once(tmp_path: Path) -> None:
    good = spec(tmp_path)
    require_runnable(good)
    data = good.data["iris"]
    assert unrunnable(replace(good, module=tmp_path / "none")) == "file.unreadable"
    assert unrunnable(replace(good, module=data)) == "workload.not_wasm"
    assert unrunnable(replace(good, data={"iris": tmp_path / "none"})) == "file.unreadable"
    assert unrunnable(replace(good, data={"iris": tmp_path})) == "file.unreadable"
    assert unrunnable(replace(good, data={"iris": Path("/dev/zero")})) == "file.unreadable"
    for name in ("run.algorithm", "run.invocation", "..", "a/b", "", ".x", "nul\0", "a*", ">"):
        assert unrunnable(replace(good, data={name: data})) == "name.invalid"
