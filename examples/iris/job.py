"""Iris as two chained jobs of one person: train with a binary, name a flower with Wasm."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from atoll.computation.outputs import Output
from atoll.computation.steps import Source, Step, StepLimits, WorkloadKind
from examples.harness.case import Case, Place
from examples.harness.computing import Found, agree
from examples.harness.party import Party

HERE: Final = Path(__file__).resolve().parent
TRAIN: Final = HERE / "build" / "train"
INFER: Final = HERE / "build" / "infer.wasm"
FLOWERS: Final = HERE / "Iris.csv"
FLOWER: Final = '{"sepal_length": 7.0, "sepal_width": 3.2, "petal_length": 4.7, "petal_width": 1.4}'
LIMITS: Final = StepLimits(wall_s=60, memory_bytes=128 << 20)


async def run(place: Place) -> Mapping[str, Any]:
    """Both jobs."""
    async with place.parties("botanist") as (botanist,):
        trained = await _job(botanist, WorkloadKind.BINARY, TRAIN, "iris", FLOWERS)
        (model,) = (file.path for file in trained.opened.files if file.name == "results/model.json")
        answered = await _job(
            botanist, WorkloadKind.WASM, INFER, "model", model,
            args=(FLOWER,), previous=(trained.receipt,),
        )  # fmt: skip
        metrics = trained.json("metrics.json")
        return {
            "species": answered.text("results.txt").strip(),
            "train_accuracy": round(metrics["train_accuracy"], 4),
            "validation_accuracy": round(metrics["validation_accuracy"], 4),
            "results": trained.names,
            "chained": answered.opened.receipt.receipt.previous == (trained.receipt,),
        }


async def _job(
    owner: Party,
    kind: WorkloadKind,
    program: Path,
    name: str,
    data: Path,
    *,
    args: tuple[str, ...] = (),
    previous: tuple[str, ...] = (),
) -> Found:
    step = Step(
        name="run",
        kind=kind,
        algorithm=await owner.provide(program),
        invocation=await owner.invocation(*args),
        inputs={name: Source(dataset=name)},
        limits=LIMITS,
    )
    agreed = agree(
        owner,
        title=f"Iris: {program.stem}",
        steps=(step,),
        datasets={name: await owner.provide(data)},
        outputs={"results": Output(step="run", consumers=(owner.name,))},
        previous=previous,
    )
    return await agreed.open(await agreed.run(), owner.name, "results")


CASE: Final = Case(
    name="iris",
    files=(TRAIN, INFER, FLOWERS),
    run=run,
    expected={
        "species": "Iris-versicolor",
        "train_accuracy": 0.9833,
        "validation_accuracy": 0.9667,
        "results": ["metrics.json", "model.json"],
        "chained": True,
    },
    native=True,
)
