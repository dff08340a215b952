"""A plan becomes the manifest that it describes, or says which of its files is none."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.client.plan import Plan, read_card, read_party, write_card
from atoll.errors import AtollError, InputError, ManifestError, NotFoundError
from support.computations import NAMES, asset, keys, manifest

NONCE = bytes(range(32))
CARDS = {
    **{f"{number}.card": asset("coder", number, sha256="ab" * 32) for number in (1, 3, 4)},
    **{f"{number}.card": asset("coder", number) for number in (2, 5)},
    "6.card": asset("north", 6),
    "7.card": asset("south", 7),
}
FILES = {name: write_card(card) for name, card in CARDS.items()} | {
    f"{name}.party": keys(name).public.to_bytes() for name in NAMES
}


def plain(**changes: Any) -> dict[str, Any]:
    """The plan of `support.computations.manifest`."""
    return {
        "format": "atoll-computation-plan",
        "version": 1,
        "parties": [f"{name}.party" for name in NAMES],
        "steps": [
            {
                "name": "clean",
                "kind": "wasm",
                "algorithm": "1.card",
                "invocation": {"card": "2.card"},
                "inputs": {"north": {"dataset": "north.csv"}, "south": {"dataset": "south.csv"}},
                "limits": {"wall_s": 60},
            },
            {
                "name": "train",
                "kind": "python",
                "algorithm": "3.card",
                "entry": "model.main:run",
                "bundle": "4.card",
                "invocation": {"card": "5.card"},
                "inputs": {"table.csv": {"step": "clean", "path": "out/table.csv"}},
                "limits": {"wall_s": 120},
            },
        ],
        "datasets": {"north.csv": {"asset": "6.card"}, "south.csv": {"asset": "7.card"}},
        "outputs": {
            "model": {
                "step": "train",
                "consumers": ["consumer"],
                "max_bytes": 5000,
                "max_files": 2,
                "names": ["*.json"],
                "media_types": ["application/json"],
            }
        },
        "tee": {"kind": "simulated", "policy": "cd" * 32},
    } | changes


def plan(**changes: Any) -> Plan:
    return Plan.from_bytes(json.dumps(plain(**changes), indent=2).encode())


def read(place: str) -> bytes:
    if place not in FILES:
        raise NotFoundError(f"{place} does not exist", code="file.not_found")
    return FILES[place]


def with_step(**changes: Any) -> dict[str, Any]:
    steps = plain()["steps"]
    return {"steps": [steps[0] | changes, steps[1]]}


def test_a_plan_gives_the_manifest_that_it_describes() -> None:
    assert plan().invocations() == {}
    assert plan().manifest(read, sealed={}, nonce=NONCE) == manifest()


def test_arguments_in_the_clear_are_sealed_by_whom_the_plan_names() -> None:
    planned = plan(
        **with_step(invocation={"provider": "coder", "args": ["-q"], "env": {"LANG": "C"}})
    )
    provider, invocation = planned.invocations()["clean"]
    assert (provider, invocation.args, dict(invocation.env)) == ("coder", ("-q",), {"LANG": "C"})
    made = planned.manifest(read, sealed={"clean": CARDS["2.card"]}, nonce=NONCE)
    assert made == manifest()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"format": "atoll-plan"}, "plan.version"),
        ({"version": 2}, "plan.version"),
        ({"version": True}, "plan.version"),
        ({"surprise": 1}, "plan.invalid"),
        ({"parties": []}, "plan.invalid"),
        ({"steps": "clean"}, "plan.invalid"),
        (with_step(invocation={}), "plan.invalid"),
        (with_step(invocation={"card": "2.card", "provider": "coder"}), "plan.invalid"),
        (with_step(invocation={"card": "2.card", "args": ["x"]}), "plan.invalid"),
        (with_step(kind="shell"), "plan.invalid"),
    ],
)
def test_what_is_no_plan_is_refused(changes: dict[str, Any], code: str) -> None:
    with pytest.raises(InputError) as caught:
        plan(**changes)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"parties": ["coder.party", "coder.party"]}, "party.twice"),
        ({"parties": ["1.card"]}, "party.invalid"),
        ({"parties": ["nobody.party"]}, "file.not_found"),
        (with_step(algorithm="coder.party"), "asset.card"),
        ({"parties": ["coder.party", "north.party", "south.party"]}, "manifest.output"),
        ({"parties": ["coder.party", "north.party", "consumer.party"]}, "manifest.provider"),
        (with_step(inputs={"north": {"dataset": "north.csv"}}), "manifest.unused"),
    ],
)
def test_what_its_files_make_illegal_is_refused(changes: dict[str, Any], code: str) -> None:
    with pytest.raises(AtollError) as caught:
        plan(**changes).manifest(read, sealed={}, nonce=NONCE)
    assert caught.value.code == code


def test_a_party_may_be_given_as_the_command_shows_it() -> None:
    public = keys("north").public
    shown = {
        "name": "north",
        "fingerprint": public.fingerprint,
        "algorithm": "Ed25519",
        "signing_key": public.signing_key.hex(),
        "hpke_key": public.hpke_key.hex(),
        "protected": True,
    }
    assert read_party(json.dumps(shown, indent=2).encode(), "north.json") == public
    for wrong in (
        {"fingerprint": "0" * 16},
        {"signing_key": "00"},
        {"hpke_key": None},
        {"name": "../north"},
    ):
        with pytest.raises(InputError) as caught:
            read_party(json.dumps(shown | wrong).encode(), "north.json")
        assert caught.value.code == "party.invalid"


def test_private_keys_are_no_public_file_and_are_not_repeated() -> None:
    with pytest.raises(InputError) as caught:
        read_party(keys("north").to_bytes(), "north.json")
    assert caught.value.code == "party.invalid"
    assert "7" * 8 not in caught.value.message
    assert b"north".ljust(32, b"-").hex() not in caught.value.message


def test_a_card_survives_its_file() -> None:
    for name, card in CARDS.items():
        assert read_card(write_card(card), name) == card


@pytest.mark.parametrize("reader", [Plan.from_bytes, lambda raw: read_card(raw, "x"),
                                    lambda raw: read_party(raw, "x")])  # fmt: skip
@given(raw=st.binary(max_size=64) | st.just(b"[" * 5000) | st.just(b"{}") | st.just(b"null"))
def test_arbitrary_bytes_are_refused_in_words(reader: Callable[[bytes], Any], raw: bytes) -> None:
    with pytest.raises(InputError):
        reader(raw)


def test_a_manifest_of_too_many_bytes_is_refused() -> None:
    big = plan(
        outputs={
            f"o{number}": {
                "step": "train",
                "consumers": ["consumer"],
                "names": [f"{'€' * 250}{one}" for one in range(64)],
            }
            for number in range(16)
        },
    )
    with pytest.raises(ManifestError) as caught:
        big.manifest(read, sealed={}, nonce=NONCE)
    assert caught.value.code == "manifest.too_large"
