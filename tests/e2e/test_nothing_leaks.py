"""Ciphertext only outside (architecture, section 2.1).

Jobs of all kinds run with random markers in everything that is confidential: code, data,
arguments, environment, names and contents of outputs, both logs, and things that end up
in error messages. Then every byte that crossed the bus or HTTP, every stored file, every
log line and what the operating system shows of each process is searched for the markers,
for every key and salt that protects them, and for unsalted digests of them.
"""

import asyncio
import base64
import hashlib
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import pytest_asyncio

from atoll.client.appraisal import Appraiser
from atoll.client.assets import upload_pieces
from atoll.client.compose import OUTPUT
from atoll.client.connection import AtollClient, open_client
from atoll.client.keystore import KeyStore
from atoll.client.results import OpenedResult
from atoll.computation.manifest import Dataset
from atoll.errors import NotFoundError
from atoll.evidence import document as documents
from atoll.identity import PartyKeys
from atoll.sealing.result import ResultContext, ResultRecord, open_result
from atoll.sealing.signature import SigningKey
from atoll.wire import schema
from atoll.wire.messages import JobEvent, JobState
from e2e.guests import custom_section, talking
from support import wat
from support.client import (
    INVOCATION,
    Draft,
    drafted,
    ended,
    opened,
    reached,
    release,
    release_to_the_end,
    submit,
    until,
)
from support.command import descendants
from support.search import find
from support.stack import recorder
from support.tapped import Tapped, tapped_stack

HTTP_PATHS = ("", "/events", "/manifest", "/evidence", "/outcome", "/receipt")


