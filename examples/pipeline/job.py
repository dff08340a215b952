"""Three programs of three kinds, one after the other in one enclave; the tables stay in it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from atoll.computation.outputs import Output
from atoll.computation.steps import Source, Step, StepLimits, WorkloadKind
from examples.harness.case import Case, Place
from examples.harness.computing import agree
from examples.harness.party import Party

HERE: Final = Path(__file__).resolve().parent
CLEAN: Final = HERE / "build" / "clean.wasm"
TRAIN: Final = HERE / "train.py"
EVALUATE: Final = HERE / "build" / "evaluate"
RAW: Final = HERE / "build" / "raw.csv"
LIMITS: Final = StepLimits(wall_s=60, memory_bytes=128 << 20, processes=8)


async def run(place: Place) -> Mapping[str, Any]:
    """One job of three steps."""
    async with place.parties("coder", "museum") as (coder, museum):
        agreed = agree(
            coder,
            museum,
            title="Clean, train, evaluate",
            steps=await _steps(coder),
            datasets={"raw": await museum.provide(RAW)},
            outputs={
                # No output is of the step `clean`: nobody gets the tables that it makes.
                "figures": Output(
                    step="evaluate",
                    consumers=("coder", "museum"),
                    names=("metrics.json", "report.json"),
                ),
                "model": Output(step="train", consumers=("museum",), names=("model.json",)),
            },
        )
        view = await agreed.run()
        figures = await agreed.open(view, "coder", "figures")
        metrics = figures.json("metrics.json")
        model = await agreed.open(view, "museum", "model")
        return {
            **{key: metrics[key] for key in ("flowers", "right", "accuracy", "confusion")},
            "report": figures.json("report.json"),
            "model": model.json("model.json")["format"],
            "steps": [
                (step.name, step.kind, step.outcome) for step in model.opened.receipt.receipt.steps
            ],
        }


async def _steps(coder: Party) -> tuple[Step, ...]:
    nothing = await coder.invocation()
    return (
        Step(
            name="clean",
            kind=WorkloadKind.WASM,
            algorithm=await coder.provide(CLEAN),
            invocation=nothing,
            inputs={"raw": Source(dataset="raw")},
            limits=LIMITS,
        ),
        Step(
            name="train",
            kind=WorkloadKind.PYTHON,
            algorithm=await coder.provide(TRAIN),
            invocation=nothing,
            inputs={"flowers": Source(step="clean", path="train.csv")},
            limits=LIMITS,
        ),
        Step(
            name="evaluate",
            kind=WorkloadKind.BINARY,
            algorithm=await coder.provide(EVALUATE),
            invocation=nothing,
            inputs={
                "model": Source(step="train", path="model.json"),
                "test": Source(step="clean", path="test.csv"),
                "report": Source(step="clean", path="report.json"),
            },
            limits=LIMITS,
        ),
    )


CASE: Final = Case(
    name="pipeline",
    files=(CLEAN, TRAIN, EVALUATE, RAW),
    run=run,
    expected={
        "flowers": 30,
        "right": 28,
        "accuracy": 0.9333,
        "confusion": {
            "Iris-setosa": [10, 0, 0],
            "Iris-versicolor": [0, 10, 0],
            "Iris-virginica": [0, 2, 8],
        },
        "report": {
            "rows": 181,
            "incomplete": 11,
            "implausible": 5,
            "duplicate": 15,
            "train": 120,
            "test": 30,
        },
        "model": "iris-softmax/1",
        "steps": [
            ("clean", "wasm", "workload.exited"),
            ("train", "python", "workload.exited"),
            ("evaluate", "binary", "workload.exited"),
        ],
    },
    native=True,
)
