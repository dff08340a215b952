"""The lab's script and scikit-learn on the garden's flowers; the lab gets model and figures."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from atoll.computation.outputs import Output
from atoll.computation.steps import Source, Step, StepLimits, WorkloadKind
from examples.harness.case import Case, Place
from examples.harness.computing import agree

HERE: Final = Path(__file__).resolve().parent
SCRIPT: Final = HERE / "train.py"
BUNDLE: Final = HERE / "build" / "bundle.zip"
FLOWERS: Final = HERE.parent / "iris" / "Iris.csv"
LIMITS: Final = StepLimits(wall_s=120, memory_bytes=1 << 30, processes=64)
ONE_THREAD: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""With more, sums depend on how many cores there are; and each thread counts as a process."""
FLOWER: Final = (4.7, 1.4)
"""Petal length and width of a flower that the lab asks its model about, at home."""


async def run(place: Place) -> Mapping[str, Any]:
    """One job, then a prediction with nothing but the JSON that came out."""
    async with place.parties("lab", "garden") as (lab, garden):
        step = Step(
            name="train",
            kind=WorkloadKind.PYTHON,
            algorithm=await lab.provide(SCRIPT),
            bundle=await lab.provide(BUNDLE),
            invocation=await lab.invocation(env=ONE_THREAD),
            inputs={"iris": Source(dataset="iris")},
            limits=LIMITS,
        )
        output = Output(
            step="train",
            consumers=("lab",),
            max_bytes=64 << 10,
            max_files=2,
            names=("model.json", "metrics.json"),
            media_types=("application/json",),
            logs=False,
        )
        agreed = agree(
            lab,
            garden,
            title="Logistic regression on Iris",
            steps=(step,),
            datasets={"iris": await garden.provide(FLOWERS)},
            outputs={"model": output},
        )
        found = await agreed.open(await agreed.run(), "lab", "model")
        metrics = found.json("metrics.json")
        return {
            "train_accuracy": metrics["train_accuracy"],
            "test_accuracy": metrics["test_accuracy"],
            "confusion": metrics["confusion"],
            "species": predicted(found.text("model.json"), FLOWER),
        }


def predicted(model: str, sizes: tuple[float, ...]) -> str:
    """The class of the highest score."""
    value = json.loads(model)
    scores = [
        sum(c * x for c, x in zip(row, sizes, strict=True)) + intercept
        for row, intercept in zip(value["coefficients"], value["intercepts"], strict=True)
    ]
    return str(value["classes"][scores.index(max(scores))])


CASE: Final = Case(
    name="logistic",
    files=(SCRIPT, BUNDLE, FLOWERS),
    run=run,
    expected={
        "train_accuracy": 0.9733,
        "test_accuracy": 0.9333,
        "confusion": [[25, 0, 0], [0, 24, 1], [0, 4, 21]],
        "species": "Iris-versicolor",
    },
    native=True,
)
