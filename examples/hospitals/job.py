"""Three hospitals, a coder and a registry: one model of data that nobody sees together.

Run once as agreed, and once with a program that one more line was added to: two hospitals'
policies say no to that one, and it gets no data at all.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from atoll.computation.assets import AssetRef
from atoll.computation.outputs import Output
from atoll.computation.steps import Source, Step, StepLimits, WorkloadKind
from examples.harness.case import Case, Place
from examples.harness.computing import Agreed, WithheldError, agree
from examples.harness.party import Party
from examples.hospitals import policies

HERE: Final = Path(__file__).resolve().parent
PROGRAM: Final = HERE / "train.py"
HOSPITALS: Final = ("north", "south", "east")
DATA: Final = {name: HERE / "build" / f"{name}.csv" for name in HOSPITALS}
LIMITS: Final = StepLimits(wall_s=90, memory_bytes=256 << 20, processes=8)


async def run(place: Place) -> Mapping[str, Any]:
    """Both computations."""
    async with place.parties("coder", "registry", *HOSPITALS) as (coder, registry, *hospitals):
        answering = _with_policies(coder, registry, hospitals)
        # Sealed and uploaded once; each computation gets a release of its own.
        data = {
            hospital.name: await hospital.provide(DATA[hospital.name]) for hospital in answering
        }
        everybody = (coder, registry, *answering)
        agreed = await _agreed(everybody, data, PROGRAM)
        found = await agreed.open(await agreed.run(), "registry", "model")
        metrics = found.json("metrics.json")

        changed = place.folder / "train.py"
        changed.write_bytes(PROGRAM.read_bytes() + b"# and one line more\n")
        refused = await _refused(await _agreed(everybody, data, changed))
        return {
            "accuracy": metrics["accuracy"],
            "learned_from": metrics["learned_from"],
            "right": {name: one["right"] for name, one in metrics["hospitals"].items()},
            "kept_back": {name: one["kept_back"] for name, one in metrics["hospitals"].items()},
            "key_holders": len({party.keys.signing_key for party in agreed.parties.values()}),
            "changed_program_refused_by": refused,
        }


def _with_policies(coder: Party, registry: Party, hospitals: list[Party]) -> tuple[Party, ...]:
    """The hospitals as releasers that answer by themselves."""
    program = hashlib.sha256(PROGRAM.read_bytes()).hexdigest()
    keys = {party.name: party.keys.signing_key.hex() for party in (coder, registry, *hospitals)}
    rules = {
        "north": policies.north(program, keys["registry"], tuple(keys.values())),
        "south": policies.south(keys["registry"]),
        "east": policies.east((program,)),
    }
    return tuple(hospital.answering_by(rules[hospital.name]) for hospital in hospitals)


async def _agreed(
    everybody: tuple[Party, ...], data: Mapping[str, AssetRef], program: Path
) -> Agreed:
    coder = everybody[0]
    step = Step(
        name="train",
        kind=WorkloadKind.PYTHON,
        # Its digest is public: the hospitals agree to exactly this program.
        algorithm=await coder.provide(program, public=True),
        invocation=await coder.invocation(),
        inputs={hospital: Source(dataset=hospital) for hospital in HOSPITALS},
        limits=LIMITS,
    )
    output = Output(
        step="train",
        consumers=("registry",),
        max_bytes=policies.MAX_JSON,
        max_files=2,
        names=("model.json", "metrics.json"),
        media_types=("application/json",),
        logs=False,
    )
    return agree(
        *everybody,
        title="Tumours of three hospitals",
        steps=(step,),
        datasets=data,
        outputs={"model": output},
    )


async def _refused(agreed: Agreed) -> dict[str, list[str]]:
    """Which hospitals would not release, and what of their policies said so."""
    try:
        await agreed.run()
    except WithheldError as error:
        return {name: sorted(fields) for name, fields in sorted(error.fields.items())}
    return {}


CASE: Final = Case(
    name="hospitals",
    files=(PROGRAM, *DATA.values()),
    run=run,
    expected={
        "accuracy": 0.9645,
        "learned_from": 428,
        "right": {"north": 69, "south": 39, "east": 28},
        "kept_back": {"north": 71, "south": 42, "east": 28},
        "key_holders": 5,
        "changed_program_refused_by": {"east": ["algorithms"], "north": ["algorithms", "max_uses"]},
    },
    native=True,
)
