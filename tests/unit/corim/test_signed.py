"""Signed CoRIM: who, until when, untouched."""

from datetime import UTC, datetime, timedelta
from typing import Any

import cbor2
import pytest
import scitt_cose
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll import cbor, cose
from atoll.corim.codec import to_cbor
from atoll.corim.signed import MEDIA_TYPE, is_signed, read_signed, sign_corim, verify_corim
from atoll.corim.snp import SnpReferenceValues, snp_to_corim
from atoll.corim.values import Corim, Validity
from atoll.errors import InputError

KEY = Ed25519PrivateKey.from_private_bytes(b"\x05" * 32)
KEYS: dict[bytes, cose.PublicKey] = {b"build": KEY.public_key()}
NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
VALUES = SnpReferenceValues(measurements=frozenset({b"\x01" * 48}))


def _corim(validity: Validity | None = None) -> Corim:
    return snp_to_corim(VALUES, corim_id="c", tag_id="t", validity=validity)


def _sign(corim: Corim | None = None, **options: Any) -> bytes:
    return sign_corim(corim or _corim(), KEY, **({"kid": b"build", "signer": "Build"} | options))


def _code(raw: bytes, now: datetime = NOW) -> str:
    with pytest.raises(InputError) as caught:
        verify_corim(raw, KEYS, now=now)
    return caught.value.code


def _forge(header: Any, payload: bytes | None = None) -> bytes:
    return cose.sign1(payload or to_cbor(_corim()), KEY, kid=b"build", protected=header)


def test_gives_the_values_and_who_signed_them() -> None:
    signed = verify_corim(_sign(), KEYS, now=NOW)
    assert (signed.corim, signed.signer, signed.kid) == (_corim(), "Build", b"build")


def test_an_independent_library_verifies_it() -> None:
    pem = KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    read = scitt_cose.verify_sign1(_sign(), public_key_pem=pem)
    assert read.protected[3] == "application/rim+cbor"
    assert cbor2.loads(read.protected[8]) == {0: {0: "Build"}}
    assert cbor2.loads(read.payload).tag == 501


def test_no_bit_is_ignored() -> None:
    raw = _sign()
    for at in range(len(raw)):
        changed = bytearray(raw)
        changed[at] ^= 1 << (at % 8)
        assert _code(bytes(changed)).startswith("cose.")


def test_refuses_an_unknown_signer_and_another_key() -> None:
    assert _code(_sign(kid=b"other")) == "cose.key"
    other = Ed25519PrivateKey.from_private_bytes(b"\x06" * 32)
    assert _code(sign_corim(_corim(), other, kid=b"build", signer="Build")) == "cose.signature"


@pytest.mark.parametrize("place", ["content", "signature"])
def test_counts_only_while_it_is_valid(place: str) -> None:
    validity = Validity(not_before=NOW, not_after=NOW + DAY)
    content = place == "content"
    raw = _sign(_corim(validity)) if content else _sign(validity=validity)
    for now in (NOW, NOW + DAY):
        verify_corim(raw, KEYS, now=now)
    for now in (NOW - timedelta(seconds=1), NOW + DAY + timedelta(seconds=1)):
        assert _code(raw, now) == "corim.expired"


META = cbor.dumps({0: {0: "Build"}})


@pytest.mark.parametrize(
    "header",
    [
        {},
        {3: MEDIA_TYPE},
        {8: META},
        {3: "application/eat+cwt", 8: META},
        {3: MEDIA_TYPE, 8: META, 15: {}},
        {3: MEDIA_TYPE, 8: META, 99: 1},
        {3: MEDIA_TYPE, 15: {}},
        {3: MEDIA_TYPE, 15: {1: 7}},
        {3: MEDIA_TYPE, 15: {1: ""}},
        {3: MEDIA_TYPE, 15: {1: "Build", 2: 7}},
        {3: MEDIA_TYPE, 15: {1: "Build", 3: "audience"}},
        {3: MEDIA_TYPE, 15: {1: "Build", 4: "later"}},
        {3: MEDIA_TYPE, 15: {1: "Build", 4: True}},
        {3: MEDIA_TYPE, 15: {1: "Build", 4: 1 << 62}},
        {3: MEDIA_TYPE, 8: META, 15: {1: "Other"}},
        {3: MEDIA_TYPE, 8: META, 15: {1: "Build", 4: 1}},
        {3: MEDIA_TYPE, 8: {0: {0: "Build"}}},
        {3: MEDIA_TYPE, 8: cbor.dumps({})},
        {3: MEDIA_TYPE, 8: cbor.dumps({0: {0: "Build"}, 2: 1})},
        {3: MEDIA_TYPE, 8: cbor.dumps({0: "Build"})},
        {3: MEDIA_TYPE, 8: cbor.dumps({0: {0: 7}})},
        {3: MEDIA_TYPE, 8: cbor.dumps({0: {0: "Build", 2: 1}})},
        {3: MEDIA_TYPE, 8: cbor.dumps({0: {0: "Build"}, 1: {}})},
    ],
)
def test_refuses_a_header_that_is_not_of_a_corim(header: dict[int, Any]) -> None:
    assert _code(_forge(header)) == "corim.invalid"


def test_reads_cwt_claims_in_place_of_the_meta_map_or_beside_it() -> None:
    begin, end = int(NOW.timestamp()), int((NOW + DAY).timestamp())
    meta = cbor.dumps({0: {0: "Build"}, 1: {0: NOW, 1: NOW + DAY}})
    claims = {1: "Build", 2: "c", 4: end, 5: begin}
    for header in ({3: MEDIA_TYPE, 15: claims}, {3: MEDIA_TYPE, 8: meta, 15: claims}):
        signed = verify_corim(_forge(header), KEYS, now=NOW)
        assert signed.signer == "Build"
        assert signed.validity == Validity(not_before=NOW, not_after=NOW + DAY)
        assert _code(_forge(header), NOW - DAY) == "corim.expired"
        assert _code(_forge(header), NOW + 2 * DAY) == "corim.expired"
    only_begin = _forge({3: MEDIA_TYPE, 15: {1: "Build", 5: begin}})
    assert verify_corim(only_begin, KEYS, now=NOW + 999 * DAY).signer == "Build"
    assert _code(only_begin, NOW - DAY) == "corim.expired"
    assert verify_corim(_forge({3: MEDIA_TYPE, 15: {1: "B"}}), KEYS, now=NOW).validity is None


def test_reading_without_a_key_gives_the_same_and_calls_it_a_claim() -> None:
    validity = Validity(not_after=NOW)
    claimed = read_signed(_sign(validity=validity))
    assert (claimed.corim, claimed.signer, claimed.kid) == (_corim(), "Build", b"build")
    assert claimed.validity == validity
    assert is_signed(_sign())
    assert not is_signed(to_cbor(_corim()))


@settings(max_examples=100)
@given(st.binary(max_size=100))
def test_arbitrary_bytes_and_metas_and_payloads_give_documented_errors(raw: bytes) -> None:
    documented = {"cbor.malformed", "corim.invalid", "corim.unsupported"}
    assert _code(raw) == "cose.malformed"
    with pytest.raises(InputError) as caught:
        read_signed(raw)
    assert caught.value.code == "cose.malformed"
    assert _code(_forge({3: MEDIA_TYPE, 8: raw})) in documented
    assert _code(_forge({3: MEDIA_TYPE, 8: META}, raw or b"\x00")) in documented


def test_a_signer_without_a_name_cannot_sign() -> None:
    with pytest.raises(InputError):
        _sign(signer="")
