"""The header and the nonces of a sealed asset."""

import hashlib

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import SealError
from atoll.sealing.stream import (
    HEADER_SIZE,
    MAX_CHUNKS,
    AssetSecrets,
    ChunkCipher,
    Header,
    SealingStream,
    nonce,
)

KEY = b"\x01" * 32
ASSET_ID = bytes(range(16))
PREFIX = b"prefix7"

BY_HAND = (
    bytes.fromhex("89 41 54 4f 4c 4c 0d 0a")  # magic
    + bytes.fromhex("0001")  # version
    + bytes.fromhex("0001")  # suite
    + bytes.fromhex("00080000")  # chunk_size
    + bytes.fromhex("000102030405060708090a0b0c0d0e0f")  # asset_id
    + b"prefix7"
)


def test_header_is_the_table() -> None:
    assert Header(asset_id=ASSET_ID, prefix=PREFIX).to_bytes() == BY_HAND
    assert Header.from_bytes(BY_HAND) == Header(asset_id=ASSET_ID, prefix=PREFIX)


@pytest.mark.parametrize(
    ("offset", "what"),
    [(0, "magic"), (7, "magic"), (8, "version"), (9, "version"), (10, "suite"), (11, "suite")],
)
def test_refuses_an_unknown_value(offset: int, what: str) -> None:
    raw = bytearray(BY_HAND)
    raw[offset] ^= 2
    with pytest.raises(SealError, match=what) as caught:
        Header.from_bytes(bytes(raw))
    assert caught.value.code == "asset.header"


@pytest.mark.parametrize("chunk_size", [0, 31, 512 * 1024 + 1, 2**32 - 1])
def test_refuses_a_chunk_size_out_of_bounds(chunk_size: int) -> None:
    raw = BY_HAND[:12] + chunk_size.to_bytes(4, "big") + BY_HAND[16:]
    with pytest.raises(SealError, match="chunk size") as caught:
        Header.from_bytes(raw)
    assert caught.value.code == "asset.header"


def test_refuses_every_other_length() -> None:
    for size in (*range(HEADER_SIZE), HEADER_SIZE + 1):
        with pytest.raises(SealError) as caught:
            Header.from_bytes((BY_HAND + b"\x00")[:size])
        assert caught.value.code == "asset.header"


@given(st.binary(max_size=60) | st.binary(min_size=27, max_size=27).map(lambda b: BY_HAND[:12] + b))
def test_arbitrary_bytes_give_a_header_that_encodes_to_them_or_an_error(raw: bytes) -> None:
    try:
        header = Header.from_bytes(raw)
    except SealError:
        return
    assert header.to_bytes() == raw


def test_nonce_is_prefix_counter_last() -> None:
    assert nonce(PREFIX, 0x01020304, last=False) == PREFIX + b"\x01\x02\x03\x04\x00"
    assert nonce(PREFIX, 0, last=True) == PREFIX + b"\x00\x00\x00\x00\x01"


def test_counter_ends_before_it_wraps() -> None:
    assert nonce(PREFIX, MAX_CHUNKS - 1, last=True)[7:11] == b"\xff\xff\xff\xfe"
    cipher = ChunkCipher(KEY, Header(asset_id=ASSET_ID, prefix=PREFIX))
    with pytest.raises(SealError) as caught:
        cipher.seal(MAX_CHUNKS, b"", last=True)
    assert caught.value.code == "asset.too_large"


def test_a_chunk_is_plain_aes_gcm_with_the_header_digest_as_associated_data() -> None:
    stream = SealingStream(KEY, ASSET_ID, PREFIX)
    sealed = stream.seal(b"hello", last=True)
    aad = hashlib.sha256(BY_HAND).digest()
    assert stream.header == BY_HAND
    assert AESGCM(KEY).decrypt(PREFIX + b"\x00\x00\x00\x00\x01", sealed, aad) == b"hello"


def test_seals_no_chunk_after_the_last() -> None:
    stream = SealingStream(KEY, ASSET_ID, PREFIX)
    stream.seal(b"", last=True)
    with pytest.raises(ValueError, match="already sealed"):
        stream.seal(b"", last=True)


@pytest.mark.parametrize(("size", "last"), [(0, False), (15, False), (17, False), (17, True)])
def test_seals_no_chunk_of_a_forbidden_size(size: int, *, last: bool) -> None:
    stream = SealingStream(KEY, ASSET_ID, PREFIX, chunk_size=32)
    with pytest.raises(ValueError, match="illegal size"):
        stream.seal(bytes(size), last=last)


def test_seals_no_empty_chunk_after_another() -> None:
    stream = SealingStream(KEY, ASSET_ID, PREFIX, chunk_size=32)
    stream.seal(bytes(16), last=False)
    with pytest.raises(ValueError, match="illegal size"):
        stream.seal(b"", last=True)


def test_wrong_use_of_our_own_api_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="content key"):
        SealingStream(bytes(16), ASSET_ID, PREFIX)
    with pytest.raises(ValueError, match="asset id"):
        SealingStream(KEY, b"", PREFIX)
    with pytest.raises(ValueError, match="chunk size"):
        SealingStream(KEY, ASSET_ID, PREFIX, chunk_size=31)


def test_secrets_are_drawn_in_full_and_not_shown() -> None:
    drawn: list[int] = []

    def random(size: int) -> bytes:
        drawn.append(size)
        return bytes([len(drawn)]) * size

    secrets = AssetSecrets.generate(random)
    assert (secrets.content_key, secrets.salt) == (b"\x01" * 32, b"\x02" * 32)
    assert (secrets.asset_id, secrets.prefix) == (b"\x03" * 16, b"\x04" * 7)
    assert "\\x01" not in repr(secrets)
    assert "\\x02" not in repr(secrets)
