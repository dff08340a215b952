"""A manifest is legal as a whole or does not exist, and nothing lies outside its digest."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll import canonical
from atoll.computation.manifest import Dataset, Manifest, Party, Unpacking, digest
from atoll.computation.network import Destination, Network, NetworkMode
from atoll.computation.outputs import Output
from atoll.computation.steps import Source, WorkloadKind, order
from atoll.errors import ManifestError
from atoll.wire.messages import MAX_MANIFEST
from support import computations
from support.computations import asset, clean, manifest, train, with_step

GOOD = manifest().to_bytes()


def code_of(raw: bytes) -> str:
    with pytest.raises(ManifestError) as caught:
        Manifest.from_bytes(raw)
    return caught.value.code


def test_what_is_written_is_read_and_has_one_encoding() -> None:
    assert Manifest.from_bytes(GOOD) == manifest()
    assert canonical.loads(GOOD)["type"] == "atoll.manifest/v2"
    assert code_of(json.dumps(json.loads(GOOD), indent=1).encode()) == "manifest.invalid"
    assert Manifest.from_plain(json.loads(GOOD)) == manifest()


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values that are no containers."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in pairs:
        if isinstance(item, dict | list):
            yield from leaves(item, (*path, key))
        else:
            yield (*path, key)


def test_every_value_changes_the_digest() -> None:
    plain = json.loads(GOOD)
    seen = {digest(GOOD)}
    for path in leaves(plain):
        changed = json.loads(GOOD)
        parent: Any = changed
        for key in path[:-1]:
            parent = parent[key]
        old = parent[path[-1]]
        match old:
            case bool():
                parent[path[-1]] = not old
            case int():
                parent[path[-1]] = old + 1
            case str():
                parent[path[-1]] = f"{old}x"
            case _:
                parent[path[-1]] = "x"
        seen.add(digest(canonical.dumps(changed)))
    assert len(seen) == len(list(leaves(plain))) + 1


def illegal() -> dict[str, Manifest]:
    """One broken rule each, by the code with a number."""
    north = Dataset(asset=asset("north", 6))
    output = manifest().outputs["model"]
    two = {name: computations.party("north") for name in ("north", "south")}
    return {
        "manifest.source 1": with_step(0, inputs={"a": Source()}),
        "manifest.source 2": with_step(0, inputs={"a": Source(dataset="north.csv", step="train")}),
        "manifest.source 3": with_step(0, inputs={"a": Source(dataset="other")}),
        "manifest.source 4": with_step(0, inputs={"a": Source(step="other")}),
        "manifest.source 5": with_step(1, inputs={"a": Source(dataset="north.csv", path="x")}),
        "manifest.step 1": manifest(steps=(clean(), clean())),
        "manifest.step 2": with_step(0, entry="model:run"),
        "manifest.step 3": with_step(0, bundle=asset("coder", 9)),
        "manifest.cycle 1": with_step(0, inputs={"a": Source(step="train")}),
        "manifest.cycle 2": with_step(0, inputs={"a": Source(step="clean")}),
        "manifest.output 1": manifest(outputs={"m": replace(output, step="other")}),
        "manifest.output 2": manifest(outputs={"m": replace(output, consumers=("eve",))}),
        "manifest.output 3": manifest(outputs={"m": replace(output, consumers=("north",) * 2)}),
        "manifest.output 4": manifest(
            outputs={"m": replace(output, media_types=("text/csv", "text/csv"))}
        ),
        "manifest.consumer_without_key 1": manifest(
            parties={
                **manifest().parties,
                "consumer": Party(signing_key=computations.keys("consumer").signing_key),
            }
        ),
        "manifest.network 1": manifest(network=Network(mode=NetworkMode.ALLOW)),
        "manifest.network 2": manifest(
            network=Network(destinations=(Destination(host="a.example", port=1),))
        ),
        "manifest.network 3": manifest(
            network=Network(
                mode=NetworkMode.ALLOW, destinations=(Destination(host="a.example", port=1),) * 2
            )
        ),
        "manifest.provider 1": with_step(0, algorithm=asset("eve", 1)),
        "manifest.asset 1": with_step(0, algorithm=asset("coder", 6)),
        "manifest.unused 1": manifest(datasets={**manifest().datasets, "more": north}),
        "manifest.invalid 1": manifest(parties={**manifest().parties, **two}),
        "manifest.invalid 2": manifest(
            steps=(replace(clean(), inputs={"a": Source(dataset="train.algorithm")}), train()),
            datasets={"train.algorithm": north},
        ),
        "manifest.invalid 3": manifest(datasets={"../x": north}),
        "manifest.invalid 4": with_step(0, inputs={"../x": Source(dataset="north.csv")}),
        "manifest.invalid 5": with_step(0, name="Clean"),
        "manifest.invalid 6": with_step(1, entry="os; x"),
        "manifest.invalid 7": with_step(1, inputs={"a": Source(step="clean", path="../x")}),
        "manifest.invalid 8": with_step(1, inputs={"a": Source(step="clean", path="/x")}),
        "manifest.invalid 9": with_step(1, inputs={"a": Source(step="clean", path="a/./x")}),
    }


@pytest.mark.parametrize("name", illegal())
def test_a_broken_rule_has_a_code(name: str) -> None:
    assert code_of(illegal()[name].to_bytes()) == name.split(maxsplit=1)[0]


def test_the_same_asset_may_serve_twice() -> None:
    twice = with_step(1, algorithm=clean().algorithm)
    assert Manifest.from_bytes(twice.to_bytes()) == twice
    other = replace(clean().algorithm, commitment="ff" * 32)
    assert code_of(with_step(1, algorithm=other).to_bytes()) == "manifest.asset"


def test_assets_are_named_for_whoever_releases_them() -> None:
    assert set(manifest().assets()) == {
        "clean.algorithm",
        "clean.invocation",
        "train.algorithm",
        "train.bundle",
        "train.invocation",
        "north.csv",
        "south.csv",
    }
    assert set(manifest().assets_of("south")) == {"south.csv"}
    assert manifest().assets_of("consumer") == {}


def test_everybody_has_a_role() -> None:
    roles = manifest(parties={**manifest().parties, "notary": computations.party("notary")}).roles()
    assert roles["north"] == {"data-provider"}
    assert roles["consumer"] == {"result-consumer"}
    assert roles["coder"] == {"algorithm-provider", "invocation-provider", "bundle-provider"}
    assert roles["notary"] == {"party"}


def test_steps_run_after_what_they_read_whatever_their_place() -> None:
    first, second = manifest().steps
    assert [step.name for step in order((second, first))] == ["clean", "train"]
    third = replace(clean(), name="also", inputs={})
    assert [step.name for step in order((second, third, first))] == ["also", "clean", "train"]


def test_a_dataset_may_be_an_archive() -> None:
    for unpack in (Unpacking(format=kind) for kind in Unpacking.__annotations__["format"]):
        made = manifest(
            datasets={
                **manifest().datasets,
                "north.csv": Dataset(asset=asset("north", 6), unpack=unpack),
            }
        )
        assert Manifest.from_bytes(made.to_bytes()) == made


def test_other_versions_and_sizes_are_refused() -> None:
    assert code_of(GOOD.replace(b"manifest/v2", b"manifest/v1")) == "manifest.version"
    assert code_of(b"[]") == "manifest.version"
    assert code_of(b"{") == "manifest.invalid"
    assert code_of(bytes(MAX_MANIFEST + 1)) == "manifest.too_large"
    plain = json.loads(GOOD)
    assert code_of(canonical.dumps({**plain, "more": 1})) == "manifest.invalid"
    assert code_of(canonical.dumps({**plain, "steps": []})) == "manifest.invalid"


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_no_manifest(raw: bytes) -> None:
    with pytest.raises(ManifestError):
        Manifest.from_bytes(raw)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 2**60) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)


@given(st.sampled_from(sorted(json.loads(GOOD))), ANYTHING)
def test_any_json_in_a_member_is_a_value_or_the_documented_error(name: str, value: Any) -> None:
    with suppress(ManifestError):
        Manifest.from_plain({**json.loads(GOOD), name: value})


def test_an_output_of_defaults_says_all_files() -> None:
    assert Output(step="train", consumers=("consumer",)).names == ("**",)


@pytest.mark.parametrize("kind", WorkloadKind)
def test_every_kind_can_be_a_step(kind: WorkloadKind) -> None:
    made = with_step(0, kind=kind)
    assert Manifest.from_bytes(made.to_bytes()).steps[0].kind is kind
