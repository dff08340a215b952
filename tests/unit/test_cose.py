"""COSE_Sign1: known keys, their own algorithm, protected headers only."""

from typing import Any

import pytest
import scitt_cose
from cbor2 import CBORTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll import cbor, cose
from atoll.errors import InputError

KEY = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"\x02" * 32)
KEYS: dict[bytes, cose.PublicKey] = {b"k1": KEY.public_key(), b"k2": OTHER.public_key()}
SIGNED = cose.sign1(b"payload", KEY, kid=b"k1", protected={16: "application/x"})


def _code(raw: bytes, keys: dict[bytes, cose.PublicKey] | None = None) -> str:
    with pytest.raises(InputError) as caught:
        cose.verify1(raw, KEYS if keys is None else keys, limit=1000)
    return caught.value.code


def _forge(protected: Any, *, unprotected: Any = None, payload: Any = b"payload") -> bytes:
    """Signed by `KEY` whatever it says; made without the library under test."""
    header = cbor.dumps(protected)
    signature = KEY.sign(cbor.dumps(["Signature1", header, b"", payload or b""]))
    return cbor.dumps(CBORTag(18, [header, unprotected or {}, payload, signature]))


def test_a_signed_message_gives_its_payload_and_headers() -> None:
    signed = cose.verify1(SIGNED, KEYS, limit=1000)
    assert (signed.kid, signed.payload) == (b"k1", b"payload")
    assert signed.protected == {1: -8, 4: b"k1", 16: "application/x"}


def test_an_independent_implementation_verifies_ours_and_we_its() -> None:
    public = KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    read = scitt_cose.verify_sign1(SIGNED, public_key_pem=public)
    assert read.payload == b"payload"
    private = KEY.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    theirs = scitt_cose.sign_sign1(
        b"theirs", alg="EdDSA", private_key_pem=private, protected={4: b"k1"}
    )
    assert cose.verify1(theirs, KEYS, limit=1000).payload == b"theirs"


@pytest.mark.parametrize(
    ("curve", "digest", "alg"),
    [(ec.SECP256R1(), hashes.SHA256(), -7), (ec.SECP384R1(), hashes.SHA384(), -35)],
)
def test_reads_ecdsa_of_others(
    curve: ec.EllipticCurve, digest: hashes.HashAlgorithm, alg: int
) -> None:
    key = ec.derive_private_key(7, curve)
    header = cbor.dumps({1: alg, 4: b"ec"})
    der = key.sign(cbor.dumps(["Signature1", header, b"", b"p"]), ec.ECDSA(digest))
    size = curve.key_size // 8
    signature = b"".join(part.to_bytes(size, "big") for part in decode_dss_signature(der))
    raw = cbor.dumps(CBORTag(18, [header, {}, b"p", signature]))
    keys: dict[bytes, cose.PublicKey] = {b"ec": key.public_key()}
    assert cose.verify1(raw, keys, limit=1000).payload == b"p"
    assert _code(raw[:-1] + bytes([raw[-1] ^ 1]), keys) == "cose.signature"
    assert _code(raw, {b"ec": KEY.public_key()}) == "cose.key"


def test_no_bit_is_ignored() -> None:
    for at in range(len(SIGNED)):
        for bit in range(8):
            raw = bytearray(SIGNED)
            raw[at] ^= 1 << bit
            assert _code(bytes(raw)).startswith("cose.")


@settings(max_examples=200)
@given(st.binary(max_size=150))
def test_arbitrary_bytes_are_refused_with_the_documented_error(raw: bytes) -> None:
    assert _code(raw) == "cose.malformed"


def test_refuses_every_truncation() -> None:
    assert {_code(SIGNED[:size]) for size in range(len(SIGNED))} == {"cose.malformed"}


def test_refuses_a_key_that_is_not_known() -> None:
    assert _code(cose.sign1(b"p", KEY, kid=b"k3", protected={})) == "cose.key"


def test_a_message_that_names_no_key_wants_a_key_without_a_name() -> None:
    raw = _forge({1: -8})
    assert _code(raw) == "cose.key"
    assert cose.verify1(raw, {b"": KEY.public_key()}, limit=1000).kid == b""
    assert _code(raw, {b"": OTHER.public_key()}) == "cose.signature"
    assert _code(SIGNED, {b"": KEY.public_key()}) == "cose.key"


def test_taking_apart_needs_no_key_and_proves_nothing() -> None:
    changed = SIGNED[:-1] + bytes([SIGNED[-1] ^ 1])
    for raw in (SIGNED, changed):
        read = cose.read1(raw, limit=1000)
        assert (read.kid, read.payload) == (b"k1", b"payload")
    assert cose.read1(_forge({1: -8}), limit=1000).kid == b""
    with pytest.raises(InputError) as caught:
        cose.read1(_forge({1: -8, 4: 7}), limit=1000)
    assert caught.value.code == "cose.malformed"


def test_refuses_the_signature_of_another_known_key() -> None:
    assert _code(cose.sign1(b"p", KEY, kid=b"k2", protected={})) == "cose.signature"


@pytest.mark.parametrize("alg", [-7, -35, 5, "EdDSA", None, True])
def test_refuses_an_algorithm_that_the_message_chooses(alg: Any) -> None:
    assert _code(_forge({1: alg, 4: b"k1"})) == "cose.key"


@pytest.mark.parametrize(
    "raw",
    [
        _forge({1: -8}, unprotected={4: b"k1"}),
        _forge({1: -8, 4: b"k1"}, unprotected={5: b"iv"}),
        _forge({1: -8, 2: [99], 4: b"k1", 99: 1}),
        _forge({1: -8, 4: b"k1"}, payload=None),
        _forge([1, -8]),
        cbor.dumps(cbor.loads(SIGNED, limit=1000, tags=(18,)).value),
        cbor.dumps(CBORTag(18, [b"", {}, b"", b"", b""])),
    ],
)
def test_refuses_what_is_outside_the_protected_header_or_cannot_be_understood(raw: bytes) -> None:
    assert _code(raw) == "cose.malformed"


def test_a_key_on_a_curve_without_an_algorithm_here_is_our_own_mistake() -> None:
    key = ec.derive_private_key(7, ec.SECP521R1()).public_key()
    with pytest.raises(ValueError, match="secp521r1"):
        cose.verify1(SIGNED, {b"k1": key}, limit=1000)
