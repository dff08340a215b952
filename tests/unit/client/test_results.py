"""A result is opened only when receipt, record and archive are all about this job."""

import secrets
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import pytest_asyncio

from atoll.client.appraisal import Appraiser
from atoll.client.compose import OUTPUT
from atoll.client.results import OpenedResult, check_receipt, fetch_result
from atoll.computation.manifest import digest as manifest_digest
from atoll.errors import AtollError, ReceiptError
from atoll.evidence import document as documents
from atoll.evidence.trust import PRODUCTION
from atoll.identity import PartyKeys
from atoll.sealing.result import ResultRecord
from atoll.wire import schema
from atoll.wire.messages import JobState, JobView, OutcomeRecord, Tee
from atoll_agent.enclave import Evidence
from atoll_agent.outcome import OutcomeWriter
from atoll_agent.pipeline import StepRun
from atoll_agent.sandbox.outcome import Kind, Outcome, ResultFile, Used
from atoll_agent.sandbox.runner import clear_outputs
from atoll_agent.sandbox.workspace import open_workspace
from atoll_agent.staging import Staging
from support.evidence import Binding, document, policy, trust
from unit.agent import given

if TYPE_CHECKING:
    from atoll.client.connection import AtollClient

APPRAISER = Appraiser(trust=trust(), policy=policy())


@dataclass(kw_only=True)
class Stored:
    """What an enclave stored for one job, as a client of the bus."""

    outcome_: OutcomeRecord
    sealed: bytes
    view: JobView
    digest: bytes
    open_streams: int = 0

    async def outcome(self, _job: str, _attempt: int, *, digest: str) -> OutcomeRecord:
        assert digest == self.view.outcome_digest
        return self.outcome_

    async def result(
        self, _job_id: str, _result_id: str
    ) -> tuple[Any, AsyncGenerator[bytes, None]]:
        @dataclass
        class Info:
            size: int

        return Info(size=len(self.sealed)), self._chunks()

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        self.open_streams += 1
        try:
            for at in range(0, len(self.sealed), 700):
                yield self.sealed[at : at + 700]
        finally:
            self.open_streams -= 1

    async def fetch(self, into: Path, **changes: Any) -> OpenedResult:
        fields: dict[str, Any] = {
            "manifest_digest": self.digest,
            "keys": given.OWNER,
            "appraiser": APPRAISER,
            "output": OUTPUT,
        }
        client = cast("AtollClient", self)
        return await fetch_result(client, self.view, into=into, **{**fields, **changes})

    def record(self, **changes: Any) -> OutcomeRecord:
        """The record of the result, changed."""
        raw = self.outcome_.results[OUTPUT]
        made = replace(schema.decode(ResultRecord, raw, limit=1 << 20), **changes)
        return replace(self.outcome_, results={OUTPUT: schema.encode(made)})


async def made(content: bytes) -> Stored:
    """An enclave's whole work after its guest ended."""
    assets = given.assets()
    digest = manifest_digest(given.manifest(assets).to_bytes())
    binding = Binding(
        signing_key=given.KEYS.signing.public_bytes,
        hpke_key=given.KEYS.hpke.public_bytes,
        manifest_digest=digest,
    )
    evidence = Evidence(raw=documents.encode(document(binding=binding)))
    task = replace(given.task(assets), manifest_digest=digest, evidence_digest=evidence.digest)
    bus = given.FakeBus()
    writer = OutcomeWriter(
        task=task,
        keys=given.KEYS,
        evidence=evidence,
        bus=bus.port,
        tracer=given.tracer(),
        random=secrets.token_bytes,
    )
    used = Used(wall_ms=1, memory_bytes=1, output_bytes=len(content), output_files=1)
    files = (ResultFile(name="model", size=len(content)),)
    outcome = Outcome(kind=Kind.EXITED, exit_code=0, used=used, results=files)
    now = datetime.now(UTC)
    with open_workspace(f"unit-{secrets.token_hex(8)}", need_bytes=1) as workspace:
        staging = Staging(root=workspace.root, manifest=task.manifest)
        staging.prepare()
        (step,) = task.manifest.steps
        clear_outputs(staging.space(step.name))
        (staging.space(step.name).results / "model").write_bytes(content)
        runs = (StepRun(step=step, outcome=outcome),)
        finished = await writer.write(staging, runs, now, now)
    (sealed,) = bus.uploaded.values()
    return Stored(
        outcome_=OutcomeRecord(
            job_id=task.job_id, attempt=1, results=finished.results, receipt=finished.receipt
        ),
        sealed=sealed,
        digest=digest,
        view=JobView(
            job_id=task.job_id,
            state=JobState.COMPLETED,
            tee=Tee.SIMULATED,
            manifest_digest=digest.hex(),
            attempt=1,
            seq=9,
            created_ms=1,
            updated_ms=1,
            expires_ms=1,
            outcome_digest="0c" * 32,
        ),
    )


