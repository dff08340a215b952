"""A releaser says yes to what a rule allows in every field, and to nothing else."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.computation.manifest import Manifest, digest
from atoll.computation.network import Destination, Network, NetworkMode
from atoll.computation.releasing import FIELDS, MAX_POLICY, Decision, ReleasePolicy
from atoll.errors import InputError
from support.computations import PROGRAM, asset, keys, manifest, with_step

NOW_S = 1_800_000_000
MANIFEST = manifest()
NORTH = asset("north", 6)
CONSUMER = keys("consumer").signing_key.hex()
OTHERS = [keys(name).signing_key.hex() for name in ("coder", "consumer", "south")]
STRICT: dict[str, Any] = {
    "assets": [NORTH.asset_id],
    "manifests": [digest(MANIFEST.to_bytes()).hex()],
    "algorithms": [PROGRAM],
    "kinds": ["wasm", "python"],
    "consumers": [CONSUMER],
    "parties": OTHERS,
    "max_output_bytes": 5000,
    "media_types": ["application/json"],
    "max_wall_s": 180,
    "allow_network": False,
    "tees": ["simulated"],
    "not_after": NOW_S,
    "max_uses": 1,
}


def policy(*rules: dict[str, Any]) -> ReleasePolicy:
    document = {"format": "atoll-release-policy", "version": 1, "rules": list(rules)}
    return ReleasePolicy.from_bytes(json.dumps(document, indent=1).encode())


def decided(
    *rules: dict[str, Any],
    of: Manifest = MANIFEST,
    now_s: int = NOW_S,
    uses: dict[tuple[int, str], int] | None = None,
) -> Decision:
    (found,) = policy(*rules).decide(
        of, digest(of.to_bytes()), "north", now_s=now_s, uses=uses or {}
    )
    return found


def test_a_strict_rule_allows_exactly_what_it_names() -> None:
    found = decided(STRICT)
    assert (found.asset, found.rule, found.refusals) == ("north.csv", 0, ())
    assert found.released


def test_a_policy_survives_its_json() -> None:
    loose = {name: "any" if name == "assets" else "unchecked" for name in FIELDS}
    made = policy(STRICT, {**loose, "allow_network": True})
    assert ReleasePolicy.from_bytes(made.to_bytes()) == made
    assert made.rules[1].max_uses is None


def test_without_a_rule_about_the_asset_nothing_is_released() -> None:
    assert not decided().released
    assert not decided({**STRICT, "assets": ["0" * 32]}).released
    assert decided({**STRICT, "assets": "any"}).released


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("manifests", ["0" * 64]),
        ("manifests", []),
        ("algorithms", ["0" * 64]),
        ("kinds", ["wasm"]),
        ("consumers", [OTHERS[0]]),
        ("parties", OTHERS[:2]),
        ("max_output_bytes", 4999),
        ("media_types", ["text/csv"]),
        ("max_wall_s", 179),
        ("tees", ["sev-snp"]),
        ("not_after", NOW_S - 1),
        ("max_uses", 0),
    ],
)
def test_each_field_refuses_by_its_name(field: str, value: Any) -> None:
    found = decided({**STRICT, field: value})
    assert [one.field for one in found.refusals] == [field]
    assert not found.released
    assert decided({**STRICT, field: "unchecked"}).released


def test_a_program_without_a_public_digest_is_not_among_the_allowed() -> None:
    for number, changes in (
        (0, {"algorithm": asset("coder", 1)}),
        (1, {"bundle": asset("coder", 4)}),
    ):
        of = with_step(number, **changes)
        found = decided({**STRICT, "manifests": "unchecked"}, of=of)
        assert [one.field for one in found.refusals] == ["algorithms"]


def test_a_network_and_an_output_of_any_type_are_seen() -> None:
    some = Network(mode=NetworkMode.ALLOW, destinations=(Destination(host="a.example", port=1),))
    loose = {**STRICT, "manifests": "unchecked"}
    found = decided(loose, of=manifest(network=some))
    assert [one.field for one in found.refusals] == ["allow_network"]
    assert decided({**loose, "allow_network": True}, of=manifest(network=some)).released
    output = replace(MANIFEST.outputs["model"], media_types=())
    found = decided(loose, of=manifest(outputs={"model": output}))
    assert [one.field for one in found.refusals] == ["media_types"]


def test_what_several_get_counts_for_each() -> None:
    output = replace(MANIFEST.outputs["model"], consumers=("consumer", "south"))
    rule = {**STRICT, "manifests": "unchecked", "consumers": OTHERS}
    found = decided(rule, of=manifest(outputs={"model": output}))
    assert [one.actual for one in found.refusals] == ["10000"]


def test_the_owner_itself_needs_no_leave_to_get_results() -> None:
    output = replace(MANIFEST.outputs["model"], consumers=("north",))
    rule = {**STRICT, "manifests": "unchecked", "consumers": []}
    assert decided(rule, of=manifest(outputs={"model": output})).released


def test_uses_are_counted_by_rule_and_asset() -> None:
    used = {(0, NORTH.asset_id): 1}
    assert [one.field for one in decided(STRICT, uses=used).refusals] == ["max_uses"]
    assert decided(STRICT, uses={(1, NORTH.asset_id): 1, (0, "0" * 32): 9}).released
    both = decided(STRICT, {**STRICT, "max_uses": 5}, uses=used)
    assert (both.rule, both.released) == (1, True)


def test_the_rule_that_comes_closest_explains() -> None:
    far = {**STRICT, "max_uses": 0, "kinds": [], "max_wall_s": 0}
    found = decided(far, {**STRICT, "max_uses": 0})
    assert (found.rule, [one.field for one in found.refusals]) == (1, ["max_uses"])


@pytest.mark.parametrize("field", FIELDS)
def test_absence_and_null_refuse(field: str) -> None:
    for rule in (
        {name: value for name, value in STRICT.items() if name != field},
        {**STRICT, field: None},
        {**STRICT, field: {"a": 1}},
    ):
        with pytest.raises(InputError) as caught:
            policy(rule)
        assert caught.value.code == "release_policy.invalid"


@pytest.mark.parametrize(
    "raw",
    [
        b"[]",
        b'{"format": "atoll-release-policy", "version": 1}',
        b'{"format": "atoll-release-policy", "version": true, "rules": []}',
        b'{"format": "atoll-policy", "version": 1, "rules": []}',
        b'{"format": "atoll-release-policy", "version": 1, "rules": {}}',
        b'{"format": "atoll-release-policy", "version": 1, "rules": [1]}',
        bytes(MAX_POLICY + 1),
    ],
)
def test_what_is_no_policy_is_refused(raw: bytes) -> None:
    with pytest.raises(InputError) as caught:
        ReleasePolicy.from_bytes(raw)
    assert caught.value.code == "release_policy.invalid"


@given(st.binary(max_size=100) | st.text(max_size=100).map(str.encode))
def test_arbitrary_bytes_are_no_policy(raw: bytes) -> None:
    with pytest.raises(InputError):
        ReleasePolicy.from_bytes(raw)
