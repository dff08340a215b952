"""What the parties agreed on, or nothing."""

import base64
import secrets
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll import canonical
from atoll import manifest as manifests
from atoll.errors import ManifestError
from atoll.identity import PartyKeys
from atoll.manifest import Manifest, ManifestParty, verify_signed
from atoll.wire import schema
from atoll.wire.messages import MAX_MANIFEST, PartySignature, SignedManifest
from support import signing
from support.gateway import asset, keys, make_manifest, party, sign

ALICE, BOB, EVE = keys("alice"), keys("bob"), keys("eve")
MANIFEST = make_manifest(ALICE, BOB)
RAW = MANIFEST.to_bytes()


def changed(**changes: Any) -> bytes:
    return canonical.dumps({**schema.to_plain(MANIFEST, json=True), **changes})


def code_of(raw: bytes) -> str:
    with pytest.raises(ManifestError) as caught:
        Manifest.from_bytes(raw)
    return caught.value.code


def test_comes_back_from_its_bytes() -> None:
    assert Manifest.from_bytes(RAW) == MANIFEST
    assert Manifest.from_bytes(RAW).to_bytes() == RAW


def test_names_every_asset_whose_key_must_be_released() -> None:
    assert set(MANIFEST.assets()) == {"algorithm", "invocation", "iris.csv"}


def test_is_accepted_when_every_party_signed() -> None:
    assert verify_signed(sign(RAW, ALICE, BOB)) == MANIFEST
    assert verify_signed(sign(RAW, BOB, ALICE)) == MANIFEST


@pytest.mark.parametrize("version", ["atoll.manifest/v2", "", None, 1, ["atoll.manifest/v1"]])
def test_refuses_an_unknown_version(version: object) -> None:
    assert code_of(changed(type=version)) == "manifest.version"


@pytest.mark.parametrize("raw", [b"[]", b"1", b"null", b'"x"', b"{}"])
def test_refuses_what_names_no_version(raw: bytes) -> None:
    assert code_of(raw) == "manifest.version"


def test_refuses_a_manifest_of_two_mebibytes() -> None:
    raw = canonical.dumps({"type": manifests.TYPE, "x": "a" * (2 << 20)})
    assert code_of(raw) == "manifest.too_large"
    assert code_of(b" " * (MAX_MANIFEST + 1)) == "manifest.too_large"


PLAIN = schema.to_plain(MANIFEST, json=True)
ASSET = PLAIN["algorithm"]["asset"]
BAD: dict[str, dict[str, Any]] = {
    "an unknown field": {"priority": 1},
    "an unknown limit": {"limits": {**PLAIN["limits"], "cpus": 2}},
    "an unknown kind of code": {"algorithm": {"kind": "python", "asset": ASSET}},
    "an unknown kind of enclave": {"tee": "sgx"},
    "a short nonce": {"nonce": "AAAA"},
    "no party": {"parties": {}},
    "no consumer": {"consumers": []},
    "a consumer twice": {"consumers": ["alice", "alice"]},
    "a consumer who is no party": {"consumers": ["mallory"]},
    "a provider who is no party": {"invocation": {**PLAIN["invocation"], "provider": "mallory"}},
    "one asset under two names": {"invocation": ASSET},
    "a dataset named algorithm": {"datasets": {"algorithm": schema.to_plain(asset("alice", 9))}},
    "a dataset named invocation": {"datasets": {"invocation": schema.to_plain(asset("alice", 9))}},
    "a negative size": {"invocation": {**PLAIN["invocation"], "size": -1}},
    "a commitment in capitals": {"invocation": {**PLAIN["invocation"], "commitment": "AB" * 32}},
    "a key of another length": {"parties": {"alice": {"signing_key": "AAAA"}}},
    "no time at all": {"limits": {**PLAIN["limits"], "wall_ms": 0}},
    "a limit that is text": {"limits": {**PLAIN["limits"], "wall_ms": "300"}},
    "too many datasets": {
        "datasets": {f"d{n}": schema.to_plain(asset("alice", n + 10)) for n in range(65)}
    },
}


@pytest.mark.parametrize("name", BAD)
def test_refuses(name: str) -> None:
    assert code_of(changed(**BAD[name])) == "manifest.invalid"


@pytest.mark.parametrize(
    "name",
    [
        "..",
        ".",
        "../x",
        "a/b",
        "/etc",
        "a..b",
        ".hidden",
        "a\x00b",
        "*",
        ">",
        "a b",
        "",
        "é",
        "a" * 65,
    ],
)
def test_refuses_a_hostile_name(name: str) -> None:
    entry = schema.to_plain(asset("alice", 9))
    assert code_of(changed(datasets={name: entry})) == "manifest.invalid"
    parties = {**PLAIN["parties"], name: PLAIN["parties"]["alice"]}
    assert code_of(changed(parties=parties)) == "manifest.invalid"
    assert code_of(changed(consumers=[name])) == "manifest.invalid"


def test_refuses_a_consumer_to_whom_no_result_can_be_wrapped() -> None:
    raw = make_manifest(ALICE, parties={"alice": party(ALICE, consumer=False)}).to_bytes()
    assert code_of(raw) == "manifest.consumer_without_key"


