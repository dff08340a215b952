"""What the measured processes do: `python -m bench.tasks TASK`, see `bench.children`.

A task is prepared up to `await go()` and measured from there on. It returns what it found;
`peak` is its process's peak resident memory.
"""

import asyncio
import json
import secrets
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from atoll.bus import BusConfig, ObjectStore, connect, login_from
from atoll.client.appraisal import Appraiser
from atoll.client.assets import upload_file
from atoll.client.connection import AtollClient, open_client
from atoll.client.keystore import KeyStore
from atoll.client.profile import ProfileFile
from atoll.client.run import Runner, RunOutcome, RunSpec
from atoll.computation.assets import AssetRef
from atoll.computation.steps import WorkloadKind
from atoll.evidence.findings import Appraisal
from atoll.sealing.archive import STDOUT
from atoll.sealing.release import ReleasedKey
from atoll.telemetry import names as spans
from atoll.telemetry.span import Recorder, Span
from atoll.wire import topology
from atoll.wire.messages import JobEvent, JobState, JobView
from atoll_agent.assets import open_asset
from atoll_agent.sandbox.limits import Limits
from atoll_agent.sandbox.outcome import Kind
from atoll_agent.sandbox.runner import run as run_guest
from atoll_agent.sandbox.step import Step, StepSpace
from atoll_agent.sandbox.workspace import open_workspace
from atoll_cli.deployment.folder import Folder
from atoll_cli.deployment.identities import OPERATOR
from bench import durable_tasks, fleet_load, raw, simulated_hosts, wall_tasks
from bench.appraisals import appraisals
from bench.machine import peak_resident
from bench.report import BenchError

Parameters = dict[str, Any]
Go = Callable[[], Awaitable[None]]
Task = Callable[[Parameters, Go], Awaitable[Parameters]]

TRACE_WAIT_S: Final = 10.0
PARTY: Final = "bench"


class _Silent:
    """Nobody wants to be told."""

    def step(self, text: str) -> None: ...
    def submitted(self, view: JobView) -> None: ...
    def event(self, event: JobEvent) -> None: ...
    def appraised(self, appraisal: Appraisal, enclave_id: str) -> None: ...


def _recorder() -> Recorder:
    return Recorder(spans.CLI, instance="bench", clock=time.time_ns, random=secrets.token_bytes)


async def seal_upload(given: Parameters, go: Go) -> Parameters:
    """Seal and upload a file as the client does; what its opener must know comes back."""
    profile = ProfileFile(Path(given["home"])).load()
    async with open_client(profile, _recorder()) as client:
        await go()
        began = time.perf_counter()
        asset = await upload_file(client, Path(given["path"]), provider=PARTY)
        seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        "peak": peak_resident(),
        "asset": {
            "asset_id": asset.ref.asset_id,
            "commitment": asset.ref.commitment,
            "size": asset.ref.size,
            "key": asset.secrets.content_key.hex(),
            "salt": asset.secrets.salt.hex(),
        },
    }


async def fetch_open(given: Parameters, go: Go) -> Parameters:
    """Fetch, open and check an asset into memory-only storage, as the agent does."""
    profile = ProfileFile(Path(given["home"])).load()
    # A tenant's clients do not read assets; the login that may do anything stands for an enclave's.
    config = BusConfig(
        url=profile.nats_url,
        name="bench",
        login=login_from(Folder(Path(given["data"]) / "bus").creds(OPERATOR), OPERATOR),
        inbox_prefix=f"_INBOX_{OPERATOR}",
    )
    about = given["asset"]
    ref = AssetRef(
        provider=PARTY,
        asset_id=about["asset_id"],
        commitment=about["commitment"],
        size=about["size"],
    )
    key = ReleasedKey(content_key=bytes.fromhex(about["key"]), salt=bytes.fromhex(about["salt"]))
    enclave = f"bench-{secrets.token_hex(8)}"
    async with connect(config) as bus:
        with open_workspace(enclave, need_bytes=ref.size) as workspace:
            await go()
            began = time.perf_counter()
            _, sealed = await ObjectStore(bus, topology.ASSETS.name).get(ref.asset_id)
            with workspace.create_data("big") as file:
                await open_asset("big", ref, key, sealed, file)
            seconds = time.perf_counter() - began
            peak = peak_resident()
    return {"seconds": seconds, "peak": peak}


async def forget(given: Parameters, go: Go) -> Parameters:
    """Take an asset away again, to keep the disk as it was."""
    profile = ProfileFile(Path(given["home"])).load()
    async with open_client(profile, _recorder()) as client:
        await go()
        await client.delete_asset(given["asset"]["asset_id"])
    return {}


