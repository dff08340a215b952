"""Sealed assets as a whole: what comes back, what is refused, what is held."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import SealError
from atoll.sealing.asset import (
    Opener,
    Sealer,
    ciphertext_size,
    open_chunks,
    plaintext_size,
    seal_chunks,
)
from atoll.sealing.stream import CHUNK_SIZE, HEADER_SIZE, TAG_SIZE, ChunkCipher, Header

KEY = b"\x01" * 32
ASSET_ID = b"\x02" * 16
PREFIX = b"\x03" * 7
SMALL = 32
PLAIN = SMALL - TAG_SIZE


def seal(plaintext: bytes, *, asset_id: bytes = ASSET_ID, prefix: bytes = PREFIX) -> bytes:
    return b"".join(
        seal_chunks(KEY, [plaintext], asset_id=asset_id, prefix=prefix, chunk_size=SMALL)
    )


def open_(sealed: bytes, *, key: bytes = KEY, asset_id: bytes = ASSET_ID) -> bytes:
    return b"".join(open_chunks(key, [sealed], asset_id=asset_id, chunk_size=SMALL))


def refusal(sealed: bytes, *, key: bytes = KEY, asset_id: bytes = ASSET_ID) -> str:
    with pytest.raises(SealError) as caught:
        open_(sealed, key=key, asset_id=asset_id)
    return caught.value.code


def chunks(sealed: bytes) -> list[bytes]:
    """The header, then the chunks."""
    body = sealed[HEADER_SIZE:]
    return [sealed[:HEADER_SIZE], *(body[i : i + SMALL] for i in range(0, len(body), SMALL))]


def cut(raw: bytes, at: list[int]) -> list[bytes]:
    """`raw` in pieces; some may be empty."""
    edges = [0, *sorted(position % (len(raw) + 1) for position in at), len(raw)]
    return [raw[a:b] for a, b in itertools.pairwise(edges)]


cuts = st.lists(st.integers(min_value=0, max_value=1 << 16), max_size=12)


@given(st.binary(max_size=5 * PLAIN + 3), cuts, cuts)
def test_opens_what_was_sealed_however_both_are_cut(
    plaintext: bytes, plain_cuts: list[int], sealed_cuts: list[int]
) -> None:
    sealed = b"".join(
        seal_chunks(
            KEY, cut(plaintext, plain_cuts), asset_id=ASSET_ID, prefix=PREFIX, chunk_size=SMALL
        )
    )
    assert sealed == seal(plaintext)
    pieces = cut(sealed, sealed_cuts)
    opened = b"".join(open_chunks(KEY, pieces, asset_id=ASSET_ID, chunk_size=SMALL))
    assert opened == plaintext


@pytest.mark.parametrize("size", [0, 1, CHUNK_SIZE - 16, CHUNK_SIZE - 15, 2 * (CHUNK_SIZE - 16)])
def test_opens_assets_of_production_chunk_size(size: int) -> None:
    plaintext = bytes(range(251)) * (size // 251 + 1)
    outputs = list(seal_chunks(KEY, [plaintext[:size]], asset_id=ASSET_ID, prefix=PREFIX))
    assert sum(map(len, outputs)) == ciphertext_size(size)
    assert all(len(output) == CHUNK_SIZE for output in outputs[1:-1])
    assert b"".join(open_chunks(KEY, outputs, asset_id=ASSET_ID)) == plaintext[:size]


def test_first_output_is_the_header_and_chunk_0() -> None:
    outputs = list(
        seal_chunks(KEY, [bytes(PLAIN + 1)], asset_id=ASSET_ID, prefix=PREFIX, chunk_size=SMALL)
    )
    assert list(map(len, outputs)) == [HEADER_SIZE + SMALL, TAG_SIZE + 1]


def test_an_empty_asset_is_one_chunk_without_content() -> None:
    assert len(seal(b"")) == HEADER_SIZE + TAG_SIZE
    assert open_(seal(b"")) == b""


def test_a_reused_read_buffer_does_not_change_what_was_given_before() -> None:
    plaintext = bytes(range(3 * PLAIN))
    sealer = Sealer(KEY, ASSET_ID, PREFIX, chunk_size=SMALL)
    opener = Opener(KEY, ASSET_ID, chunk_size=SMALL)
    buffer = bytearray(5)
    sealed, opened = b"", b""
    for start in range(0, len(plaintext), 5):
        piece = plaintext[start : start + 5]
        buffer[: len(piece)] = piece
        sealed += b"".join(sealer.update(memoryview(buffer)[: len(piece)]))
    sealed += sealer.finish()
    for start in range(0, len(sealed), 5):
        piece = sealed[start : start + 5]
        buffer[: len(piece)] = piece
        opened += b"".join(opener.feed(memoryview(buffer)[: len(piece)]))
    assert opened + opener.finish() == plaintext


@given(st.integers(min_value=0, max_value=1 << 44))
def test_sizes_are_inverse_to_each_other(size: int) -> None:
    assert plaintext_size(ciphertext_size(size)) == size


@given(st.integers(min_value=-5, max_value=5 * SMALL + HEADER_SIZE))
def test_every_size_is_that_of_one_plaintext_or_refused(size: int) -> None:
    try:
        plain = plaintext_size(size, chunk_size=SMALL)
    except SealError:
        assert size not in {len(seal(bytes(n))) for n in range(5 * SMALL)}
    else:
        assert len(seal(bytes(plain))) == size


def test_sizes_beyond_the_counter_are_refused() -> None:
    largest = (2**32 - 1) * (CHUNK_SIZE - TAG_SIZE)
    assert plaintext_size(ciphertext_size(largest)) == largest
    with pytest.raises(SealError) as sealing:
        ciphertext_size(largest + 1)
    with pytest.raises(SealError) as opening:
        plaintext_size(ciphertext_size(largest) + TAG_SIZE + 1)
    assert {sealing.value.code, opening.value.code} == {"asset.too_large"}


THREE = seal(bytes(range(2 * PLAIN + 4)))
FULL = seal(bytes(range(2 * PLAIN)))
"""Ends with a full chunk, where a cut or an addition leaves whole chunks."""


@pytest.mark.parametrize("sealed", [THREE, FULL, seal(b"")], ids=["partial", "full", "empty"])
def test_refuses_every_flipped_bit(sealed: bytes) -> None:
    codes = set()
    for bit in range(len(sealed) * 8):
        flipped = bytearray(sealed)
        flipped[bit // 8] ^= 1 << bit % 8
        codes.add(refusal(bytes(flipped)))
    assert codes == {"asset.header", "asset.other_asset", "asset.corrupt"}


@pytest.mark.parametrize("sealed", [THREE, FULL, seal(b"")], ids=["partial", "full", "empty"])
def test_refuses_every_truncation(sealed: bytes) -> None:
    for size in range(len(sealed)):
        assert refusal(sealed[:size]) in ("asset.truncated", "asset.corrupt")


def test_names_a_truncation_between_chunks() -> None:
    assert refusal(THREE[: HEADER_SIZE + SMALL]) == "asset.truncated"
    assert refusal(THREE[: HEADER_SIZE + 2 * SMALL]) == "asset.truncated"
    assert refusal(THREE[:HEADER_SIZE]) == "asset.truncated"


@given(st.binary(min_size=1, max_size=3 * SMALL))
def test_refuses_every_extension(extra: bytes) -> None:
    assert refusal(FULL + extra) == "asset.extended"
    assert refusal(THREE + extra) == "asset.corrupt"


def test_refuses_an_asset_after_itself() -> None:
    assert refusal(FULL + FULL) == "asset.extended"
    assert refusal(FULL + chunks(FULL)[-1]) == "asset.extended"


@pytest.mark.parametrize("order", [(0, 2, 1, 3), (0, 1, 3, 2), (0, 2, 2, 3), (0, 1, 1, 2, 3)])
def test_refuses_reordered_and_repeated_chunks(order: tuple[int, ...]) -> None:
    parts = chunks(seal(bytes(range(3 * PLAIN))))
    assert refusal(b"".join(parts[i] for i in order)) == "asset.corrupt"


def test_refuses_a_missing_chunk() -> None:
    head, _, second, third = chunks(THREE)
    assert refusal(head + second + third) == "asset.corrupt"


def test_refuses_a_chunk_of_another_asset_under_the_same_key() -> None:
    head, first, _, third = chunks(THREE)
    for other in (
        seal(bytes(range(2 * PLAIN + 4)), asset_id=b"\x09" * 16),
        seal(bytes(range(2 * PLAIN + 4)), prefix=b"\x09" * 7),
    ):
        assert refusal(head + first + chunks(other)[2] + third) == "asset.corrupt"


def test_refuses_another_asset_and_another_key() -> None:
    assert refusal(seal(b"content", asset_id=b"\x09" * 16)) == "asset.other_asset"
    assert refusal(THREE, asset_id=b"\x09" * 16) == "asset.other_asset"
    assert refusal(THREE, key=b"\x09" * 32) == "asset.corrupt"


def test_refuses_a_relabelled_asset() -> None:
    other = seal(b"content", asset_id=b"\x09" * 16)
    assert refusal(other[:16] + ASSET_ID + other[32:]) == "asset.corrupt"


def test_refuses_a_chunk_size_that_is_not_expected() -> None:
    with pytest.raises(SealError) as caught:
        Opener(KEY, ASSET_ID).feed(THREE)
    assert caught.value.code == "asset.header"


def test_refuses_an_empty_last_chunk_behind_others() -> None:
    # An author who holds the key can make one; it would give one content two forms.
    cipher = ChunkCipher(KEY, Header(asset_id=ASSET_ID, prefix=PREFIX, chunk_size=SMALL))
    sealed = THREE[:HEADER_SIZE] + cipher.seal(0, bytes(PLAIN), last=False)
    assert refusal(sealed + cipher.seal(1, b"", last=True)) == "asset.corrupt"


def test_names_the_damaged_chunk() -> None:
    head, first, second, third = chunks(THREE)
    with pytest.raises(SealError, match="chunk 1 "):
        open_(head + first + second[:-1] + b"\x00" + third)


@given(st.binary(max_size=200), cuts)
def test_arbitrary_bytes_raise_only_seal_error(raw: bytes, at: list[int]) -> None:
    with pytest.raises(SealError):
        list(open_chunks(KEY, cut(raw, at), asset_id=ASSET_ID, chunk_size=SMALL))


@given(st.binary(max_size=100), cuts)
def test_arbitrary_chunks_behind_a_good_header_raise_only_seal_error(
    raw: bytes, at: list[int]
) -> None:
    pieces = cut(THREE[:HEADER_SIZE] + raw, at)
    with pytest.raises(SealError):
        list(open_chunks(KEY, pieces, asset_id=ASSET_ID, chunk_size=SMALL))


@given(st.integers(min_value=0, max_value=len(THREE) * 8 - 1))
@settings(max_examples=200)
def test_gives_out_only_whole_verified_chunks_before_damage(bit: int) -> None:
    flipped = bytearray(THREE)
    flipped[bit // 8] ^= 1 << bit % 8
    opener = Opener(KEY, ASSET_ID, chunk_size=SMALL)
    out = b""
    with pytest.raises(SealError):  # noqa: PT012 - what came out before is the point
        for byte in flipped:
            out += b"".join(opener.feed(bytes([byte])))
        out += opener.finish()
    damaged = max(0, bit // 8 - HEADER_SIZE) // SMALL
    whole = 0 if bit // 8 < HEADER_SIZE else damaged * PLAIN
    assert out == bytes(range(2 * PLAIN + 4))[:whole]


def test_stays_refused_after_an_error() -> None:
    opener = Opener(KEY, ASSET_ID, chunk_size=SMALL)
    with pytest.raises(SealError):
        opener.feed(b"x" * HEADER_SIZE)
    with pytest.raises(SealError) as caught:
        opener.feed(THREE)
    assert caught.value.code == "asset.header"
    with pytest.raises(SealError):
        opener.finish()


def test_takes_nothing_after_finish() -> None:
    opener = Opener(KEY, ASSET_ID, chunk_size=SMALL)
    opener.feed(THREE)
    opener.finish()
    with pytest.raises(ValueError, match="complete"):
        opener.feed(b"x")
    with pytest.raises(ValueError, match="complete"):
        opener.finish()


def test_wrong_key_and_id_lengths_are_a_value_error() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Opener(b"", ASSET_ID)
    with pytest.raises(ValueError, match="an asset id 16"):
        Opener(KEY, b"")
    with pytest.raises(ValueError, match="negative"):
        ciphertext_size(-1)


@given(st.binary(max_size=10 * SMALL), cuts)
def test_holds_at_most_one_chunk_in_either_direction(raw: bytes, at: list[int]) -> None:
    sealer = Sealer(KEY, ASSET_ID, PREFIX, chunk_size=SMALL)
    sealed = []
    for piece in cut(raw, at):
        sealed += sealer.update(piece)
        assert sealer.held <= PLAIN
    sealed.append(sealer.finish())
    assert sealer.held == 0
    opener = Opener(KEY, ASSET_ID, chunk_size=SMALL)
    for piece in cut(b"".join(sealed), at):
        opener.feed(piece)
        assert opener.held <= max(SMALL, HEADER_SIZE)
    opener.finish()
    assert opener.held == 0


def test_does_not_keep_a_large_piece_alive_for_its_end() -> None:
    sealer = Sealer(KEY, ASSET_ID, PREFIX, chunk_size=SMALL)
    large = bytearray(10 * SMALL + 1)
    sealer.update(large)
    # A bytearray that something still views cannot be resized.
    large.clear()
    assert sealer.held > 0
