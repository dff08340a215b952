"""A computation of two steps in one enclave: what passes between them, what leaves, and to whom."""

import io
import secrets
import tarfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from atoll.client.assets import upload_pieces
from atoll.client.compose import agree
from atoll.client.connection import AtollClient
from atoll.client.results import OpenedResult, fetch_result
from atoll.computation.manifest import (
    ArchiveFormat,
    Dataset,
    JobLimits,
    Manifest,
    Party,
    TeeRequirements,
    Unpacking,
)
from atoll.computation.network import Network
from atoll.computation.outputs import Output
from atoll.computation.steps import Source, Step, StepLimits, WorkloadKind
from atoll.errors import SealError
from atoll.identity import PartyKeys
from atoll.invocation import Invocation
from atoll.wire.messages import JobEvent, JobState, Tee
from e2e.guests import talking
from support import wat
from support.client import LATER_MS, Draft, ended, party, reached, release, submit, until
from support.stack import Stack

INSIDE = b"1,2\n3,4\n"
MIB = 1 << 20
UNPACKED = Unpacking(format=ArchiveFormat.TAR, max_bytes=MIB, max_files=4)


@pytest_asyncio.fixture
async def client(stack: Stack) -> AsyncIterator[AtollClient]:
    async with stack.client() as connected:
        yield connected


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreed:
    """What was agreed on by its owner, who has all assets, and by a reader, who has none."""

    draft: Draft
    reader: PartyKeys

    async def run(self, client: AtollClient) -> JobEvent:
        """Submit, release, and wait for the end."""
        keys = self.draft.keys
        agreed = agree(self.draft.raw, keys, self.reader, expires_ms=LATER_MS)
        view = await client.submit(agreed, secrets.token_hex(16))
        asked = await until(client, view.job_id, reached(JobState.AWAITING_ASSETS))
        await release(client, self.draft, asked[-1])
        return (await until(client, view.job_id, ended))[-1]

    async def open(
        self, client: AtollClient, stack: Stack, job: str, output: str, *, by: PartyKeys, into: Path
    ) -> OpenedResult:
        """One output, as one of the two opens it."""
        return await fetch_result(
            client,
            await client.get(job),
            manifest_digest=self.draft.digest,
            output=output,
            keys=by,
            appraiser=stack.appraiser(),
            into=into,
        )


def packed(name: str, content: bytes = INSIDE) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return made.getvalue()


async def agreed_on(
    client: AtollClient,
    *,
    first: bytes | None = None,
    archive: bytes | None = None,
    first_path: str = "out",
    unpack: bool = True,
    **output: Any,
) -> Agreed:
    """`clean` copies a file out of an archive, `train` copies what `clean` left."""
    owner, reader = party("owner"), party("reader")
    contents = {
        "clean.algorithm": first or wat.echo(),
        "clean.invocation": Invocation(args=("cleaning",), env={}).to_bytes(),
        "train.algorithm": wat.echo(),
        "train.invocation": Invocation(args=("training",), env={}).to_bytes(),
        "raw": archive or packed("in"),
    }
    assets = {
        name: await upload_pieces(client, [content], provider=owner.name)
        for name, content in contents.items()
    }

    def step(name: str, **inputs: Source) -> Step:
        return Step(
            name=name,
            kind=WorkloadKind.WASM,
            algorithm=assets[f"{name}.algorithm"].ref,
            invocation=assets[f"{name}.invocation"].ref,
            inputs={key.removesuffix("_"): source for key, source in inputs.items()},
            limits=StepLimits(output_bytes=MIB),
        )

    manifest = Manifest(
        nonce=secrets.token_bytes(32),
        parties={
            one.name: Party(signing_key=one.signing_key, hpke_key=one.public.hpke_key)
            for one in (owner, reader)
        },
        # In another order than they must run in.
        steps=(
            step("train", in_=Source(step="clean", path=first_path)),
            step("clean", in_=Source(dataset="raw")),
        ),
        datasets={
            "raw": Dataset(
                asset=assets["raw"].ref,
                unpack=UNPACKED if unpack else None,
            )
        },
        outputs={
            "model": replace(
                Output(step="train", consumers=(reader.name,), max_bytes=4 * MIB), **output
            ),
            "report": Output(step="clean", consumers=(owner.name,), max_bytes=4 * MIB),
        },
        network=Network(),
        tee=TeeRequirements(kind=Tee.SIMULATED),
        limits=JobLimits(),
    )
    manifest.require_consistent()
    return Agreed(draft=Draft(keys=owner, assets=assets, manifest=manifest), reader=reader)


def unpacked_reader() -> bytes:
    """Copies /data/in/in, a file of the archive, to /results/out."""
    guest = wat.Guest()
    guest.do(guest.open(wat.DATA, "in/in"))
    guest.raw("(i32.store (i32.const 0) (i32.const 32768))(i32.store (i32.const 4)")
    guest.raw("(i32.const 4096))")
    guest.do(guest.call("fd_read", guest.opened(), 0, 1, 48))
    guest.do(guest.open(wat.RESULTS, "out", oflags=wat.CREATE, rights=wat.WRITE))
    guest.raw("(i32.store (i32.const 4) (i32.load (i32.const 48)))")
    guest.do(guest.call("fd_write", guest.opened(), 0, 1, 48))
    guest.exit(0)
    return guest.wasm()


