"""Keystone's token: all claims of the profile and no others, each checked against the report."""

import hashlib
from dataclasses import replace
from typing import Any

import cbor2
import pytest
import scitt_cose
from cbor2 import CBORTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll import cbor, cose
from atoll.errors import EvidenceError, MalformedEvidenceError, RejectedEvidenceError
from atoll.evidence.document import report_data
from atoll.evidence.keystone.eat import (
    CWT_MEDIA_TYPE,
    PROFILE,
    KeystoneBindings,
    KeystoneEat,
    from_uccs,
    sign_eat,
    to_uccs,
    ueid_of,
    verify_eat_signature,
    verify_keystone_eat,
)
from atoll.evidence.keystone.verify import DeviceKeys
from support.keystone import DEVICE, SM, Content

NONCE = b"a challenge of 24 bytes!"
TRUST = DeviceKeys(keys=frozenset({DEVICE.public}))
BINDINGS = KeystoneBindings(
    signing_key=b"\x11" * 32, hpke_key=b"\x22" * 1216, manifest_digest=b"\x33" * 32
)
BOUND = report_data(b"\x11" * 32, b"\x22" * 1216, b"\x33" * 32, NONCE)


def _eat(data: bytes = NONCE, **changes: Any) -> KeystoneEat:
    report = Content(data=data).report()
    return replace(KeystoneEat(nonce=NONCE, ueid=ueid_of(DEVICE.public), report=report), **changes)


PLAIN = _eat()
FULL = _eat(data=BOUND, bindings=BINDINGS)
RAW = to_uccs(PLAIN)
KEY = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
KEYS: dict[bytes, cose.PublicKey] = {b"relay": KEY.public_key()}
SIGNED = sign_eat(PLAIN, KEY, kid=b"relay")
CLAIMS: dict[Any, Any] = {10: NONCE, 256: PLAIN.ueid, 265: PROFILE, -70000: PLAIN.report}


def _code(eat: KeystoneEat, trust: DeviceKeys = TRUST, nonce: bytes = NONCE) -> str:
    with pytest.raises(EvidenceError) as caught:
        verify_keystone_eat(eat, trust, nonce=nonce)
    return caught.value.code


def test_the_claims_stand_under_the_labels_of_the_page() -> None:
    value = cbor2.loads(RAW)
    assert (value.tag, value.value) == (601, CLAIMS)
    bindings = [b"\x11" * 32, b"\x22" * 1216, b"\x33" * 32]
    assert cbor2.loads(to_uccs(FULL)).value[-70001] == bindings


@settings(max_examples=60)
@given(
    st.builds(
        KeystoneEat,
        nonce=st.binary(min_size=8, max_size=64),
        ueid=st.binary(min_size=33, max_size=33),
        report=st.binary(min_size=1352, max_size=1352),
        bindings=st.sampled_from([None, BINDINGS, replace(BINDINGS, manifest_digest=b"")]),
    )
)
def test_what_is_written_is_read(eat: KeystoneEat) -> None:
    assert from_uccs(to_uccs(eat)) == eat
    assert verify_eat_signature(sign_eat(eat, KEY, kid=b"relay"), KEYS) == eat


@pytest.mark.parametrize("eat", [PLAIN, FULL])
def test_a_genuine_token_verifies(eat: KeystoneEat) -> None:
    verified = verify_keystone_eat(from_uccs(to_uccs(eat)), TRUST, nonce=NONCE)
    assert verified.report.device_public_key == DEVICE.public
    assert not verified.simulated


@pytest.mark.parametrize(
    ("eat", "code"),
    [
        (replace(PLAIN, ueid=ueid_of(SM.public)), "evidence.ueid_mismatch"),
        (replace(PLAIN, ueid=b"\x02" + PLAIN.ueid[1:]), "evidence.ueid_mismatch"),
        (replace(PLAIN, nonce=b"another challenge"), "evidence.nonce_mismatch"),
        (_eat(data=b"another challenge"), "evidence.data_mismatch"),
        (_eat(data=NONCE + b"\0"), "evidence.data_mismatch"),
        (_eat(data=b""), "evidence.data_mismatch"),
        (replace(PLAIN, bindings=BINDINGS), "evidence.data_mismatch"),
        (replace(FULL, bindings=None), "evidence.data_mismatch"),
        (
            replace(FULL, bindings=replace(BINDINGS, signing_key=b"\x12" * 32)),
            "evidence.data_mismatch",
        ),
        (
            replace(FULL, bindings=replace(BINDINGS, manifest_digest=b"")),
            "evidence.data_mismatch",
        ),
        (replace(PLAIN, report=bytes(1352)), "evidence.untrusted_device_key"),
    ],
)
def test_every_claim_is_checked_against_the_report(eat: KeystoneEat, code: str) -> None:
    assert _code(eat) == code


def test_a_replayed_token_does_not_answer_a_new_challenge() -> None:
    assert _code(PLAIN, nonce=b"a new challenge") == "evidence.nonce_mismatch"


