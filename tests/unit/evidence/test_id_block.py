"""ID blocks: two signatures, two digests, and no bit that does not count."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import EvidenceError, RejectedEvidenceError, UnsupportedEvidenceError
from atoll.evidence.id_block import IdAuth, IdBlock, verify_id_block
from support import id_block


def _verify(block: bytes, auth: bytes) -> None:
    verify_id_block(IdBlock.from_bytes(block), IdAuth.from_bytes(auth))


def test_reads_the_fields_and_digests() -> None:
    raw = id_block.block()
    block, auth = IdBlock.from_bytes(raw), IdAuth.from_bytes(id_block.auth(raw))
    verify_id_block(block, auth)
    assert block.launch_digest == id_block.LAUNCH_DIGEST
    assert (block.family_id, block.image_id) == (b"f" * 16, b"i" * 16)
    assert (block.version, block.guest_svn, block.policy) == (1, 7, 0x30000)
    assert auth.id_part.digest == hashlib.sha384(id_block.public("id")).digest()
    assert auth.author_part is not None
    assert auth.author_part.digest == hashlib.sha384(id_block.public("author")).digest()


def test_an_author_key_may_be_absent() -> None:
    raw = id_block.block()
    auth = IdAuth.from_bytes(id_block.auth(raw, author=False))
    verify_id_block(IdBlock.from_bytes(raw), auth)
    assert auth.author_part is None


def test_refuses_a_signature_over_another_block_or_key() -> None:
    raw, other = id_block.block(), id_block.block(policy=0xB0000)
    with pytest.raises(RejectedEvidenceError) as caught:
        _verify(other, id_block.auth(raw))
    assert caught.value.code == "evidence.id_signature"
    mixed = bytearray(id_block.auth(raw))
    mixed[0x680:0x880] = id_block.sign("author", id_block.public("author"))
    with pytest.raises(RejectedEvidenceError) as caught:
        _verify(raw, bytes(mixed))
    assert caught.value.code == "evidence.author_signature"


@pytest.mark.parametrize("value", [0, (1 << 384) - 1])
def test_refuses_signature_values_outside_their_range(value: int) -> None:
    raw = id_block.block()
    auth = bytearray(id_block.auth(raw))
    auth[0x40:0x70] = value.to_bytes(48, "little")
    with pytest.raises(RejectedEvidenceError):
        _verify(raw, bytes(auth))


@pytest.mark.parametrize(
    ("at", "value"), [(0, 2), (4, 2), (0x240, 1), (0x880, 3)], ids=["id", "author", "x", "y"]
)
def test_refuses_other_algorithms_and_curves(at: int, value: int) -> None:
    auth = bytearray(id_block.auth(id_block.block()))
    auth[at] = value
    with pytest.raises(UnsupportedEvidenceError):
        IdAuth.from_bytes(bytes(auth))


def test_refuses_another_version() -> None:
    with pytest.raises(UnsupportedEvidenceError):
        IdBlock.from_bytes(id_block.block(version=2))


def test_no_byte_is_ignored() -> None:
    block = id_block.block()
    auth = id_block.auth(block)
    for at in range(len(block)):
        bad = bytearray(block)
        bad[at] ^= 1 << at % 8
        with pytest.raises(EvidenceError):
            _verify(bytes(bad), auth)
    for at in range(len(auth)):
        bad = bytearray(auth)
        bad[at] ^= 1 << at % 8
        with pytest.raises(EvidenceError):
            _verify(block, bytes(bad))


@given(st.binary(max_size=200) | st.binary(min_size=96, max_size=96), st.integers(0, 4096))
@settings(max_examples=60)
def test_arbitrary_bytes_and_truncations_give_the_documented_error(raw: bytes, at: int) -> None:
    block = id_block.block()
    good = id_block.auth(block)
    with pytest.raises(EvidenceError):
        _verify(raw, good)
    with pytest.raises(EvidenceError):
        IdAuth.from_bytes(good[:at] + raw[: at % 7] if at < len(good) else good + b"\0")
