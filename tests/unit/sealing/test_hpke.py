"""X-Wing keys and HPKE, against the draft and a second reading of RFC 9180."""

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import SealError
from atoll.sealing import hpke
from atoll.sealing.hpke import HpkePrivateKey, open_, require_public_key, seal

KEY = HpkePrivateKey(b"\x07" * 32)
OTHER = HpkePrivateKey(b"\x08" * 32)


def test_expands_a_seed_as_the_drafts_first_test_vector() -> None:
    # draft-connolly-cfrg-xwing-kem, appendix C, first vector: seed and beginning of pk.
    seed = bytes.fromhex("7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26")
    public = HpkePrivateKey(seed).public_bytes
    assert len(public) == 1216
    assert public.hex().startswith(
        "e2236b35a8c24b39b10aa1323a96a919a2ced88400633a7b07131713fc14b2b5"
    )


def labeled_extract(salt: bytes, label: bytes, ikm: bytes, suite: bytes) -> bytes:
    return hmac.digest(salt, b"HPKE-v1" + suite + label + ikm, "sha256")


def labeled_expand(prk: bytes, label: bytes, info: bytes, size: int, suite: bytes) -> bytes:
    labeled = size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.digest(prk, labeled + b"\x01", "sha256")[:size]


def open_by_hand(seed: bytes, ciphertext: bytes, info: bytes) -> bytes:
    """X-Wing section 5.4 and RFC 9180 section 5.1, base mode, written a second time."""
    expanded = hashlib.shake_256(seed).digest(96)
    x25519 = X25519PrivateKey.from_private_bytes(expanded[64:])
    ct_m, ct_x = ciphertext[:1088], ciphertext[1088:1120]
    ss_m = MLKEM768PrivateKey.from_seed_bytes(expanded[:64]).decapsulate(ct_m)
    ss_x = x25519.exchange(X25519PublicKey.from_public_bytes(ct_x))
    pk_x = x25519.public_key().public_bytes_raw()
    shared = hashlib.sha3_256(ss_m + ss_x + ct_x + pk_x + bytes.fromhex("5c2e2f2f5e5c")).digest()

    suite = b"HPKE" + bytes.fromhex("647a00010002")
    context = b"\x00" + labeled_extract(b"", b"psk_id_hash", b"", suite)
    context += labeled_extract(b"", b"info_hash", info, suite)
    secret = labeled_extract(shared, b"secret", b"", suite)
    key = labeled_expand(secret, b"key", context, 32, suite)
    nonce = labeled_expand(secret, b"base_nonce", context, 12, suite)
    return AESGCM(key).decrypt(nonce, ciphertext[1120:], b"")


def test_seals_what_a_second_reading_of_the_specifications_opens() -> None:
    sealed = seal(KEY.public_bytes, b"content key", b"info")
    assert open_by_hand(KEY.seed, sealed, b"info") == b"content key"


@given(st.binary(max_size=100), st.binary(max_size=100))
@settings(max_examples=25)
def test_opens_what_was_sealed(plaintext: bytes, info: bytes) -> None:
    sealed = seal(KEY.public_bytes, plaintext, info)
    assert len(sealed) == len(plaintext) + hpke.OVERHEAD
    assert open_(KEY, sealed, info) == plaintext


def refused(key: HpkePrivateKey, sealed: bytes, info: bytes) -> None:
    with pytest.raises(SealError) as caught:
        open_(key, sealed, info)
    assert caught.value.code == "seal.hpke"


def test_refuses_another_key_and_another_info() -> None:
    sealed = seal(KEY.public_bytes, b"secret", b"info")
    refused(OTHER, sealed, b"info")
    refused(KEY, sealed, b"inf")
    refused(KEY, sealed, b"")


def test_refuses_every_flipped_bit() -> None:
    sealed = seal(KEY.public_bytes, b"secret", b"info")
    for bit in range(len(sealed) * 8):
        flipped = bytearray(sealed)
        flipped[bit // 8] ^= 1 << bit % 8
        refused(KEY, bytes(flipped), b"info")


def test_refuses_every_truncation() -> None:
    sealed = seal(KEY.public_bytes, b"", b"")
    for size in range(len(sealed)):
        refused(KEY, sealed[:size], b"")


@given(st.binary(max_size=1300))
@settings(max_examples=50)
def test_arbitrary_ciphertext_raises_only_seal_error(sealed: bytes) -> None:
    refused(KEY, sealed, b"")


def bad_public_keys() -> dict[str, bytes]:
    good = KEY.public_bytes
    return {
        "empty": b"",
        "short": good[:-1],
        "long": good + b"\x00",
        "coefficient over the modulus": b"\xff" * 1184 + good[1184:],
    }


@pytest.mark.parametrize("public", bad_public_keys().values(), ids=bad_public_keys().keys())
def test_refuses_a_public_key_that_is_none(public: bytes) -> None:
    with pytest.raises(SealError) as sealing:
        seal(public, b"x", b"")
    with pytest.raises(SealError) as checking:
        require_public_key(public)
    assert {sealing.value.code, checking.value.code} == {"seal.key"}


def test_refuses_to_seal_to_an_x25519_part_of_small_order() -> None:
    with pytest.raises(SealError) as caught:
        seal(KEY.public_bytes[:1184] + bytes(32), b"x", b"")
    assert caught.value.code == "seal.key"


def test_refuses_a_seed_of_another_length() -> None:
    with pytest.raises(SealError) as caught:
        HpkePrivateKey(bytes(33))
    assert caught.value.code == "seal.key"


def test_generate_takes_exactly_the_randomness_it_is_given() -> None:
    assert HpkePrivateKey.generate(lambda n: b"\x07" * n).public_bytes == KEY.public_bytes


def test_repr_does_not_show_the_seed() -> None:
    assert KEY.seed.hex() not in repr(KEY)
    assert repr(KEY.seed) not in repr(KEY)
