"""Keystone's Ed25519: genuine signatures pass, and what stock or lenient code would take fails."""

import hashlib

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import RejectedEvidenceError
from atoll.evidence.keystone import ed25519_sha3
from support.keystone import BASE, DEVICE, Key, L, P, encode, multiply

MESSAGE = b"what is signed"
IDENTITY = (1).to_bytes(32, "little")
ORDER_8_Y = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
SIGN = 1 << 255

SMALL_ORDER = {
    "order 1": 1,
    "order 2": P - 1,
    "order 4": 0,
    "order 4, negative": SIGN,
    "order 8": ORDER_8_Y,
    "order 8, negative": ORDER_8_Y | SIGN,
    "order 8, other": P - ORDER_8_Y,
    "order 8, other, negative": (P - ORDER_8_Y) | SIGN,
}


def verify(public_key: bytes, signature: bytes, message: bytes = MESSAGE) -> None:
    ed25519_sha3.verify(public_key, message, signature, what="test", code="evidence.test")


def refused(public_key: bytes, signature: bytes, message: bytes = MESSAGE) -> str:
    with pytest.raises(RejectedEvidenceError) as caught:
        verify(public_key, signature, message)
    assert caught.value.code == "evidence.test"
    return caught.value.message


def sha512(message: bytes) -> bytes:
    return hashlib.sha512(message).digest()


@pytest.mark.parametrize("seed", [bytes(32), b"\xff" * 32, bytes(range(32))])
def test_the_signer_of_these_tests_is_ed25519_except_for_the_hash(seed: bytes) -> None:
    library = Ed25519PrivateKey.from_private_bytes(seed)
    ours = Key.of(seed, sha512)
    assert ours.public == library.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    assert ours.sign(MESSAGE) == library.sign(MESSAGE)


@given(seed=st.binary(min_size=32, max_size=32), message=st.binary(max_size=200))
@settings(max_examples=20, deadline=None)
def test_accepts_what_the_key_signed_and_nothing_else(seed: bytes, message: bytes) -> None:
    key = Key.of(seed)
    signature = key.sign(message)
    verify(key.public, signature, message)
    refused(key.public, signature, message + b"\x00")
    refused(DEVICE.public, signature, message)


def test_refuses_a_flip_of_any_bit_of_signature_or_key() -> None:
    signature = DEVICE.sign(MESSAGE)
    for bit in range(512):
        changed = int.from_bytes(signature, "little") ^ 1 << bit
        refused(DEVICE.public, changed.to_bytes(64, "little"))
    for bit in range(256):
        changed = int.from_bytes(DEVICE.public, "little") ^ 1 << bit
        refused(changed.to_bytes(32, "little"), signature)


def test_a_genuine_signature_is_refused_by_stock_ed25519() -> None:
    key = Ed25519PublicKey.from_public_bytes(DEVICE.public)
    with pytest.raises(InvalidSignature):
        key.verify(DEVICE.sign(MESSAGE), MESSAGE)


def test_attack_30_signature_of_stock_ed25519_by_the_right_key() -> None:
    stock = Key(scalar=DEVICE.scalar, prefix=DEVICE.prefix, hash=sha512)
    Ed25519PublicKey.from_public_bytes(stock.public).verify(stock.sign(MESSAGE), MESSAGE)
    refused(stock.public, stock.sign(MESSAGE))


def test_attack_30_s_plus_l() -> None:
    signature = DEVICE.sign(MESSAGE)
    s = int.from_bytes(signature[32:], "little") + L
    assert "S is not below L" in refused(DEVICE.public, signature[:32] + s.to_bytes(32, "little"))


@pytest.mark.parametrize("number", SMALL_ORDER.values(), ids=SMALL_ORDER)
def test_attack_30_small_order_key(number: int) -> None:
    # With S = 0 and R = [-h]A, which has one of at most 8 values, anybody can sign.
    key = number.to_bytes(32, "little")
    for candidate in SMALL_ORDER.values():
        signature = candidate.to_bytes(32, "little") + bytes(32)
        assert "small order" in refused(key, signature)


@pytest.mark.parametrize(
    "number",
    [P, P + 1, P + 18, 2, 1 | SIGN, (P - 1) | SIGN],
)
def test_refuses_a_key_that_is_not_the_one_encoding_of_a_point(number: int) -> None:
    # Numbers from p on, y = 2 (not on the curve), and "negative zero".
    assert "canonical" in refused(number.to_bytes(32, "little"), bytes(64))


@pytest.mark.parametrize(("key", "signature"), [(31, 64), (33, 64), (32, 63), (32, 65), (0, 0)])
def test_refuses_other_sizes(key: int, signature: int) -> None:
    assert "size" in refused(bytes(key), bytes(signature))


@given(
    key=st.binary(min_size=32, max_size=32),
    signature=st.binary(min_size=64, max_size=64),
    message=st.binary(max_size=64),
)
@settings(max_examples=100, deadline=None)
def test_arbitrary_bytes_are_refused(key: bytes, signature: bytes, message: bytes) -> None:
    refused(key, signature, message)


@given(scalar=st.integers(min_value=2, max_value=L - 2))
@settings(max_examples=20, deadline=None)
def test_the_montgomery_coordinate_does_not_depend_on_the_sign(scalar: int) -> None:
    one, other = encode(multiply(scalar)), encode(multiply(L - scalar))
    assert one != other
    assert ed25519_sha3.montgomery_u(one) == ed25519_sha3.montgomery_u(other)


def test_the_base_point_is_9_in_montgomery_form_and_the_identity_has_none() -> None:
    assert ed25519_sha3.montgomery_u(encode(BASE)) == 9
    assert ed25519_sha3.montgomery_u(IDENTITY) is None