@pytest_asyncio.fixture
async def stored() -> Stored:
    return await made(b"the model" * 500)


def names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


async def refused(stored: Stored, directory: Path, **changes: Any) -> str:
    """It is refused and nothing appears."""
    with pytest.raises(AtollError) as caught:
        await stored.fetch(directory / "out", **changes)
    assert names(directory) == []
    assert stored.open_streams == 0
    return caught.value.code


async def test_a_result_opens_with_its_receipt_beside_it(stored: Stored, tmp_path: Path) -> None:
    opened = await stored.fetch(tmp_path / "out")
    assert opened.exit.exit_code == 0
    model = next(file for file in opened.files if file.name == "results/model")
    assert model.path.read_bytes() == b"the model" * 500
    assert opened.receipt_path.read_bytes() == stored.outcome_.receipt
    assert opened.receipt.appraisal.simulated
    assert check_receipt(opened.receipt_path.read_bytes(), APPRAISER).receipt.outcome


async def test_a_result_of_another_job_attempt_or_manifest_is_refused(
    stored: Stored, tmp_path: Path
) -> None:
    assert await refused(stored, tmp_path, manifest_digest=bytes(32)) == "receipt.other_job"
    for changes in ({"job_id": "job-2"}, {"attempt": 2}):
        other = replace(stored, view=replace(stored.view, **changes))
        assert await refused(other, tmp_path) == "receipt.other_job"


async def test_a_job_that_names_no_outcome_has_no_result(stored: Stored, tmp_path: Path) -> None:
    stored.view = replace(stored.view, outcome_digest=None)
    assert await refused(stored, tmp_path) == "result.not_found"


async def test_a_result_from_an_enclave_that_is_not_trusted_is_refused(
    stored: Stored, tmp_path: Path
) -> None:
    for appraiser in (
        replace(APPRAISER, trust=PRODUCTION),
        replace(APPRAISER, policy=policy(measurements=frozenset({bytes(48)}))),
    ):
        assert await refused(stored, tmp_path, appraiser=appraiser) == "receipt.appraisal"


async def test_a_result_for_somebody_else_does_not_open(stored: Stored, tmp_path: Path) -> None:
    stranger = PartyKeys.generate("stranger", secrets.token_bytes)
    assert await refused(stored, tmp_path, keys=stranger) == "result.not_a_consumer"
    impostor = PartyKeys.generate(given.OWNER.name, secrets.token_bytes)
    assert (await refused(stored, tmp_path, keys=impostor)).startswith("result.")


async def test_another_archive_in_the_place_of_the_result_is_refused(
    stored: Stored, tmp_path: Path
) -> None:
    stored.sealed = (await made(b"the MODEL" * 500)).sealed
    assert (await refused(stored, tmp_path)).startswith("asset.")


async def test_a_result_of_another_size_is_refused(stored: Stored, tmp_path: Path) -> None:
    for sealed in (stored.sealed[:-1], stored.sealed + b"x", b""):
        assert await refused(replace(stored, sealed=sealed), tmp_path) == "result.size"


async def test_a_flipped_bit_anywhere_is_refused(stored: Stored, tmp_path: Path) -> None:
    for at in range(0, len(stored.sealed), 97):
        raw = bytearray(stored.sealed)
        raw[at] ^= 0x10
        assert await refused(replace(stored, sealed=bytes(raw)), tmp_path)


async def test_a_record_that_was_changed_is_refused(stored: Stored, tmp_path: Path) -> None:
    record = stored.record(archive_commitment=bytes(32))
    assert await refused(replace(stored, outcome_=record), tmp_path) == "result.signature"


async def test_record_and_receipt_must_be_about_the_same_result(
    stored: Stored, tmp_path: Path
) -> None:
    other = await made(b"other")
    mixed = replace(stored.outcome_, results=other.outcome_.results)
    assert (await refused(replace(stored, outcome_=mixed), tmp_path)).startswith(
        ("result.", "receipt.")
    )


@pytest.mark.parametrize("raw", [b"", b"{}", b"\xff", b"[" * 50_000])
async def test_a_receipt_that_is_none_is_refused(
    stored: Stored, tmp_path: Path, raw: bytes
) -> None:
    broken = replace(stored, outcome_=replace(stored.outcome_, receipt=raw))
    assert (await refused(broken, tmp_path)).startswith("receipt.")
    with pytest.raises(ReceiptError):
        check_receipt(raw, APPRAISER)
