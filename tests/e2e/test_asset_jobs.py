"""Jobs over assets that were put once: by reference in the manifest, by key from the store."""

import secrets
from dataclasses import replace
from pathlib import Path

import pytest

from atoll.client.asset_record import AssetRecord
from atoll.client.asset_store import AssetStore
from atoll.client.assets import upload_pieces
from atoll.client.compose import OUTPUT, Program, agree, one_person_manifest
from atoll.client.connection import AtollClient
from atoll.client.keystore import KeyStore
from atoll.client.release import Releaser, Waiting
from atoll.client.results import fetch_result
from atoll.computation.manifest import ArchiveFormat, Dataset, JobLimits, Unpacking, digest
from atoll.computation.steps import StepLimits
from atoll.identity import PartyKeys
from atoll.invocation import Invocation
from atoll.sealing.release import ReleasedKey
from atoll.wire.messages import JobState, Tee
from support.client import LATER_MS, ended, reached, until
from support.stack import Stack
from support.wat import CREATE, DATA, RESULTS, WRITE, Guest, echo


@pytest.fixture(scope="module")
def home(stack: Stack) -> Stack:
    """The stack, with an identity key."""
    assert stack.atoll("keys", "new", "me").status == 0
    return stack


async def run_job(
    stack: Stack,
    client: AtollClient,
    keys: PartyKeys,
    program: AssetRecord,
    data: AssetRecord,
    *,
    unpack: Unpacking | None = None,
) -> bytes:
    """One job over assets of the store, released by what the store gives; its result."""
    invocation = await upload_pieces(
        client, [Invocation(args=(), env={}).to_bytes()], provider=keys.name
    )
    manifest = one_person_manifest(
        keys,
        nonce=secrets.token_bytes(32),
        program=Program(algorithm=program.prepared, invocation=invocation),
        datasets={"in": data.prepared},
        limits=StepLimits(),
        job_limits=JobLimits(),
        tee=Tee.SIMULATED,
    )
    raw = replace(manifest, datasets={"in": Dataset(asset=data.ref, unpack=unpack)}).to_bytes()
    view = await client.submit(agree(raw, keys, expires_ms=LATER_MS), secrets.token_hex(16))
    events = await until(client, view.job_id, reached(JobState.AWAITING_ASSETS))
    releaser = Releaser(client=client, keys=keys, appraiser=stack.appraiser())
    prospect = await releaser.look(Waiting.of(events[-1], manifest_digest=digest(raw)))
    own = {
        invocation.ref.asset_id: ReleasedKey(
            content_key=invocation.secrets.content_key, salt=invocation.secrets.salt
        )
    }
    wanted = [asset.asset_id for asset in manifest.assets_of("me").values()]
    await releaser.release(prospect, {**own, **AssetStore(stack.home).secrets_for(wanted)})
    events = await until(client, view.job_id, ended)
    assert events[-1].state is JobState.COMPLETED, events[-1]
    result = await fetch_result(
        client,
        await client.get(view.job_id),
        manifest_digest=digest(raw),
        output=OUTPUT,
        keys=keys,
        appraiser=stack.appraiser(),
        into=stack.root / view.job_id,
    )
    (out,) = [each for each in result.files if each.name.endswith("/out")]
    return out.path.read_bytes()


async def test_one_upload_serves_any_number_of_jobs(home: Stack, tmp_path: Path) -> None:
    (tmp_path / "echo.wasm").write_bytes(echo())
    (tmp_path / "data").write_bytes(b"the dataset")
    for name in ("echo.wasm", "data"):
        said = home.atoll("asset", "put", tmp_path / name, "--public-digest", "--json")
        assert (said.status, said.document()["outcome"]) == (0, "uploaded"), said.err
        assert said.err.count("\n") == 1
    store, keys = AssetStore(home.home), KeyStore(home.home).load("me")
    async with home.client() as client:
        program, data = store.load("echo.wasm"), store.load("data")
        before = [await client.asset(each.asset_id) for each in (program, data)]
        for _ in range(2):
            assert await run_job(home, client, keys, program, data) == b"the dataset"
        # The very objects, not others in their place.
        assert [await client.asset(each.asset_id) for each in (program, data)] == before


def reads_folder() -> bytes:
    """Copies /data/in/deep/b to /results/out."""
    guest = Guest()
    guest.require(guest.open(DATA, "in/deep/b"))
    guest.raw("(i32.store (i32.const 0) (i32.const 32768))(i32.store (i32.const 4)")
    guest.raw("(i32.const 4096))")
    guest.require(guest.call("fd_read", guest.opened(), 0, 1, 48))
    guest.require(guest.open(RESULTS, "out", oflags=CREATE, rights=WRITE))
    guest.require(guest.write(guest.opened(), 32768, "(i32.load (i32.const 48))"))
    guest.exit(0)
    return guest.wasm()


async def test_a_job_sees_the_files_of_a_directory(home: Stack, tmp_path: Path) -> None:
    (tmp_path / "reads.wasm").write_bytes(reads_folder())
    deep = tmp_path / "folder" / "deep"
    deep.mkdir(parents=True)
    (deep / "b").write_bytes(b"from a folder")
    (tmp_path / "folder" / "a").write_bytes(b"not this")
    for name in ("reads.wasm", "folder"):
        assert home.atoll("asset", "put", tmp_path / name).status == 0
    store, keys = AssetStore(home.home), KeyStore(home.home).load("me")
    program, data = store.load("reads.wasm"), store.load("folder")
    async with home.client() as client:
        unpack = Unpacking(format=ArchiveFormat.TAR)
        out = await run_job(home, client, keys, program, data, unpack=unpack)
    assert out == b"from a folder"
