"""Parties who sign with RSA and ECDSA keys from PEM files, as they had them before: one job of
two such parties, and the one-person path under a key with a passphrase.
"""

import json
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from atoll.client.assets import PreparedAsset, upload_pieces
from atoll.client.compose import OUTPUT, STEP, agree
from atoll.client.connection import AtollClient
from atoll.client.keystore import KeyStore
from atoll.client.results import OpenedResult, check_receipt, fetch_result
from atoll.computation.consent import require_consents
from atoll.computation.manifest import Dataset, JobLimits, Manifest, Party, TeeRequirements
from atoll.computation.network import Network
from atoll.computation.outputs import Output
from atoll.computation.steps import Source, Step, StepLimits, WorkloadKind
from atoll.errors import AtollError, ReceiptError
from atoll.identity import PartyKeys
from atoll.invocation import Invocation
from atoll.wire.messages import EventType, JobEvent, JobState, Tee
from support import signing, wat
from support.client import (
    ALGORITHM,
    INVOCATION,
    LATER_MS,
    Draft,
    ended,
    reached,
    releases_for,
    until,
)
from support.stack import Stack

PEM_PASSPHRASE = b"of the PEM file"
PASSPHRASE = b"of the key file"
CONTENT = b"what nobody else may read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parties:
    """`builder` has the algorithm and an RSA key, `analyst` the data and an ECDSA key."""

    builder: PartyKeys
    analyst: PartyKeys


@pytest.fixture(scope="module")
def passphrase_file(stack: Stack) -> Path:
    path = stack.root / "passphrase"
    path.write_bytes(PASSPHRASE + b"\n")
    return path


@pytest.fixture(scope="module")
def parties(stack: Stack, passphrase_file: Path) -> Parties:
    """Imported by the command: PKCS#1 in the clear, SEC 1 under a passphrase."""
    rsa, ecdsa, theirs = (stack.root / name for name in ("rsa.pem", "ec.pem", "ec.passphrase"))
    rsa.write_bytes(signing.pem("rsa3072", signing.TRADITIONAL))
    ecdsa.write_bytes(signing.pem("p384", signing.TRADITIONAL, PEM_PASSPHRASE))
    theirs.write_bytes(PEM_PASSPHRASE)
    made = stack.atoll("keys", "import", "builder", rsa, "--json")
    assert made.document()["algorithm"] == "RSA 3072"
    options = ("--pem-passphrase-file", theirs, "--passphrase-file", passphrase_file)
    made = stack.atoll("keys", "import", "analyst", ecdsa, *options, "--json")
    assert (made.document()["algorithm"], made.document()["protected"]) == ("ECDSA P-384", True)
    store = KeyStore(stack.home, ask=lambda _: PASSPHRASE)
    return Parties(builder=store.load("builder"), analyst=store.load("analyst"))


@pytest_asyncio.fixture
async def client(stack: Stack) -> AsyncIterator[AtollClient]:
    async with stack.client() as connected:
        yield connected


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoPartyJob:
    """A job that waits for the releases of both."""

    parties: Parties
    draft: Draft
    event: JobEvent

    async def release(self, client: AtollClient, names: set[str], **changes: object) -> None:
        """Release the keys of these assets; by whom, `changes["provider"]` says."""
        assert self.event.enclave_id is not None
        for name, one in (await releases_for(client, self.draft, self.event, **changes)).items():
            if name in names:
                await client.release(self.event.enclave_id, one)

    async def release_all(self, client: AtollClient) -> None:
        """Each provider releases its own."""
        await self.release(client, {ALGORITHM}, provider=self.parties.builder)
        await self.release(client, {"in", INVOCATION}, provider=self.parties.analyst)


async def waiting(client: AtollClient, parties: Parties) -> TwoPartyJob:
    builder, analyst = parties.builder, parties.analyst
    contents = {
        ALGORITHM: (wat.echo(), builder),
        "in": (CONTENT, analyst),
        INVOCATION: (Invocation(args=("one",), env={}).to_bytes(), analyst),
    }
    assets = {
        name: await upload_pieces(client, [content], provider=owner.name)
        for name, (content, owner) in contents.items()
    }
    manifest = two_party_manifest(parties, assets)
    draft = Draft(keys=analyst, assets=assets, manifest=manifest)
    view = await client.submit(
        agree(draft.raw, builder, analyst, expires_ms=LATER_MS), secrets.token_hex(16)
    )
    events = await until(client, view.job_id, reached(JobState.AWAITING_ASSETS))
    return TwoPartyJob(parties=parties, draft=draft, event=events[-1])


def two_party_manifest(parties: Parties, assets: Mapping[str, PreparedAsset]) -> Manifest:
    """The builder's code on the analyst's data, for the analyst."""
    builder, analyst = parties.builder, parties.analyst
    manifest = Manifest(
        nonce=secrets.token_bytes(32),
        parties={
            "builder": Party(signing_key=builder.signing_key),
            "analyst": Party(signing_key=analyst.signing_key, hpke_key=analyst.public.hpke_key),
        },
        steps=(
            Step(
                name=STEP,
                kind=WorkloadKind.WASM,
                algorithm=assets[ALGORITHM].ref,
                invocation=assets[INVOCATION].ref,
                inputs={"in": Source(dataset="in")},
                limits=StepLimits(),
            ),
        ),
        datasets={"in": Dataset(asset=assets["in"].ref)},
        outputs={OUTPUT: Output(step=STEP, consumers=("analyst",), max_bytes=4 << 30)},
        network=Network(),
        limits=JobLimits(),
        tee=TeeRequirements(kind=Tee.SIMULATED),
    )
    manifest.require_consistent()
    return manifest


