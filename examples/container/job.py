"""The vendor's image, which nobody pulls from anywhere, on the botanist's flowers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from atoll.computation.outputs import Output
from atoll.computation.steps import Source, Step, StepLimits, WorkloadKind
from examples.harness.case import Case, Place
from examples.harness.computing import agree

HERE: Final = Path(__file__).resolve().parent
IMAGE: Final = HERE / "build" / "image.tar"
FLOWERS: Final = HERE.parent / "iris" / "Iris.csv"
SPECIES: Final = "Iris-setosa"
LIMITS: Final = StepLimits(wall_s=60, memory_bytes=64 << 20, processes=8)


async def run(place: Place) -> Mapping[str, Any]:
    """One job."""
    async with place.parties("vendor", "botanist") as (vendor, botanist):
        step = Step(
            name="summary",
            kind=WorkloadKind.DOCKER,
            algorithm=await vendor.provide(IMAGE),
            # The question is the botanist's own; the vendor does not learn it.
            invocation=await botanist.invocation(SPECIES),
            inputs={"iris": Source(dataset="iris")},
            limits=LIMITS,
        )
        agreed = agree(
            vendor,
            botanist,
            title="Mean sizes of a species",
            steps=(step,),
            datasets={"iris": await botanist.provide(FLOWERS)},
            outputs={"summary": Output(step="summary", consumers=("botanist",))},
        )
        found = await agreed.open(await agreed.run(), "botanist", "summary")
        value: dict[str, Any] = found.json("summary.json")
        return value


CASE: Final = Case(
    name="container",
    files=(IMAGE, FLOWERS),
    run=run,
    # Fisher's means of setosa, but for the two flowers in which the common file differs.
    expected={"species": SPECIES, "count": 50, "mean": [5.006, 3.418, 1.464, 0.244]},
    docker=True,
)