async def test_each_consumer_gets_its_own_output_and_nothing_else(
    stack: Stack, client: AtollClient, tmp_path: Path
) -> None:
    agreed = await agreed_on(client, first=unpacked_reader())
    last = await agreed.run(client)
    assert last.state is JobState.COMPLETED, last
    owner, reader, job = agreed.draft.keys, agreed.reader, last.job_id
    model = await agreed.open(client, stack, job, "model", by=reader, into=tmp_path / "model")
    assert (tmp_path / "model" / "results" / "out").read_bytes() == INSIDE
    assert model.exit.step == "train"
    await agreed.open(client, stack, job, "report", by=owner, into=tmp_path / "report")
    assert (tmp_path / "report" / "results" / "out").read_bytes() == INSIDE
    for output, keys in (("model", owner), ("report", reader)):
        with pytest.raises(SealError) as caught:
            await agreed.open(client, stack, job, output, by=keys, into=tmp_path / "stolen")
        assert caught.value.code == "result.not_a_consumer"
    receipt = model.receipt.receipt
    assert [(step.name, step.outcome) for step in receipt.steps] == [
        ("clean", "workload.exited"),
        ("train", "workload.exited"),
    ]
    assert {one.name: one.consumers for one in receipt.outputs} == {
        "model": ("reader",),
        "report": ("owner",),
    }


async def test_steps_of_one_program_compile_it_once_and_each_do_their_part(
    stack: Stack, client: AtollClient, tmp_path: Path
) -> None:
    agreed = await agreed_on(client, archive=INSIDE, unpack=False)
    last = await agreed.run(client)
    assert last.state is JobState.COMPLETED, last
    into = tmp_path / "model"
    await agreed.open(client, stack, last.job_id, "model", by=agreed.reader, into=into)
    assert (into / "results" / "out").read_bytes() == INSIDE
    assert b"training" in (into / "stdout").read_bytes()
    owner = agreed.draft.keys
    await agreed.open(client, stack, last.job_id, "report", by=owner, into=tmp_path / "report")
    assert b"cleaning" in (tmp_path / "report" / "stdout").read_bytes()


async def test_a_step_that_fails_is_told_to_those_whose_output_needs_it(
    stack: Stack, client: AtollClient, tmp_path: Path
) -> None:
    failing = talking(stdout="", stderr="no such column", files={}, exit_code=7)
    agreed = await agreed_on(client, first=failing)
    last = await agreed.run(client)
    assert last.state is JobState.FAILED
    assert last.reason is not None
    assert last.reason.code == "workload.exit_nonzero"
    assert "column" not in last.reason.message
    into = tmp_path / "model"
    model = await agreed.open(client, stack, last.job_id, "model", by=agreed.reader, into=into)
    assert (model.exit.step, model.exit.exit_code) == ("clean", 7)
    assert (into / "stderr").read_text() == "no such column"
    assert [step.outcome for step in model.receipt.receipt.steps] == [
        "workload.exit_nonzero",
        "workload.not_run",
    ]


@pytest.mark.parametrize(
    ("output", "code"),
    [
        ({"max_bytes": 3, "logs": False}, "output.bytes"),
        ({"max_files": 0}, "output.files"),
        ({"names": ("*.json",)}, "output.name"),
        ({"media_types": ("application/json",)}, "output.type"),
    ],
)
async def test_what_breaks_the_rule_of_an_output_stays_inside(
    stack: Stack, client: AtollClient, tmp_path: Path, output: dict[str, Any], code: str
) -> None:
    agreed = await agreed_on(client, first=unpacked_reader(), **output)
    last = await agreed.run(client)
    assert last.state is JobState.FAILED
    assert last.reason is not None
    assert last.reason.code == code
    into = tmp_path / "model"
    model = await agreed.open(client, stack, last.job_id, "model", by=agreed.reader, into=into)
    assert model.exit.outcome == code
    assert not [file for file in model.files if file.name.startswith("results/")]
    owner = agreed.draft.keys
    await agreed.open(client, stack, last.job_id, "report", by=owner, into=tmp_path / "report")
    assert (tmp_path / "report" / "results" / "out").read_bytes() == INSIDE


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("../in", INSIDE, "archive.traversal"),
        ("in", bytes(2 * MIB), "archive.too_large"),
    ],
)
async def test_an_archive_that_may_not_be_fails_the_job_and_the_next_one_runs(
    client: AtollClient, name: str, content: bytes, code: str
) -> None:
    agreed = await agreed_on(client, first=unpacked_reader(), archive=packed(name, content))
    last = await agreed.run(client)
    assert last.reason is not None
    assert (last.state, last.reason.code) == (JobState.FAILED, code)
    again = await agreed_on(client, first=unpacked_reader())
    assert (await again.run(client)).state is JobState.COMPLETED


async def test_a_step_that_finds_nothing_of_what_it_wants_fails_the_job(
    client: AtollClient,
) -> None:
    agreed = await agreed_on(client, first=unpacked_reader(), first_path="model.json")
    last = await agreed.run(client)
    assert last.reason is not None
    assert (last.state, last.reason.code) == (JobState.FAILED, "pipeline.no_such_result")


async def test_a_reader_who_did_not_consent_stops_everything(client: AtollClient) -> None:
    agreed = await agreed_on(client)
    with pytest.raises(Exception, match="reader") as caught:
        await submit(client, agreed.draft)
    assert getattr(caught.value, "code", "") == "consent.missing"
