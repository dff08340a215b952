"""The journey of the README: train a model on sealed flowers, then ask it, in two jobs.

The model leaves the first job sealed for its consumer and enters the second one sealed
again; the receipts chain the two.
"""

import hashlib
from dataclasses import dataclass

import pytest
import pytest_asyncio

from atoll.client.connection import AtollClient
from atoll.client.results import OpenedResult, check_receipt
from atoll.client.run import Runner, RunOutcome, RunSpec
from atoll.errors import ReceiptError
from atoll.evidence.findings import Verdict
from atoll.identity import PartyKeys
from atoll.receipt.statement import Receipt
from atoll.telemetry import names, wiring
from atoll.telemetry.export import Exporter
from atoll.telemetry.span import Span
from atoll.telemetry.tree import build_tree
from atoll.wire.messages import EventType, JobState, Tee
from support import iris
from support.client import Watcher, party
from support.nats import wait_for
from support.stack import Stack, recorder

QUESTION = '{"sepal_length": 7.0, "sepal_width": 3.2, "petal_length": 4.7, "petal_width": 1.4}'
STAGES = (
    EventType.SUBMITTED,
    EventType.SCHEDULED,
    EventType.ATTESTING,
    EventType.AWAITING_ASSETS,
    EventType.RUNNING,
    EventType.COMPLETED,
)
FIVE = {names.CLIENT, names.GATEWAY, names.MANAGER, names.ATTESTOR, names.AGENT}
"""The services that take part in a job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """One of the two jobs, as its owner saw it."""

    outcome: RunOutcome
    watcher: Watcher
    spans: tuple[Span, ...]

    @property
    def result(self) -> OpenedResult:
        assert self.outcome.result is not None
        return self.outcome.result

    @property
    def receipt(self) -> Receipt:
        return self.result.receipt.receipt

    def content(self, name: str) -> str:
        (path,) = (file.path for file in self.result.files if file.name == name)
        return path.read_text()


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """Both jobs."""

    train: Ran
    infer: Ran


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def journey(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Journey:
    """Run once, looked at by every test below."""
    home, keys = tmp_path_factory.mktemp("results"), party("botanist")
    train = await ran(
        stack,
        keys,
        RunSpec(
            module=iris.program("train"),
            data={"iris": iris.FLOWERS},
            tee=Tee.SIMULATED,
            default_out=home,
        ),
    )
    (model,) = (file.path for file in train.result.files if file.name == "results/model.json")
    infer = await ran(
        stack,
        keys,
        RunSpec(
            module=iris.program("infer"),
            data={"model": model},
            args=(QUESTION,),
            tee=Tee.SIMULATED,
            previous=(train.result.receipt.digest.hex(),),
            default_out=home,
        ),
    )
    return Journey(train=train, infer=infer)


async def ran(stack: Stack, keys: PartyKeys, spec: RunSpec) -> Ran:
    """Run one job as one person, and export the client's spans as the command does."""
    tracer, watcher = recorder(), Watcher()
    async with stack.client(tracer) as client:
        runner = Runner(client=client, keys=keys, appraiser=stack.appraiser(), progress=watcher)
        outcome = await runner.run(spec)
        await Exporter(tracer.drain, wiring.bus_publisher(client.bus)).flush(5.0)
        assert outcome.view.trace_id is not None
        spans = await whole_trace(client, outcome.view.trace_id)
    return Ran(outcome=outcome, watcher=watcher, spans=spans)


async def whole_trace(client: AtollClient, trace_id: str) -> tuple[Span, ...]:
    """The trace, once each of the five services has exported its part of it."""
    found: tuple[Span, ...] = ()

    async def complete() -> bool:
        nonlocal found
        found = await client.spans(trace_id)
        return {span.service for span in found} >= FIVE and len(build_tree(found)) == 1

    await wait_for(complete, "five services under one root")
    return found


def test_the_answer_is_versicolor(journey: Journey) -> None:
    assert journey.infer.content("results/results.txt").split() == ["Iris-versicolor"]
    assert journey.infer.result.exit.exit_code == 0


def test_the_model_is_good_on_flowers_it_did_not_see(journey: Journey) -> None:
    iris.require_good(journey.train.content("results/metrics.json"))


def test_every_stage_of_both_jobs_is_told_once_and_in_order(journey: Journey) -> None:
    for one in (journey.train, journey.infer):
        events = one.watcher.events
        assert tuple(event.type for event in events) == STAGES
        assert [event.seq for event in events] == [1, 2, 3, 4, 5, 6]
        assert one.outcome.view.state is JobState.COMPLETED


def test_keys_were_released_on_simulated_evidence_that_says_so(journey: Journey) -> None:
    for one in (journey.train, journey.infer):
        (appraisal,) = one.watcher.appraisals
        assert appraisal.verdict is Verdict.PASS
        assert appraisal.simulated


def test_the_second_receipt_names_the_first(journey: Journey) -> None:
    first = journey.train.result.receipt_path.read_bytes()
    assert journey.infer.receipt.previous == (hashlib.sha256(first).hexdigest(),)
    assert journey.train.receipt.previous == ()


def test_both_receipts_verify_from_their_files_alone(stack: Stack, journey: Journey) -> None:
    for one in (journey.train, journey.infer):
        verified = check_receipt(one.result.receipt_path.read_bytes(), stack.appraiser())
        assert verified.receipt.job_id == one.outcome.view.job_id
        assert verified.receipt.outcome == "workload.exited"
        assert [step.exit_code for step in verified.receipt.steps] == [0]


def test_a_receipt_with_a_flipped_bit_does_not_verify(stack: Stack, journey: Journey) -> None:
    raw = bytearray(journey.infer.result.receipt_path.read_bytes())
    at = raw.index(b"payload") + 40
    raw[at] ^= 1
    with pytest.raises(ReceiptError):
        check_receipt(bytes(raw), stack.appraiser())


def test_a_trace_has_all_five_services_under_one_id_and_one_root(journey: Journey) -> None:
    for one in (journey.train, journey.infer):
        assert {span.service for span in one.spans} == FIVE
        assert {span.context.trace_id for span in one.spans} == {one.outcome.view.trace_id}
        (root,) = build_tree(one.spans)
        assert root.span.name == names.JOB_RUN
        assert names.RUN_WORKLOAD in {span.name for span in one.spans}


def test_nothing_of_the_enclaves_is_left(stack: Stack, journey: Journey) -> None:
    for one in (journey.train, journey.infer):
        stack.require_nothing_left(one.outcome.view.enclave_id)
