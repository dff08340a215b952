"""One job inside the enclave: which errors are the job's, and which send it elsewhere."""

import errno
import os
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from atoll.computation.network import Destination, Network, NetworkMode
from atoll.egress.outward import Outward
from atoll.enclave_storage import workspace_path
from atoll.errors import AtollError, ConfigError, InputError, RefusedError, UnreachableError
from atoll.invocation import Invocation
from atoll.receipt.verify import ReceiptFile
from atoll.sealing.archive import EXIT
from atoll.sealing.asset import open_chunks
from atoll.sealing.result import ResultContext, ResultRecord, open_result
from atoll.wire import schema
from atoll.wire.egress import Allowance
from atoll.wire.messages import ReportKind
from atoll_agent.assignment import Task
from atoll_agent.egress.way import Direct
from atoll_agent.job import JobRunner, host_storage
from atoll_agent.sandbox.workspace import open_workspace
from support import wat
from support.wat import ALL_RIGHTS, DIRECTORY, FD_OUT, READ, RESULTS, Guest
from unit.agent import given
from unit.agent.given import ALGORITHM, INVOCATION, LIMITS, FakeBus, Sealed


def runner(bus: FakeBus, enclave_id: str = "") -> JobRunner:
    return JobRunner(
        bus=bus.port,
        keys=given.KEYS,
        evidence=given.EVIDENCE,
        tracer=given.tracer(),
        enclave_id=enclave_id or f"unit-{secrets.token_hex(8)}",
        random=secrets.token_bytes,
        way=Direct(Outward(Allowance())),
    )


async def finished(bus: FakeBus, task: Task) -> str | None:
    """Run the job; the code with which it finished, or None for success."""
    working = runner(bus)
    await working.run(task)
    assert not workspace_path(working.enclave_id).exists()
    assert bus.open_streams == 0
    kind, reason = bus.reports[-1]
    assert kind is ReportKind.FINISHED
    return None if reason is None else reason.code


def opened(bus: FakeBus, task: Task) -> bytes:
    """The result archive, as its consumer opens it."""
    (results, _), *rest = bus.stored
    assert not rest
    record = schema.decode(ResultRecord, results["results"], limit=1 << 20)
    key = open_result(
        record,
        consumer=given.OWNER,
        enclave_signing_key=given.KEYS.signing.public_bytes,
        expected=ResultContext(
            job_id=task.job_id,
            attempt=task.attempt,
            manifest_digest=task.manifest_digest,
            evidence_digest=given.EVIDENCE.digest,
            output="results",
        ),
    )
    sealed = bus.uploaded[record.asset_id.hex()]
    return b"".join(open_chunks(key.content_key, [sealed], asset_id=record.asset_id))


async def test_a_job_runs_and_its_result_is_for_its_consumer() -> None:
    assets = given.assets(wat.echo(), **{"in": b"marker of the data"})
    task = given.task(assets)
    bus = FakeBus.of(task, assets)
    assert await finished(bus, task) is None
    assert [kind for kind, _ in bus.reports] == [ReportKind.STARTED, ReportKind.FINISHED]
    archive = opened(bus, task)
    for part in (EXIT.encode(), b"results/out", b"marker of the data", b"copied\n"):
        assert part in archive
    everything = b"".join(bus.uploaded.values()) + b"".join(bus.stored[0][0].values())
    assert b"marker of the data" not in everything


async def test_a_host_that_does_not_let_a_destination_out_is_known_before_any_key_is() -> None:
    assets = given.assets(iris=b"data")
    task = given.task(assets)
    network = Network(
        mode=NetworkMode.ALLOW, destinations=(Destination(host="a.example", port=443),)
    )
    task = replace(task, manifest=replace(task.manifest, network=network))
    bus = FakeBus.of(task, assets)
    bus.releases_.clear()
    assert await finished(bus, task) == "network.refused"
    ((_, reason),) = bus.reports
    assert reason is not None
    assert "a.example:443" in reason.message


async def test_a_guest_that_fails_fails_the_job_and_still_has_a_result() -> None:
    guest = Guest()
    guest.exit(3)
    assets = given.assets(guest.wasm())
    task = given.task(assets)
    bus = FakeBus.of(task, assets)
    assert await finished(bus, task) == "workload.exit_nonzero"
    assert b'"exit_code":3' in opened(bus, task)
    receipt = ReceiptFile.from_bytes(bus.stored[0][1])
    assert b'"exit_code":null' in receipt.envelope.payload


async def test_a_path_that_no_one_can_name_fails_the_job_and_not_the_host() -> None:
    guest = Guest()
    name = "n" * 255
    at: int | str = RESULTS
    for _ in range(18):
        guest.do(guest.call("path_create_directory", at, name))
        guest.do(guest.call("path_open", at, 1, name, DIRECTORY, READ, ALL_RIGHTS, 0, FD_OUT))
        at = guest.opened()
    guest.exit(0)
    assets = given.assets(guest.wasm())
    task = given.task(assets)
    assert await finished(FakeBus.of(task, assets), task) == "workload.output_names"


def swap(assets: dict[str, Sealed], **others: Sealed) -> dict[str, Sealed]:
    return {**assets, **others}


