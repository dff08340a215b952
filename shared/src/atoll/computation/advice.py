"""What a party should look at before it signs a manifest. Pure; nothing here refuses.

| id                  | level   | what                                                      |
| advice.network      | warning | a workload may connect to somebody                        |
| advice.any_output   | warning | a consumer may get files of any name and type             |
| advice.output_bytes | warning | an output may be as large as the data that goes in        |
| advice.no_policy    | note    | no appraisal policy is named: each party goes by its own  |
| advice.opaque_code  | warning | code is named by a commitment that its provider alone can open |
| advice.self_dealing | note    | the provider of an algorithm is the only consumer         |
| advice.own_data     | warning | a party's data goes into a result that it does not get    |
| advice.long         | note    | it may run for more than a day                            |
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from atoll.computation.manifest import Manifest
from atoll.computation.network import NetworkMode
from atoll.computation.steps import Step, behind

_DAY_S: Final = 86_400


class Level(Enum):
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One thing to look at: where in the manifest, and why."""

    id: str
    level: Level
    path: str
    message: str


def advise(manifest: Manifest) -> tuple[Advice, ...]:
    """All there is to say, in the order of the manifest's members."""
    return (
        *_steps(manifest),
        *_datasets(manifest),
        *_outputs(manifest),
        *_whole(manifest),
    )


def datasets_behind(manifest: Manifest, output: str) -> frozenset[str]:
    """The datasets that an output can tell of: those its step reads, directly or through others."""
    steps = behind(manifest.steps, manifest.outputs[output].step)
    return frozenset(
        source.dataset
        for step in manifest.steps
        if step.name in steps
        for source in step.inputs.values()
        if source.dataset is not None
    )


def _steps(manifest: Manifest) -> Iterator[Advice]:
    for step in manifest.steps:
        for name, asset in step.assets():
            if asset.sha256 is None and not name.endswith(".invocation"):
                yield Advice(
                    id="advice.opaque_code",
                    level=Level.WARNING,
                    path=f"steps.{name}",
                    message=f"only {asset.provider} knows what {name} is: it has no public digest",
                )


def _datasets(manifest: Manifest) -> Iterator[Advice]:
    for name, dataset in manifest.datasets.items():
        owner = dataset.asset.provider
        outputs = [
            output for output in manifest.outputs if name in datasets_behind(manifest, output)
        ]
        for output in outputs:
            if owner not in manifest.outputs[output].consumers:
                who = ", ".join(manifest.outputs[output].consumers)
                yield Advice(
                    id="advice.own_data",
                    level=Level.WARNING,
                    path=f"datasets.{name}",
                    message=f"what {who} gets as {output} can tell of {owner}'s {name}",
                )


def _outputs(manifest: Manifest) -> Iterator[Advice]:
    for name, output in manifest.outputs.items():
        path = f"outputs.{name}"
        if "**" in output.names and not output.media_types:
            yield Advice(
                id="advice.any_output",
                level=Level.WARNING,
                path=path,
                message="files of every name and type may leave",
            )
        behind = [manifest.datasets[one].asset.size for one in datasets_behind(manifest, name)]
        if behind and output.max_bytes >= min(behind):
            yield Advice(
                id="advice.output_bytes",
                level=Level.WARNING,
                path=f"{path}.max_bytes",
                message=f"{output.max_bytes} bytes hold all of the smallest dataset behind it",
            )


def _whole(manifest: Manifest) -> Iterator[Advice]:
    if manifest.network.mode is not NetworkMode.NONE:
        where = ", ".join(f"{one.host}:{one.port}" for one in manifest.network.destinations)
        yield Advice(
            id="advice.network",
            level=Level.WARNING,
            path="network",
            message=f"a workload that has seen the data may connect to {where}",
        )
    if manifest.tee.policy is None:
        yield Advice(
            id="advice.no_policy",
            level=Level.NOTE,
            path="tee.policy",
            message="no appraisal policy is agreed on: each party appraises by its own",
        )
    consumers = {name for output in manifest.outputs.values() for name in output.consumers}
    if len(manifest.parties) > 1 and consumers == _coders(manifest.steps):
        yield Advice(
            id="advice.self_dealing",
            level=Level.NOTE,
            path="outputs",
            message="those who get the results are those who wrote the code",
        )
    if (total := sum(step.limits.wall_s for step in manifest.steps)) > _DAY_S:
        yield Advice(
            id="advice.long",
            level=Level.NOTE,
            path="steps",
            message=f"the steps may take {total} seconds",
        )


def _coders(steps: tuple[Step, ...]) -> set[str]:
    return {step.algorithm.provider for step in steps}
