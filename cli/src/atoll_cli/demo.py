"""The Iris journey on a stack of its own, which leaves nothing behind.

Two chained jobs: `train` reads 150 flowers and gives a model; `infer` takes that model as
a sealed dataset and one flower as its argument and names the species.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from atoll.client.files import read_private
from atoll.client.results import OpenedResult, check_receipt
from atoll.client.run import RunOutcome, RunSpec
from atoll.errors import AtollError, ConfigError, RefusedError
from atoll.receipt.verify import MAX_FILE
from atoll.sealing.archive import RESULTS, STDOUT
from atoll.telemetry.span import Span
from atoll_cli import show
from atoll_cli.commands.receipt import verify_file
from atoll_cli.commands.trace import draw, whole_trace
from atoll_cli.options import DEFAULT_KEY
from atoll_cli.remote import connected
from atoll_cli.running import outcome_document, run_job, show_outcome
from atoll_cli.session import Session
from atoll_cli.stopping import checkpoint, finished
from atoll_cli.trust import appraiser_for

FLOWER: Final = '{"sepal_length": 7.0, "sepal_width": 3.2, "petal_length": 4.7, "petal_width": 1.4}'
ANSWER: Final = "Iris-versicolor"
START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 45.0
_TAIL: Final = 2000

_LAUNCH: Final = """
import ctypes, os, runpy, signal, sys
parent = int(sys.argv.pop(1))
if sys.platform == "linux":
    # PR_SET_PDEATHSIG: the stack is told to stop when the demo dies, however it dies.
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(1)
runpy.run_module("atoll_cli.main", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """The files of the journey."""

    train: Path
    infer: Path
    flowers: Path


def find_examples(wanted: Path | None) -> Examples:
    """In the directory that was named; else in ./examples; else beside these sources.

    Raises:
        ConfigError: `demo.examples`: not there, or not built.
    """
    beside = Path(__file__).resolve().parents[3] / "examples"
    places = [wanted] if wanted else [Path("examples"), beside]
    for place in places:
        found = Examples(
            train=place / "iris" / "build" / "train.wasm",
            infer=place / "iris" / "build" / "infer.wasm",
            flowers=place / "iris" / "Iris.csv",
        )
        if all(path.is_file() for path in (found.train, found.infer, found.flowers)):
            return found
    raise ConfigError(
        f"the Iris example is not in {' or '.join(map(str, places))}, or not built",
        code="demo.examples",
        hint="`make setup` builds it; --examples names the directory `examples` of a checkout",
    )


async def run_demo(session: Session, examples: Examples) -> None:
    """All of it.

    Raises:
        AtollError: a step failed, or the answer is not the right one.
    """
    with tempfile.TemporaryDirectory(prefix="atoll-demo-", ignore_cleanup_errors=True) as name:
        root = Path(name)
        part = Session(
            home=root / "home",
            color_out=session.color_out,
            color_err=session.color_err,
            as_json=session.as_json,
            documents=False,
        )
        part.banner()
        part.say("==> starting bus, gateway, attestor and manager", style="36")
        async with _stack(session, root) as facts:
            part.say(f"    bus {facts['nats']}, HTTP {facts['http']}")
            document = await _journey(part, examples, root)
            checkpoint()
        checkpoint()
    session.banner(answer=True)
    session.print(f"The flower is {ANSWER}. The stack is stopped and its directory removed.")
    session.document(document)


async def _journey(part: Session, examples: Examples, root: Path) -> dict[str, Any]:
    part.say()
    part.say("==> 1 of 2: train a model on 150 flowers", style="1;36")
    first, trained = await _run(
        part, root / "train", module=examples.train, data={"iris": examples.flowers}
    )
    model = next(item.path for item in trained.files if item.name == f"{RESULTS}model.json")
    part.say()
    part.say("==> 2 of 2: name a flower with the trained model, sealed", style="1;36")
    second, inferred = await _run(
        part, root / "infer", module=examples.infer, data={"model": model},
        args=(FLOWER,), after=trained.receipt_path,
    )  # fmt: skip
    checkpoint()
    part.say()
    part.say("==> verifying both receipts, offline", style="1;36")
    for result in (trained, inferred):
        verify_file(part, result.receipt_path, checks=False)
    if inferred.receipt.receipt.previous != (trained.receipt.digest.hex(),):
        raise RefusedError("the second receipt does not name the first", code="demo.chain")
    part.print("chained: the receipt of job 2 names that of job 1")
    part.say()
    part.say("==> where the time went", style="1;36")
    spans = [await _trace(part, outcome) for outcome in (first, second)]
    answer = show.output_file(inferred, STDOUT).path.read_text(encoding="utf-8").strip()
    if answer != ANSWER:
        raise RefusedError(f"the answer is {answer!r}, want {ANSWER!r}", code="demo.answer")
    return {
        "answer": answer,
        "simulated": inferred.receipt.appraisal.simulated,
        "jobs": [
            {**outcome_document(outcome), "spans": len(found)}
            for outcome, found in zip((first, second), spans, strict=True)
        ],
    }


async def _run(
    part: Session,
    out: Path,
    *,
    module: Path,
    data: dict[str, Path],
    args: tuple[str, ...] = (),
    after: Path | None = None,
) -> tuple[RunOutcome, OpenedResult]:
    previous: tuple[str, ...] = ()
    if after is not None:
        appraiser = appraiser_for(part.home, root=None, policy=None)
        raw = read_private(after, limit=MAX_FILE)
        previous = (check_receipt(raw, appraiser).digest.hex(),)
    checkpoint()
    async with connected(part) as remote:
        spec = RunSpec(
            module=module,
            data=data,
            args=args,
            tee=remote.profile.tee,
            previous=previous,
            out=out,
            default_out=out,
        )
        keys = part.keys().load_or_new(DEFAULT_KEY)
        outcome = await run_job(part, remote, keys, spec)
    show_outcome(part, outcome)
    if outcome.result is None:
        raise RefusedError("the job completed without a result", code="demo.result")
    return outcome, outcome.result


async def _trace(part: Session, outcome: RunOutcome) -> tuple[Span, ...]:
    """Draw a job's trace."""
    if outcome.view.trace_id is None:
        raise RefusedError("the job has no trace", code="demo.trace")
    async with connected(part) as remote:
        spans = await whole_trace(remote.client, outcome.view.trace_id)
    draw(part, spans)
    part.print()
    return spans


@asynccontextmanager
async def _stack(session: Session, root: Path) -> AsyncIterator[dict[str, Any]]:
    """`atoll up` in a process of its own; stopped, or ended by force, when the block ends."""
    log = root / "up.log"
    env = {**session.env, "ATOLL_HOME": str(root / "home")}
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _LAUNCH, str(os.getpid()),
            "up", "--json", "--data-dir", str(root / "data"),
            env=env, stdin=DEVNULL, stdout=PIPE, stderr=errors,
            # Ctrl-C in the terminal is for us; we stop the stack when our jobs are cancelled.
            start_new_session=True,
        )  # fmt: skip
    try:
        yield await _ready(process, log)
    finally:
        session.say("==> stopping the stack", style="36")
        await finished(_stop(process))


async def _ready(process: Process, log: Path) -> dict[str, Any]:
    if process.stdout is None:
        raise AssertionError("standard output is a pipe")
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            line = await process.stdout.readline()
        value = json.loads(line)
    except (TimeoutError, ValueError) as error:
        raise AtollError(f"the stack did not start: {_tail(log)}", code="demo.start") from error
    if not isinstance(value, dict) or not value.get("ready"):
        raise AtollError("the stack did not say that it is ready", code="demo.start")
    return value


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-_TAIL:].strip()


async def _stop(process: Process) -> None:
    """End the stack; its services end with it, because it holds their standard input."""
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