async def jobs(given: Parameters, go: Go) -> Parameters:
    """Run jobs one after the other, from sealing to the opened result."""
    home = Path(given["home"])
    profile = ProfileFile(home).load()
    runner_keys = KeyStore(home).load_or_new(given["party"])
    recorder = _recorder()
    async with open_client(profile, recorder) as client:
        runner = Runner(
            client=client,
            keys=runner_keys,
            appraiser=Appraiser.from_profile(profile),
            progress=_Silent(),
        )
        spec = RunSpec(
            module=Path(given["module"]),
            data={name: Path(path) for name, path in given.get("data", {}).items()},
            tee=profile.tee,
            default_out=Path(given["out"]),
        )
        await go()
        began = time.perf_counter()
        traces = []
        for _ in range(given["count"]):
            outcome = await runner.run(spec)
            require_success(outcome, given["expect"].encode())
            traces.append(outcome.view.trace_id or "")
        seconds = time.perf_counter() - began
        found: Parameters = {"seconds": seconds, "peak": peak_resident()}
        if given.get("spans"):
            found["spans"] = await _traces(client, recorder, traces)
    return found


def require_success(outcome: RunOutcome, expect: bytes) -> None:
    """Raises: BenchError unless the job completed at its first attempt with this output."""
    view = outcome.view
    if view.state is not JobState.COMPLETED or view.attempt != 1 or outcome.result is None:
        raise BenchError(
            f"job {view.job_id}: {view.state.value}, attempt {view.attempt}: {view.reason}"
        )
    printed = next(file for file in outcome.result.files if file.name == STDOUT)
    if printed.path.read_bytes() != expect:
        raise BenchError(f"job {view.job_id} printed something else than {expect!r}")


async def _traces(
    client: AtollClient, recorder: Recorder, traces: list[str]
) -> list[list[Parameters]]:
    """The spans of each trace, once the span that ends last in each has arrived."""
    own = recorder.drain()
    found = []
    for trace_id in traces:
        mine = [span for span in own if span.context.trace_id == trace_id]
        theirs = await _complete(client, trace_id)
        found.append([_plain(span) for span in (*mine, *theirs)])
    return found


async def _complete(client: AtollClient, trace_id: str) -> tuple[Span, ...]:
    """Services export several times a second; the manager's span is the last to end."""
    try:
        async with asyncio.timeout(TRACE_WAIT_S):
            while True:
                found = await client.spans(trace_id)
                names = {span.name for span in found}
                if {spans.SPAWN, spans.ENCLAVE_JOB} <= names:
                    return found
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise BenchError(f"the trace {trace_id} is not complete") from None


def _plain(span: Span) -> Parameters:
    return {
        "service": span.service,
        "name": span.name,
        "start_ns": span.start_ns,
        "end_ns": span.end_ns,
    }


async def guests(given: Parameters, go: Go) -> Parameters:
    """Run a guest in the sandbox without a bus, `count` times, `together` at a time."""
    module = Path(given["module"]).read_bytes()  # noqa: ASYNC240 - before anything runs
    expect = given["expect"].encode()

    async def one() -> None:
        with open_workspace(f"bench-{secrets.token_hex(8)}", need_bytes=1 << 20) as workspace:
            with workspace.create_module() as file:
                file.write(module)
            outcome = await run_guest(
                WorkloadKind.WASM,
                Step(space=StepSpace(root=workspace.root), limits=Limits()),
            )
            printed = workspace.stdout.read_bytes()
        if outcome.kind is not Kind.EXITED or printed != expect:
            raise BenchError(f"the guest ended with {outcome.code}")

    await go()
    return {"seconds": await raw.repeat(one, given["count"], given["together"])}


TASKS: Final[dict[str, Task]] = {
    "seal_upload": seal_upload,
    "fetch_open": fetch_open,
    "forget": forget,
    "jobs": jobs,
    "guests": guests,
    "appraisals": appraisals,
    "durable": durable_tasks.durable,
    "hosts": simulated_hosts.hosts,
    "fleet_load": fleet_load.fleet_load,
    "walls": wall_tasks.walls,
    "compile_cache": wall_tasks.compile_cache,
    "publish_chunks": raw.publish_chunks,
    "fetch_chunks": raw.fetch_chunks,
    "aes_seal": raw.aes_seal,
    "aes_open": raw.aes_open,
    "sha256": raw.sha256,
    "messages": raw.messages,
    "starts": raw.starts,
}


async def _main(name: str) -> Parameters:
    given = json.loads(await asyncio.to_thread(sys.stdin.readline))

    async def go() -> None:
        print(json.dumps({"ready": True}), flush=True)
        await asyncio.to_thread(sys.stdin.readline)

    return await TASKS[name](given, go)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_main(sys.argv[1]))), flush=True)