def broken(name: str) -> tuple[FakeBus, Task]:
    """A job with one thing wrong with it."""
    assets = given.assets(iris=b"data" * 100)
    match name:
        case "asset.digest":
            assets = swap(assets, iris=given.seal(b"data", commitment="0" * 64))
        case "asset.size":
            assets = swap(assets, iris=given.seal(b"data", size=3))
        case "invocation.invalid":
            assets = swap(assets, **{INVOCATION: given.seal(b'{"args":["iris-setosa"]}')})
        case "workload.arguments":
            nul = Invocation(args=("iris\0setosa",), env={}).to_bytes()
            assets = swap(assets, **{INVOCATION: given.seal(nul)})
        case "invocation.too_large":
            assets = swap(assets, **{INVOCATION: given.seal(b"", size=(1 << 20) + 1)})
        case _:
            pass
    task = given.task(assets)
    bus = FakeBus.of(task, assets)
    iris = assets["iris"].ref.asset_id
    match name:
        case "asset.not_found":
            del bus.assets_[iris]
        case "asset.corrupt":
            bus.assets_[iris] = (b"".join(bus.assets_[iris])[:-1],)
        case "asset.swapped":
            bus.assets_[iris] = bus.assets_[assets[ALGORITHM].ref.asset_id]
        case _:
            pass
    return bus, task


@pytest.mark.parametrize(
    "code",
    [
        "asset.digest",
        "asset.size",
        "asset.not_found",
        "asset.corrupt",
        "invocation.invalid",
        "invocation.too_large",
        "workload.arguments",
    ],
)
async def test_bad_input_ends_the_job_by_name_and_quotes_nothing(code: str) -> None:
    bus, task = broken(code)
    assert await finished(bus, task) == code
    reason = bus.reports[-1][1]
    assert reason is not None
    assert "setosa" not in reason.message
    assert not bus.stored


async def test_an_asset_in_the_place_of_another_ends_the_job() -> None:
    bus, task = broken("asset.swapped")
    code = await finished(bus, task)
    assert code is not None
    assert code.startswith("asset.")


async def test_releases_that_are_refused_are_told_and_the_wait_goes_on() -> None:
    assets = given.assets()
    task = given.task(assets)
    bus = FakeBus.of(task, assets)
    other = given.release(task, ALGORITHM, assets, job_id="job-2")
    bus.releases_.insert(0, schema.encode(other))
    assert await finished(bus, task) == "workload.not_wasm"
    kind, reason = bus.reports[0]
    assert kind is ReportKind.RELEASE_REFUSED
    assert reason is not None
    assert reason.code == "release.other_job"


async def test_a_wait_for_releases_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    class Overdue:
        """`asyncio.timeout` whose time is up."""

        async def __aenter__(self) -> None:
            raise TimeoutError

        async def __aexit__(self, *_: object) -> None: ...

    assets = given.assets(iris=b"data")
    task = given.task(assets)
    monkeypatch.setattr("atoll_agent.job.asyncio.timeout", lambda _: Overdue())
    bus = FakeBus.of(task, assets)
    assert await finished(bus, task) == "release.timeout"
    reason = bus.reports[-1][1]
    assert reason is not None
    assert "iris, run.algorithm, run.invocation" in reason.message


async def test_the_end_of_the_releases_is_the_bus_s_matter() -> None:
    assets = given.assets()
    bus = FakeBus()
    with pytest.raises(UnreachableError):
        await runner(bus).run(given.task(assets))
    assert bus.reports == []


async def test_a_bus_that_goes_in_the_middle_sends_the_job_elsewhere() -> None:
    assets = given.assets()
    task = given.task(assets)
    bus = FakeBus.of(task, assets)
    bus.failing = given.bus_gone()
    working = runner(bus)
    with pytest.raises(UnreachableError):
        await working.run(task)
    assert bus.reports == []
    assert bus.open_streams == 0
    assert not workspace_path(working.enclave_id).exists()


async def test_a_host_without_room_gets_no_key_and_the_job_goes_elsewhere() -> None:
    assets = given.assets()
    limits = replace(LIMITS, output_bytes=16 << 30)
    huge = {**assets, "iris": given.seal(b"", size=1 << 44)}
    task = given.task(huge, limits)
    bus = FakeBus.of(task, huge)
    bus.releases_ = []  # it must not come to waiting for these
    with pytest.raises(ConfigError) as caught:
        await runner(bus).run(task)
    assert caught.value.code == "agent.no_space"
    assert bus.reports == []


async def test_a_directory_that_somebody_else_made_sends_the_job_elsewhere() -> None:
    assets = given.assets()
    task = given.task(assets)
    working = runner(FakeBus.of(task, assets))
    path = workspace_path(working.enclave_id)
    path.mkdir()
    try:
        with pytest.raises(ConfigError) as caught:
            await working.run(task)
    finally:
        path.rmdir()
    assert caught.value.code == "agent.workspace_exists"


def test_memory_that_gives_out_is_the_host_s_matter() -> None:
    enclave = f"unit-{secrets.token_hex(8)}"
    with pytest.raises(ConfigError) as caught, host_storage(enclave, need_bytes=1):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/dev/shm/secret name")
    assert caught.value.code == "agent.storage"
    assert "secret name" not in caught.value.message
    assert not workspace_path(enclave).exists()


def test_an_enclave_id_that_is_none_is_the_host_s_matter() -> None:
    with pytest.raises(ConfigError) as caught, host_storage("../x", need_bytes=1):
        pass
    assert caught.value.code == "name.invalid"


@pytest.mark.parametrize("error", [RefusedError("no"), InputError("no"), AtollError("no")])
def test_what_the_job_raises_inside_stays_what_it_is(error: AtollError) -> None:
    with (
        pytest.raises(type(error)),
        host_storage(f"unit-{secrets.token_hex(8)}", need_bytes=1),
    ):
        raise error


def test_no_memory_storage_is_the_host_s_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere(enclave_id: str, **options: Any) -> Any:
        return open_workspace(enclave_id, root=Path("/proc"), **options)

    monkeypatch.setattr("atoll_agent.job.open_workspace", elsewhere)
    with pytest.raises(ConfigError) as caught, host_storage("e1", need_bytes=1):
        pass
    assert caught.value.code == "agent.no_memory_storage"