def test_a_provider_who_consumes_nothing_needs_no_key() -> None:
    parties = {"alice": party(ALICE, consumer=False), "bob": party(BOB)}
    raw = make_manifest(ALICE, parties=parties, consumers=("bob",)).to_bytes()
    assert verify_signed(sign(raw, ALICE, BOB)).consumers == ("bob",)


@pytest.mark.parametrize("raw", [RAW + b" ", RAW[:-1], b" " + RAW, b"\xff" + RAW, b""])
def test_refuses_bytes_that_are_not_the_canonical_form(raw: bytes) -> None:
    assert code_of(raw) == "manifest.invalid"


def refused(signed: SignedManifest) -> str:
    with pytest.raises(ManifestError) as caught:
        verify_signed(signed)
    return caught.value.code


def test_refuses_a_manifest_that_one_party_has_not_signed() -> None:
    assert refused(sign(RAW, ALICE)) == "manifest.unsigned"


def test_refuses_a_signature_of_somebody_else() -> None:
    assert refused(sign(RAW, ALICE, BOB, EVE)) == "manifest.foreign_signature"


def test_refuses_a_party_who_signed_twice() -> None:
    assert refused(sign(RAW, ALICE, BOB, BOB)) == "manifest.foreign_signature"


def test_refuses_a_signature_by_another_key_under_a_partys_name() -> None:
    assert refused(sign(RAW, ALICE, keys("bob", seed=2))) == "manifest.signature"


def test_refuses_signatures_that_were_swapped() -> None:
    signed = sign(RAW, ALICE, BOB)
    first, second = signed.signatures
    swapped = (
        PartySignature(party="alice", signature=second.signature),
        PartySignature(party="bob", signature=first.signature),
    )
    assert refused(SignedManifest(manifest=RAW, signatures=swapped)) == "manifest.signature"


def test_refuses_a_signature_made_for_another_purpose() -> None:
    other = PartySignature(party="alice", signature=ALICE.sign("other v1", manifests.digest(RAW)))
    signed = SignedManifest(manifest=RAW, signatures=(other, sign(RAW, BOB).signatures[0]))
    assert refused(signed) == "manifest.signature"


def test_refuses_signatures_over_another_manifest() -> None:
    other = make_manifest(ALICE, BOB, nonce=1).to_bytes()
    signed = SignedManifest(manifest=other, signatures=sign(RAW, ALICE, BOB).signatures)
    assert refused(signed) == "manifest.signature"


def test_every_flipped_bit_of_a_signature_is_refused() -> None:
    good = sign(RAW, ALICE, BOB)
    raw = good.signatures[0].signature
    for bit in range(len(raw) * 8):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        bad = PartySignature(party="alice", signature=bytes(flipped))
        signed = SignedManifest(manifest=RAW, signatures=(bad, good.signatures[1]))
        assert refused(signed) == "manifest.signature"


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(RAW) * 8 - 1))
def test_every_flipped_bit_of_the_manifest_is_refused(bit: int) -> None:
    flipped = bytearray(RAW)
    flipped[bit // 8] ^= 1 << bit % 8
    signatures = sign(RAW, ALICE, BOB).signatures
    with pytest.raises(ManifestError):
        verify_signed(SignedManifest(manifest=bytes(flipped), signatures=signatures))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_raise_only_the_documented_error(raw: bytes) -> None:
    with pytest.raises(ManifestError):
        Manifest.from_bytes(raw)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(RAW) - 1))
def test_every_truncation_is_refused(end: int) -> None:
    with pytest.raises(ManifestError):
        Manifest.from_bytes(RAW[:end])


# --- parties who sign with what they had before ---


@pytest.mark.parametrize("kind", signing.KINDS)
def test_an_imported_key_signs_for_its_party_and_for_no_other(kind: str) -> None:
    carol = PartyKeys.imported("carol", signing.imported(kind), secrets.token_bytes)
    raw = make_manifest(ALICE, carol).to_bytes()
    signed = sign(raw, ALICE, carol)
    arrived = schema.decode(SignedManifest, schema.encode(signed))
    assert verify_signed(arrived).parties["carol"].signing_key == carol.signing_key
    first, second = signed.signatures
    swapped = (
        PartySignature(party=first.party, signature=second.signature),
        PartySignature(party=second.party, signature=first.signature),
    )
    assert refused(SignedManifest(manifest=raw, signatures=swapped)) == "manifest.signature"
    other = sign(make_manifest(ALICE, carol, nonce=1).to_bytes(), ALICE, carol)
    assert refused(SignedManifest(manifest=raw, signatures=other.signatures)) == (
        "manifest.signature"
    )


@pytest.mark.parametrize("size", [31, 551])
def test_refuses_a_party_with_a_key_of_no_possible_length(size: int) -> None:
    bad = {**PLAIN["parties"]["alice"], "signing_key": b64url(bytes(size))}
    assert code_of(changed(parties={**PLAIN["parties"], "alice": bad})) == "manifest.invalid"


def test_nobody_signs_under_a_key_that_is_none() -> None:
    raw = make_manifest(ALICE, parties={"alice": weak_party(bytes(91))}).to_bytes()
    assert refused(sign(raw, ALICE)) == "manifest.signature"


def weak_party(signing_key: bytes) -> ManifestParty:
    return ManifestParty(signing_key=signing_key, hpke_key=ALICE.public.hpke_key)


def b64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
