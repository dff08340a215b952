"""What a party is told to look at before it signs."""

from dataclasses import replace

import pytest

from atoll.computation.advice import advise, datasets_behind
from atoll.computation.manifest import Manifest, TeeRequirements
from atoll.computation.network import Destination, Network, NetworkMode
from atoll.computation.steps import Source, StepLimits
from atoll.wire.messages import Tee
from support.computations import asset, clean, manifest, train, with_step

OUTPUT = manifest().outputs["model"]


def told(of: Manifest) -> set[tuple[str, str]]:
    return {(one.id, one.path) for one in advise(of)}


def test_a_tight_manifest_has_only_what_its_owners_must_know() -> None:
    assert told(manifest()) == {
        ("advice.own_data", "datasets.north.csv"),
        ("advice.own_data", "datasets.south.csv"),
    }


SOME = Network(mode=NetworkMode.ALLOW, destinations=(Destination(host="a.example", port=1),))


@pytest.mark.parametrize(
    ("of", "id_", "path"),
    [
        (manifest(network=SOME), "advice.network", "network"),
        (
            manifest(outputs={"model": replace(OUTPUT, names=("**",), media_types=())}),
            "advice.any_output",
            "outputs.model",
        ),
        (
            manifest(outputs={"model": replace(OUTPUT, max_bytes=6000)}),
            "advice.output_bytes",
            "outputs.model.max_bytes",
        ),
        (
            manifest(tee=TeeRequirements(kind=Tee.SIMULATED)),
            "advice.no_policy",
            "tee.policy",
        ),
        (
            with_step(0, algorithm=asset("coder", 1)),
            "advice.opaque_code",
            "steps.clean.algorithm",
        ),
        (with_step(1, bundle=asset("coder", 4)), "advice.opaque_code", "steps.train.bundle"),
        (
            manifest(outputs={"model": replace(OUTPUT, consumers=("coder",))}),
            "advice.self_dealing",
            "outputs",
        ),
        (with_step(0, limits=StepLimits(wall_s=90_000)), "advice.long", "steps"),
    ],
)
def test_what_is_loose_is_told(of: Manifest, id_: str, path: str) -> None:
    assert (id_, path) in told(of)
    assert (id_, path) not in told(manifest())


def test_data_is_followed_through_the_steps() -> None:
    assert datasets_behind(manifest(), "model") == {"north.csv", "south.csv"}
    both = {
        "model": OUTPUT,
        "early": replace(OUTPUT, step="clean", consumers=("north", "south")),
    }
    of = manifest(
        steps=(
            replace(clean(), inputs={"north": Source(dataset="north.csv")}),
            replace(train(), inputs={"a": Source(step="clean"), "b": Source(dataset="south.csv")}),
        ),
        outputs=both,
    )
    assert datasets_behind(of, "early") == {"north.csv"}
    messages = [one.message for one in advise(of) if one.id == "advice.own_data"]
    assert len(messages) == 2
    assert all("consumer" in one for one in messages)
