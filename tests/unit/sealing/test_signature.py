"""Ed25519 over transcripts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import InputError, SealError
from atoll.sealing.signature import (
    SigningKey,
    is_usable_public_key,
    verify_bytes,
    verify_signature,
)

KEY = SigningKey(b"\x01" * 32)
P = 2**255 - 19


def refused(public: bytes, signature: bytes, label: str, *values: bytes) -> None:
    with pytest.raises(SealError) as caught:
        verify_signature(public, signature, label, *values)
    assert caught.value.code == "signature.invalid"


def test_signs_as_rfc_8032_section_7_1_test_2_says() -> None:
    key = SigningKey(
        bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    )
    assert key.public_bytes.hex() == (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    )
    assert key.sign_bytes(b"\x72").hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )


def test_accepts_its_own_signature() -> None:
    verify_signature(KEY.public_bytes, KEY.sign("label", b"a", b"b"), "label", b"a", b"b")


def test_refuses_another_label_and_another_split_of_the_same_bytes() -> None:
    signature = KEY.sign("label", b"ab", b"c")
    refused(KEY.public_bytes, signature, "other", b"ab", b"c")
    refused(KEY.public_bytes, signature, "label", b"a", b"bc")
    refused(KEY.public_bytes, signature, "label", b"abc")


def test_refuses_another_key() -> None:
    other = SigningKey(b"\x02" * 32)
    refused(other.public_bytes, KEY.sign("label"), "label")


def test_refuses_every_flipped_bit_of_a_signature() -> None:
    signature = KEY.sign("label", b"value")
    for bit in range(len(signature) * 8):
        flipped = bytearray(signature)
        flipped[bit // 8] ^= 1 << bit % 8
        refused(KEY.public_bytes, bytes(flipped), "label", b"value")


def test_refuses_a_signature_whose_scalar_has_the_group_order_added() -> None:
    order = 2**252 + 27742317777372353535851937790883648493
    signature = KEY.sign("label")
    scalar = int.from_bytes(signature[32:], "little") + order
    refused(KEY.public_bytes, signature[:32] + scalar.to_bytes(32, "little"), "label")


def small_order_encodings() -> list[bytes]:
    """All points with 8 * P = 0, from the curve equation -x^2 + y^2 = 1 + d x^2 y^2."""
    d = -121665 * pow(121666, -1, P) % P
    # Doubling a point of order 8 gives one of order 4, where y = 0: x^2 = -y^2, so
    # d y^4 + 2 y^2 - 1 = 0.
    root = sqrt((1 + d) % P)
    squares = [(-1 + sign * root) * pow(d, -1, P) % P for sign in (1, -1)]
    eighth = next(y for y in map(square_root_or_zero, squares) if y)
    ys = (0, 1, P - 1, eighth, P - eighth, P, P + 1)
    return [(y | sign << 255).to_bytes(32, "little") for y in ys for sign in (0, 1)]


def square_root_or_zero(square: int) -> int:
    root = pow(square, (P + 3) // 8, P)
    if root * root % P != square:
        root = root * pow(2, (P - 1) // 4, P) % P
    return root if root * root % P == square else 0


def sqrt(square: int) -> int:
    root = square_root_or_zero(square)
    assert root
    return root


@pytest.mark.parametrize("public", small_order_encodings(), ids=bytes.hex)
def test_refuses_keys_of_small_order(public: bytes) -> None:
    assert not is_usable_public_key(public)
    # The forgery that such keys allow: R = identity, S = 0.
    refused(public, b"\x01" + bytes(63), "any label", b"any value")


@given(st.binary(max_size=40), st.binary(max_size=70), st.binary(max_size=20))
def test_arbitrary_keys_and_signatures_raise_only_seal_error(
    public: bytes, signature: bytes, message: bytes
) -> None:
    with pytest.raises(SealError):
        verify_bytes(public, signature, message)


def test_refuses_a_seed_of_another_length() -> None:
    with pytest.raises(InputError) as caught:
        SigningKey(bytes(31))
    assert caught.value.code == "identity.malformed"


def test_generate_takes_exactly_the_randomness_it_is_given() -> None:
    assert SigningKey.generate(lambda n: b"\x01" * n).public_bytes == KEY.public_bytes


def test_repr_does_not_show_the_seed() -> None:
    assert KEY.seed.hex() not in repr(KEY)
    assert repr(KEY.seed) not in repr(KEY)