async def result_of(
    client: AtollClient, stack: Stack, job: TwoPartyJob, into: Path
) -> OpenedResult:
    return await fetch_result(
        client,
        await client.get(job.event.job_id),
        manifest_digest=job.draft.digest,
        output=OUTPUT,
        keys=job.parties.analyst,
        appraiser=stack.appraiser(),
        into=into,
    )


async def test_a_job_of_an_rsa_and_an_ecdsa_party_runs_and_its_receipt_verifies_offline(
    stack: Stack, client: AtollClient, parties: Parties, tmp_path: Path
) -> None:
    job = await waiting(client, parties)
    await job.release_all(client)
    events = await until(client, job.event.job_id, ended)
    assert events[-1].state is JobState.COMPLETED
    assert EventType.RELEASE_REFUSED not in {event.type for event in events}
    result = await result_of(client, stack, job, tmp_path / "out")
    (out,) = (file.path for file in result.files if file.name == "results/out")
    assert out.read_bytes() == CONTENT
    # The receipt names both by their keys in full.
    raw = result.receipt_path.read_bytes()
    receipt = check_receipt(raw, stack.appraiser()).receipt
    assert {party.name: party.signing_key for party in receipt.parties} == {
        "builder": parties.builder.signing_key.hex(),
        "analyst": parties.analyst.signing_key.hex(),
    }
    said = stack.atoll("receipt", "verify", result.receipt_path)
    assert said.status == 0
    for keys in (parties.builder, parties.analyst):
        assert f"fingerprint {keys.public.fingerprint}" in said.out
    # And only as it is.
    changed = bytearray(raw)
    changed[raw.index(b"payload") + 40] ^= 1
    with pytest.raises(ReceiptError):
        check_receipt(bytes(changed), stack.appraiser())


async def test_the_enclave_refuses_a_release_under_another_key_of_the_same_kind(
    client: AtollClient, parties: Parties
) -> None:
    job = await waiting(client, parties)
    for name, provider, kind in (
        (ALGORITHM, "builder", "rsa4096"),
        ("in", "analyst", "p256"),
        ("in", "analyst", "ed25519"),
    ):
        stranger = PartyKeys.imported(provider, signing.signer(kind), secrets.token_bytes)
        await job.release(client, {name}, provider=stranger)
    events = await until(client, job.event.job_id, lambda event: event.seq == job.event.seq + 3)
    notices = events[-3:]
    assert {notice.type for notice in notices} == {EventType.RELEASE_REFUSED}
    assert {notice.reason.code for notice in notices if notice.reason} == {"release.signature"}
    await job.release_all(client)
    events = await until(client, job.event.job_id, ended)
    assert events[-1].state is JobState.COMPLETED


async def test_the_gateway_refuses_a_manifest_with_another_key_s_signature(
    client: AtollClient, parties: Parties
) -> None:
    stranger = PartyKeys.imported("builder", signing.signer("rsa4096"), secrets.token_bytes)
    owners = {ALGORITHM: "builder", "in": "analyst", INVOCATION: "analyst"}
    assets = {
        name: await upload_pieces(client, [CONTENT], provider=owner)
        for name, owner in owners.items()
    }
    raw = two_party_manifest(parties, assets).to_bytes()
    good = agree(raw, parties.builder, parties.analyst, expires_ms=LATER_MS)
    require_consents(good, now_ms=LATER_MS - 1)
    forged = agree(raw, stranger, parties.analyst, expires_ms=LATER_MS)
    with pytest.raises(AtollError) as caught:
        await client.submit(forged, secrets.token_hex(16))
    assert caught.value.code == "consent.signature"


@pytest.mark.parametrize("key", ["builder", "analyst"])
def test_one_person_runs_a_job_under_an_imported_key(
    stack: Stack, parties: Parties, passphrase_file: Path, tmp_path: Path, key: str
) -> None:
    module, data, out = (tmp_path / name for name in ("echo.wasm", "in", "out"))
    module.write_bytes(wat.echo())
    data.write_bytes(CONTENT)
    option = ("--passphrase-file", passphrase_file) if key == "analyst" else ()
    line = (module, "--key", key, "--data", f"in={data}", "--out", out)
    if option:
        said = stack.run(*line)
        assert (said.status, said.document()["error"]["code"]) == (1, "key.passphrase")
    said = stack.run(*line, *option)
    assert said.status == 0, said
    assert (out / "results" / "out").read_bytes() == CONTENT
    assert stack.atoll("receipt", "verify", out / "receipt.json").status == 0
    # Opening it again takes the key again.
    again = tmp_path / "again"
    job = said.document()["job_id"]
    opened = stack.atoll("result", job, "--out", again, "--key", key, *option, "--json")
    assert opened.status == 0, opened
    assert (again / "results" / "out").read_bytes() == CONTENT
    shown = json.loads((out / "receipt.json").read_bytes())
    assert shown == json.loads((again / "receipt.json").read_bytes())
    assert PASSPHRASE.decode() not in said.out + said.err + opened.out + opened.err