@dataclass(slots=True)
class Secrets:
    """What must not be found, by name."""

    known: dict[str, bytes] = field(default_factory=dict)

    def marker(self, purpose: str) -> str:
        """A fresh text that occurs nowhere by chance."""
        text = f"marker{secrets.token_hex(12)}"
        self.known[purpose] = text.encode()
        return text

    def add(self, name: str, secret: bytes) -> None:
        self.known[name] = secret

    def content(self, name: str, content: bytes) -> None:
        """Its digest without a salt would let anyone confirm a guess."""
        self.add(f"digest of {name}", hashlib.sha256(content).digest())


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job that ran, and how it ended."""

    name: str
    draft: Draft
    events: list[JobEvent]

    @property
    def end(self) -> JobEvent:
        return self.events[-1]

    @property
    def code(self) -> str | None:
        return self.end.reason.code if self.end.reason else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """All that an attacker outside could have seen, and what he looks for."""

    secrets: Mapping[str, bytes]
    controls: Mapping[str, bytes]
    jobs: Mapping[str, Job]
    places: tuple[tuple[str, bytes], ...]
    left: tuple[str, ...]
    """Processes and memory of enclaves after the last job."""


@dataclass(slots=True, kw_only=True)
class Scene:
    """Runs the jobs and remembers what is secret."""

    tapped: Tapped
    client: AtollClient
    keys: PartyKeys
    out: Path
    secrets: Secrets = field(default_factory=Secrets)
    jobs: dict[str, Job] = field(default_factory=dict)
    seen: list[tuple[str, bytes]] = field(default_factory=list)

    def marker(self, purpose: str) -> str:
        return self.secrets.marker(purpose)

    async def run(self, name: str, draft: Draft, *, look: bool = False) -> None:
        """See a job through, look at the machine meanwhile, open what it gave."""
        for asset_name, asset in draft.assets.items():
            self.secrets.add(f"{name}: content key of {asset_name}", asset.secrets.content_key)
            self.secrets.add(f"{name}: salt of {asset_name}", asset.secrets.salt)
            digest = bytes.fromhex(asset.content_sha256)
            self.secrets.add(f"{name}: digest of {asset_name}", digest)
        view = await submit(self.client, draft)
        if look:
            asked = (await until(self.client, view.job_id, reached(JobState.AWAITING_ASSETS)))[-1]
            await release(self.client, draft, asked)
            await until(self.client, view.job_id, reached(JobState.RUNNING))
            self.seen += processes()
            events = await until(self.client, view.job_id, ended)
        else:
            events = await release_to_the_end(self.client, draft, view.job_id)
        self.jobs[name] = Job(name=name, draft=draft, events=events)
        try:
            result = await self.open(name, draft, view.job_id)
        except NotFoundError:
            return
        for file in result.files:
            if file.size:
                self.secrets.content(f"{name}: {file.name}", file.path.read_bytes())

    async def open(self, name: str, draft: Draft, job_id: str) -> OpenedResult:
        appraiser = Appraiser.from_profile(self.tapped.profile)
        result = await opened(self.client, draft, job_id, appraiser, self.out / name)
        view = await self.client.get(job_id)
        outcome = await self.client.outcome(job_id, view.attempt)
        evidence = result.receipt.evidence
        key = open_result(
            schema.decode(ResultRecord, outcome.results[OUTPUT]),
            consumer=self.keys,
            enclave_signing_key=documents.parse(evidence).signing_key,
            expected=ResultContext(
                job_id=job_id,
                attempt=view.attempt,
                manifest_digest=draft.digest,
                evidence_digest=hashlib.sha256(evidence).digest(),
                output=OUTPUT,
            ),
        )
        self.secrets.add(f"{name}: content key of the result", key.content_key)
        self.secrets.add(f"{name}: salt of the result", key.salt)
        return result

    async def http(self) -> None:
        """Ask the gateway for everything that it tells about every job."""
        for path in ("/healthz", "/openapi.json", "/v1/jobs"):
            await asyncio.to_thread(self.get, path)
        for job in self.jobs.values():
            for path in HTTP_PATHS:
                await asyncio.to_thread(self.get, f"/v1/jobs/{job.end.job_id}{path}")

    def get(self, path: str) -> None:
        request = urllib.request.Request(self.tapped.profile.http_url + path)
        request.add_header("Authorization", f"Bearer {self.tapped.profile.http_token}")
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                response.read()
        except urllib.error.HTTPError as error:
            with error:
                error.read()


async def run_all(scene: Scene) -> None:
    """Jobs that end well, and jobs that end badly in as many ways as quote their input."""
    await scene.run("echo", await echo(scene))
    await scene.run("talk", await talk(scene), look=True)
    await scene.run("trap", await trap(scene))
    await scene.run("import", await unknown_import(scene))
    await scene.run("not wasm", await not_wasm(scene))
    await scene.run("bad name", await bad_output_name(scene))
    for name, text in (
        ("bad invocation", '{"args":["%s"],"env":1}'),
        ("bad variable", '{"args":[],"env":{"%s=":"x"}}'),
        ("bad argument", '{"args":["\\u0000%s"],"env":{}}'),
        ("no JSON", '{"args":%s}'),
    ):
        raw = (text % scene.marker(name)).encode()
        await scene.run(name, await bad_invocation(scene, raw))
    await scene.run("wrong digest", await wrong_digest(scene))


async def echo(scene: Scene) -> Draft:
    """Prints arguments and environment, copies the dataset: all of it is secret."""
    mark = scene.marker
    module = custom_section(wat.echo(), "secret", mark("algorithm").encode() * 3)
    data = mark("dataset").encode() + secrets.token_bytes(600_000) + mark("dataset end").encode()
    return await drafted(
        scene.client,
        scene.keys,
        module,
        data={"in": data},
        args=(mark("argument"), f'{{"json": "{mark("JSON argument")}"}}'),
        env={"KEY": mark("variable"), mark("variable name"): "x"},
    )


async def talk(scene: Scene) -> Draft:
    """Ends with an exit code that is not 0."""
    mark = scene.marker
    module = talking(
        stdout=mark("standard output"),
        stderr=mark("standard error"),
        files={mark("output name"): mark("output")},
        exit_code=77,
        sleep_ms=600,
    )
    return await drafted(scene.client, scene.keys, module, args=(mark("argument while looked at"),))


async def trap(scene: Scene) -> Draft:
    """A backtrace would name the function."""
    name = scene.marker("function name")
    text = f'(module (func ${name} unreachable) (func (export "_start") call ${name}))'
    return await drafted(scene.client, scene.keys, wat.assemble(text))


async def unknown_import(scene: Scene) -> Draft:
    """A linker would name what it misses."""
    name = scene.marker("import name")
    text = f'(module (import "{name}" "{name}" (func)) (func (export "_start")))'
    return await drafted(scene.client, scene.keys, wat.assemble(text))


async def not_wasm(scene: Scene) -> Draft:
    content = scene.marker("algorithm that is none").encode()
    return await drafted(scene.client, scene.keys, content)


async def bad_output_name(scene: Scene) -> Draft:
    name = scene.marker("illegal output name") + "\n"
    module = talking(stdout="", stderr="", files={name: "x"}, exit_code=0)
    return await drafted(scene.client, scene.keys, module)


async def bad_invocation(scene: Scene, raw: bytes) -> Draft:
    """An invocation that no honest client would seal."""
    draft = await drafted(scene.client, scene.keys, wat.echo())
    sealed = await upload_pieces(scene.client, [raw], provider=scene.keys.name)
    assets = {**draft.assets, INVOCATION: sealed}
    (step,) = draft.manifest.steps
    return replace(draft.changed(steps=(replace(step, invocation=sealed.ref),)), assets=assets)


async def wrong_digest(scene: Scene) -> Draft:
    content = scene.marker("dataset that is not the one").encode()
    draft = await drafted(scene.client, scene.keys, wat.echo(), data={"in": content})
    wrong = replace(draft.assets["in"].ref, commitment=secrets.token_hex(32))
    return draft.changed(datasets={"in": Dataset(asset=wrong)})


EXPECTED = {
    "echo": None,
    "talk": "workload.exit_nonzero",
    "trap": "workload.trap",
    "import": "workload.import",
    "not wasm": "workload.not_wasm",
    "bad name": "workload.output_names",
    "bad invocation": "invocation.invalid",
    "bad variable": "invocation.invalid",
    "bad argument": "workload.arguments",
    "no JSON": "invocation.invalid",
    "wrong digest": "asset.digest",
}


def processes() -> list[tuple[str, bytes]]:
    """What the operating system tells anyone about each process below us."""
    found = []
    for pid in descendants():
        for what in ("cmdline", "environ"):
            try:
                found.append((f"/proc/{pid}/{what}", Path(f"/proc/{pid}/{what}").read_bytes()))
            except OSError:
                continue
    return found


def files(*roots: Path) -> Iterator[tuple[str, bytes]]:
    """Every file, and every name of one."""
    for root in roots:
        for path in sorted(root.rglob("*")):
            yield f"name {path}", str(path).encode()
            if path.is_file():
                yield f"file {path.relative_to(root)}", path.read_bytes()


async def plant(scene: Scene) -> dict[str, bytes]:
    """What is published in the clear must be found, or the search is worth nothing."""
    controls = Secrets()
    raw = b"x" * 99 + controls.marker("raw").encode()
    encoded = base64.b64encode(b"ab" + controls.marker("encoded").encode())
    for content in (raw, b"y" * 50 + encoded):
        await scene.client.upload(secrets.token_hex(16), [content])
    path = controls.marker("path")
    await asyncio.to_thread(scene.get, f"/v1/jobs/{path}")
    return controls.known


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """Everything happens here; the tests below only look at it."""
    root = tmp_path_factory.mktemp("leaks")
    home, data_dir = root / "home", root / "data"
    keys = KeyStore(home).new("owner")
    async with tapped_stack(home, data_dir) as tapped:
        async with open_client(tapped.profile, recorder()) as client:
            scene = Scene(tapped=tapped, client=client, keys=keys, out=root / "out")
            assert isinstance(keys.signing, SigningKey)
            scene.secrets.add("signing seed", keys.signing.seed)
            scene.secrets.add("HPKE seed", keys.hpke.seed)
            await run_all(scene)
            await scene.http()
            controls = await plant(scene)
        left = await asyncio.to_thread(leftovers, scene)
    stored = [
        (place, content)
        for place, content in files(home, data_dir)
        if "keys/owner.json" not in place
    ]
    return Recording(
        secrets=scene.secrets.known,
        controls=controls,
        jobs=scene.jobs,
        places=(*tapped.traffic(), *scene.seen, *stored),
        left=tuple(left),
    )


def leftovers(scene: Scene) -> list[str]:
    """Processes and memory-only storage of enclaves, once they had time to end."""

    def remaining() -> list[str]:
        enclaves = {event.enclave_id for job in scene.jobs.values() for event in job.events}
        paths = [Path(f"/dev/shm/atoll-{one}") for one in enclaves]
        running = [line for line in descendants().values() if "-m atoll_agent" in line]
        return [*running, *(str(path) for path in paths if path.exists())]

    deadline = time.monotonic() + 20
    while remaining() and time.monotonic() < deadline:
        time.sleep(0.05)
    return remaining()


def test_no_marker_key_salt_or_digest_is_anywhere_outside(recording: Recording) -> None:
    assert find(recording.secrets, recording.places) == []


def test_what_is_published_in_the_clear_is_found(recording: Recording) -> None:
    """The control of the test above, on the same bytes: bus, subscriber, files and logs."""
    found = find(recording.controls, recording.places)
    for text in (
        "raw as raw in bus stream",
        "raw as raw in message on $O.assets.C.",
        "raw as raw in file nats/jetstream",
        "encoded as base64",
        "path as raw in HTTP stream",
        "path as raw in file logs/gateway.log",
    ):
        assert [one for one in found if text in one], (text, found)


@pytest.mark.parametrize("name", EXPECTED)
def test_each_job_ended_as_it_should(recording: Recording, name: str) -> None:
    """Else the markers might never have come to where they could leak."""
    assert recording.jobs[name].code == EXPECTED[name]


def test_the_search_saw_every_kind_of_place(recording: Recording) -> None:
    seen = {place.split()[0] for place, _ in recording.places}
    assert seen >= {"bus", "HTTP", "message", "file", "name"}
    names = [place for place, _ in recording.places]
    for part in (
        "/cmdline",
        "/environ",
        "logs/manager.log",
        "logs/enclave-",
        "bus/tenants/main.creds",
    ):
        assert [name for name in names if part in name], part
    assert len(recording.secrets) > 100
    assert sum(len(content) for _, content in recording.places) > 5_000_000


def test_nothing_of_an_enclave_stays_in_memory_or_running(recording: Recording) -> None:
    assert recording.left == ()
