"""Enclaves as virtual machines whose boot a TPM of the host measures: from image to receipt."""

import hashlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio

from atoll.client.connection import AtollClient
from atoll.evidence.document import Tee as EvidenceTee
from atoll.evidence.document import parse
from atoll.evidence.findings import Outcome
from atoll.evidence.vtpm.report import VtpmReport
from atoll.measure.guest import (
    CMDLINE_FILE,
    DESCRIPTION_FILE,
    INITRD_FILE,
    KERNEL_FILE,
    describe,
    image_digest,
    parse_description,
)
from atoll.measure.pcrs import pcr9
from atoll.wire.messages import EventType, JobState, Tee
from e2e.guests import sleeping
from e2e.inflight import InFlight, started
from support import client as waiting
from support import iris, wat
from support.client import drafted, ended, opened, party, reached, see_through, submit, until
from support.guest_image import guest_image
from support.libvirt import binding, qemu
from support.stack import Stack, wait_until
from support.swtpm import needs_swtpm

__all__ = ["guest_image"]

pytestmark = [pytest.mark.timeout(900), needs_swtpm]
RUNNING = reached(JobState.RUNNING)
GONE_S = 60.0
NONE = "00" * 32


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without hardware support boots for as long as others keep the processors busy."""
    monkeypatch.setattr(waiting, "WITHIN_S", 600.0)


@pytest.fixture(scope="module")
def image(guest_image: Path) -> Iterator[Path]:
    """A copy that a test may change."""
    with tempfile.TemporaryDirectory(prefix="image-") as folder:
        copy = Path(folder) / "image"
        shutil.copytree(guest_image, copy)
        yield copy


@pytest.fixture(scope="module")
def stack(image: Path) -> Iterator[Stack]:
    binding()
    qemu()
    # Short, for there are sockets in it.
    with tempfile.TemporaryDirectory(prefix="vm-") as folder:
        made = Stack(Path(folder), image=str(image), driver="libvirt", tee="vtpm", slots=1)
        made.start()
        try:
            yield made
        finally:
            status = made.stop()
        assert status == 0, made.log.read_text()


@pytest_asyncio.fixture
async def client(stack: Stack) -> AsyncIterator[AtollClient]:
    async with stack.client() as connected:
        yield connected


@pytest_asyncio.fixture
async def job(stack: Stack, client: AtollClient, tmp_path: Path) -> AsyncIterator[InFlight]:
    module = tmp_path / "sleep.wasm"
    module.write_bytes(sleeping(5000))
    async with started(stack, client, module, tmp_path) as running:
        yield running


def emulator(stack: Stack, enclave_id: str | None) -> int:
    record = json.loads((stack.data_dir / "enclaves" / f"{enclave_id}.json").read_bytes())
    assert record["kind"] == "domain"
    return int(record["agent"][0])


def settled(stack: Stack) -> None:
    enclaves = stack.data_dir / "enclaves"
    wait_until(lambda: not list(enclaves.glob("*.json")), "none is left", within_s=GONE_S)
    assert not list((stack.data_dir / "domains").iterdir())


def accept_what_was_built(stack: Stack, image: Path, folder: Path) -> None:
    """From here on the attestor goes by values that whoever built the image computed and signed."""

    def atoll(*arguments: str | Path) -> str:
        said = stack.atoll(*arguments)
        assert said.status == 0, said.err
        return said.out

    atoll("keys", "new", "builder")
    (folder / "builder").write_text(atoll("keys", "show", "builder", "--json"))
    atoll("image", "reference", image, "--key", "builder", "--out", folder)
    section = {**json.loads(stack.profile.policy), "pcr9s": [NONE], "kernel_digests": [NONE]}
    draft = {
        "format": "atoll-policy",
        "format_version": 1,
        "name": "default",
        "version": 2,
        "not_before": 0,
        "mode": "enforce",
        "sections": {"vtpm": section},
    }
    before, after, signed = (folder / name for name in ("before.json", "after.json", "signed"))
    before.write_text(json.dumps(draft))
    values = folder / "reference-vtpm.corim"
    key = ("--key", folder / "builder")
    atoll("policy", "corim", "import", values, *key, "--into", before, "-o", after)
    atoll("policy", "sign", after, "--key", "operator", "-o", signed)
    atoll("policy", "activate", signed)


async def test_a_job_runs_in_a_virtual_machine_that_booted_what_was_built(
    stack: Stack, client: AtollClient, image: Path, tmp_path: Path
) -> None:
    accept_what_was_built(stack, image, tmp_path)
    flowers = {"iris": iris.FLOWERS.read_bytes()}
    program = iris.program("train").read_bytes()
    draft = await drafted(client, party(), program, data=flowers, tee=Tee.VTPM)
    events = await see_through(client, draft)
    assert events[-1].state is JobState.COMPLETED, events[-1]
    await opened(client, draft, events[0].job_id, stack.appraiser(), tmp_path / "result")
    iris.require_good((tmp_path / "result" / "results" / "metrics.json").read_bytes())
    enclave_id = events[-1].enclave_id
    assert enclave_id is not None
    evidence = parse((await client.evidence(enclave_id)).evidence)
    assert evidence.tee is EvidenceTee.VTPM
    cmdline = (image / CMDLINE_FILE).read_text("ascii")
    predicted = pcr9(cmdline, (image / INITRD_FILE).read_bytes())
    assert VtpmReport.from_bytes(evidence.report).pcrs[9] == predicted
    settled(stack)


async def test_a_machine_that_is_killed_is_followed_by_another_and_one_result(
    stack: Stack, job: InFlight
) -> None:
    await job.at(RUNNING)
    os.kill(emulator(stack, job.watcher.events[-1].enclave_id), signal.SIGKILL)
    outcome = await job.completed()
    assert outcome.view.attempt == 2
    assert job.count(EventType.RETRYING) == 1
    assert len(await job.stored_outcomes()) == 1
    settled(stack)


async def test_a_machine_outlives_its_manager(stack: Stack, job: InFlight) -> None:
    await job.at(RUNNING)
    enclave_id = job.watcher.events[-1].enclave_id
    process = emulator(stack, enclave_id)
    stack.kill_service("manager")
    outcome = await job.completed()
    assert (outcome.view.attempt, outcome.view.enclave_id) == (1, enclave_id)
    wait_until(lambda: not Path(f"/proc/{process}").exists(), "it has ended", within_s=GONE_S)
    settled(stack)


def described_as(image: Path, before: bytes) -> bytes:
    """The description of what is there now."""
    parts = {
        name: hashlib.sha256((image / file).read_bytes()).digest()
        for name, file in (
            ("kernel", KERNEL_FILE),
            ("initrd", INITRD_FILE),
            ("cmdline", CMDLINE_FILE),
        )
    }
    now = replace(
        parse_description(before),
        digest=image_digest(**parts).hex(),
        initrd=parts["initrd"].hex(),
        cmdline=parts["cmdline"].hex(),
    )
    return describe(now)


@pytest.mark.parametrize("part", [INITRD_FILE, CMDLINE_FILE])
async def test_a_machine_that_booted_one_byte_more_is_refused(
    stack: Stack, client: AtollClient, image: Path, part: str
) -> None:
    kept = {name: (image / name).read_bytes() for name in (part, DESCRIPTION_FILE)}
    changed = kept[part] + (b"\0" if part == INITRD_FILE else b" x")
    try:
        # The host says that this is the image. Its manager believes it; nobody else has to.
        (image / part).write_bytes(changed)
        (image / DESCRIPTION_FILE).write_bytes(described_as(image, kept[DESCRIPTION_FILE]))
        draft = await drafted(client, party(), wat.echo(), data={"in": b"never"}, tee=Tee.VTPM)
        view = await submit(client, draft)
        events = await until(client, view.job_id, ended)
    finally:
        for name, content in kept.items():
            (image / name).write_bytes(content)
    assert events[-1].state is JobState.FAILED
    assert events[-1].reason is not None
    assert events[-1].reason.code == "ear.status"
    assert not [event for event in events if event.type is EventType.AWAITING_ASSETS]
    enclave_id = events[-1].enclave_id
    assert enclave_id is not None
    evidence = (await client.evidence(enclave_id)).evidence
    now = datetime.now(UTC)
    mine = stack.appraiser().appraise(evidence, manifest_digest=draft.digest, now=now)
    # QEMU tells the kernel where its initrd is, so a longer one may be another kernel as well.
    assert mine.finding("vtpm.boot").outcome is Outcome.FAIL
    assert mine.finding("vtpm.firmware").outcome is not Outcome.FAIL
    settled(stack)
