"""Consents in files count for one manifest, and what is missing is said by name."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll import canonical
from atoll.client.agreement import (
    ConsentFile,
    ManifestFile,
    State,
    assembled,
    standing,
)
from atoll.computation.consent import require_consents
from atoll.errors import InputError, ManifestError
from support.computations import LATER_MS, NAMES, NOW_MS, keys, manifest

FILE = ManifestFile.from_bytes(manifest().to_bytes())


def consent(name: str, *, to: ManifestFile = FILE, until: int = LATER_MS) -> ConsentFile:
    return ConsentFile.sign(keys(name), to.digest, expires_ms=until)


def everybody() -> list[ConsentFile]:
    return [consent(name) for name in NAMES]


def code_of(*consents: ConsentFile) -> str:
    with pytest.raises(ManifestError) as caught:
        assembled(FILE, consents, now_ms=NOW_MS)
    return caught.value.code


def test_a_manifest_with_spaces_is_the_same_manifest() -> None:
    spaced = json.dumps(manifest().to_plain(), indent=4).encode()
    assert ManifestFile.from_bytes(spaced) == FILE
    assert ManifestFile.from_bytes(spaced).digest == FILE.digest


def test_a_consent_survives_its_file() -> None:
    for one in everybody():
        assert ConsentFile.from_bytes(one.to_bytes(), "file") == one


def test_what_everybody_consents_to_is_what_a_gateway_accepts() -> None:
    agreed = assembled(FILE, everybody(), now_ms=NOW_MS)
    assert require_consents(agreed, now_ms=NOW_MS) == manifest()


def test_each_reason_not_to_submit_has_its_code() -> None:
    some = everybody()[1:]
    other = ManifestFile.from_bytes(manifest(nonce=bytes(32)).to_bytes())
    replayed = consent(NAMES[0], to=other)
    assert code_of(*some) == "consent.missing"
    assert code_of(consent(NAMES[0], until=NOW_MS), *some) == "consent.expired"
    assert code_of(*everybody(), consent("mallory")) == "consent.foreign"
    assert code_of(*everybody(), consent(NAMES[0])) == "consent.foreign"
    assert code_of(replayed, *some) == "consent.other"
    assert code_of(replace(replayed, manifest_digest=FILE.digest), *some) == "consent.signature"


def test_standing_names_who_is_missing_and_what_is_of_no_use() -> None:
    other = ManifestFile.from_bytes(manifest(nonce=bytes(32)).to_bytes())
    consents = [
        consent("coder"),
        consent("consumer", until=NOW_MS),
        consent("north", to=other),
        consent("mallory"),
    ]
    found = standing(FILE, consents, now_ms=NOW_MS)
    assert [(one.party, one.state, one.code) for one in found] == [
        ("coder", State.GIVEN, ""),
        ("consumer", State.EXPIRED, "consent.expired"),
        ("north", State.MISSING, "consent.missing"),
        ("south", State.MISSING, "consent.missing"),
        ("north", State.UNUSABLE, "consent.other"),
        ("mallory", State.UNUSABLE, "consent.foreign"),
    ]


@pytest.mark.parametrize("order", [1, -1])
def test_a_consent_that_still_counts_outweighs_an_expired_one(order: int) -> None:
    both = [consent("coder"), consent("coder", until=NOW_MS)][::order]
    assert standing(FILE, both, now_ms=NOW_MS)[0].state is State.GIVEN


CHANGES: dict[str, dict[str, Any]] = {
    "another format": {"format": "atoll-withdrawal"},
    "another version": {"version": 2},
    "a version that only equals": {"version": True},
    "a short digest": {"manifest_digest": "00"},
    "no digest": {"manifest_digest": None},
    "a path for a name": {"party": "../coder"},
    "another type": {"expires_ms": "tomorrow"},
    "an unknown field": {"more": 1},
    "no signature": {"signature": ""},
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_file_that_is_no_consent_is_refused(what: str) -> None:
    plain = canonical.loads(consent("coder").to_bytes().rstrip()) | CHANGES[what]
    with pytest.raises(InputError) as caught:
        ConsentFile.from_bytes(canonical.dumps(plain), "file")
    assert caught.value.code == "consent.invalid"


@given(raw=st.binary(max_size=64) | st.just(b"[]") | st.just(b"{}") | st.just(b"{" * 4000))
def test_arbitrary_bytes_are_refused_in_words(raw: bytes) -> None:
    with pytest.raises(InputError):
        ConsentFile.from_bytes(raw, "file")
    with pytest.raises(ManifestError):
        ManifestFile.from_bytes(raw)