def test_the_key_in_the_report_is_not_the_anchor() -> None:
    assert _code(PLAIN, trust=DeviceKeys(keys=frozenset())) == "evidence.untrusted_device_key"


def _claims(**changes: Any) -> bytes:
    claims = {**CLAIMS, **{int(name[1:].replace("m", "-")): it for name, it in changes.items()}}
    return cbor.dumps(CBORTag(601, claims))


def _without(label: int) -> bytes:
    return cbor.dumps(
        CBORTag(601, {name: value for name, value in CLAIMS.items() if name != label})
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        cbor.dumps(CLAIMS),
        cbor.dumps(CBORTag(601, [])),
        cbor.dumps(CBORTag(18, CLAIMS)),
        RAW + b"\0",
        *(_without(label) for label in CLAIMS),
        _claims(k6=1),
        _claims(k265=PROFILE[:-1]),
        _claims(k265="2.25.143718767648314809748152871613405887265"),
        _claims(k10=b"7 bytes"),
        _claims(k10=bytes(65)),
        _claims(k10="a challenge"),
        _claims(k256=bytes(17)),
        _claims(km70000=bytes(2048)),
        _claims(km70000=[PLAIN.report]),
        _claims(km70001=None),
        _claims(km70001=[]),
        _claims(km70001=[bytes(32), bytes(1216)]),
        _claims(km70001=[bytes(31), bytes(1216), b""]),
        _claims(km70001=[bytes(32), bytes(1215), b""]),
        _claims(km70001=[bytes(32), bytes(1216), bytes(31)]),
        _claims(km70001=[bytes(32), bytes(1216), ""]),
    ],
)
def test_refuses_what_is_not_of_the_profile(raw: bytes) -> None:
    with pytest.raises(MalformedEvidenceError):
        from_uccs(raw)


def test_refuses_a_claim_that_stands_twice() -> None:
    head, rest = RAW[:3], RAW[4:]
    assert RAW[3] == 0xA4
    twice = head + b"\xa5" + rest + b"\x0a\x48" + bytes(8)
    with pytest.raises(MalformedEvidenceError):
        from_uccs(twice)


def test_refuses_every_truncation() -> None:
    for size in range(0, len(RAW), 7):
        with pytest.raises(MalformedEvidenceError):
            from_uccs(RAW[:size])


@settings(max_examples=200)
@given(st.binary(max_size=120))
def test_arbitrary_bytes_are_refused_with_the_documented_error(raw: bytes) -> None:
    for read in (from_uccs, lambda given_: verify_eat_signature(given_, KEYS)):
        with pytest.raises(MalformedEvidenceError):
            read(raw)


def test_no_bit_that_is_signed_or_compared_is_ignored() -> None:
    tail = RAW.index(PLAIN.report) + 72 + len(NONCE)
    unsigned = range(tail, RAW.index(PLAIN.report) + 1096)
    for at in set(range(0, len(RAW), 5)) - set(unsigned):
        changed = bytearray(RAW)
        changed[at] ^= 1 << (at % 8)
        with pytest.raises(EvidenceError):
            verify_keystone_eat(from_uccs(bytes(changed)), TRUST, nonce=NONCE)


def test_an_independent_library_reads_the_signed_form() -> None:
    pem = KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    read = scitt_cose.verify_sign1(SIGNED, public_key_pem=pem)
    assert read.protected[16] == CWT_MEDIA_TYPE
    assert cbor2.loads(read.payload) == CLAIMS


def test_refuses_another_relay_and_a_changed_token() -> None:
    other = Ed25519PrivateKey.from_private_bytes(b"\x08" * 32)
    for raw in (
        sign_eat(PLAIN, KEY, kid=b"unknown"),
        sign_eat(PLAIN, other, kid=b"relay"),
        SIGNED[:-1] + bytes([SIGNED[-1] ^ 1]),
    ):
        with pytest.raises(RejectedEvidenceError) as caught:
            verify_eat_signature(raw, KEYS)
        assert caught.value.code == "evidence.eat_signature"


@pytest.mark.parametrize(
    ("protected", "payload"),
    [
        ({}, cbor.dumps(CLAIMS)),
        ({16: "application/eat+cwt"}, cbor.dumps(CLAIMS)),
        ({16: CWT_MEDIA_TYPE, 3: "text/plain"}, cbor.dumps(CLAIMS)),
        ({16: CWT_MEDIA_TYPE}, RAW),
        ({16: CWT_MEDIA_TYPE}, b"\xff"),
    ],
)
def test_refuses_another_message_by_the_same_relay(protected: Any, payload: bytes) -> None:
    raw = cose.sign1(payload, KEY, kid=b"relay", protected=protected)
    with pytest.raises(MalformedEvidenceError):
        verify_eat_signature(raw, KEYS)


def test_the_ueid_is_the_type_rand_and_a_hash_of_the_key() -> None:
    assert ueid_of(DEVICE.public) == b"\x01" + hashlib.sha256(DEVICE.public).digest()
