"""What is sealed is what was read before: whatever else comes is refused before it comes out."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.client.asset_record import AssetKind
from atoll.client.asset_source import SPAN, Source, survey, unchanged
from atoll.client.tree import tree_pieces
from atoll.errors import InputError

SIZES = (0, 1, SPAN - 1, SPAN, SPAN + 1, 2 * SPAN + 5)


def content(size: int) -> bytes:
    return bytes(range(251)) * (size // 251 + 1) if size else b""


@pytest.mark.parametrize("size", SIZES)
def test_knows_size_and_digest_however_it_is_cut(size: int) -> None:
    raw = content(size)[:size]
    known = survey([raw])
    assert (known.size, known.sha256) == (size, hashlib.sha256(raw).hexdigest())
    assert len(known.spans) == -(-size // SPAN)
    cut = [raw[at : at + 100_003] for at in range(0, size, 100_003)]
    assert survey(cut) == known
    assert b"".join(unchanged(cut, known)) == raw


@pytest.mark.parametrize("size", SIZES)
def test_a_longer_or_shorter_content_is_refused(size: int) -> None:
    raw = content(size)[:size]
    known = survey([raw])
    for other in (raw + b"x", raw[:-1] if raw else b"x", raw + bytes(SPAN), raw[: size - SPAN]):
        if other == raw:
            continue
        came: list[bytes] = []
        with pytest.raises(InputError) as caught:
            came.extend(unchanged([other], known))
        assert caught.value.code == "asset.changed"
        assert "--replace" in (caught.value.hint or "")
        assert raw.startswith(b"".join(came))


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_no_changed_byte_comes_out(data: st.DataObject) -> None:
    raw = content(2 * SPAN + 5)[: 2 * SPAN + 5]
    known = survey([raw])
    at = data.draw(st.integers(0, len(raw) - 1))
    other = bytearray(raw)
    other[at] ^= data.draw(st.integers(1, 255))
    came: list[bytes] = []
    with pytest.raises(InputError) as caught:
        came.extend(unchanged([bytes(other)], known))
    assert caught.value.code == "asset.changed"
    assert b"".join(came) == raw[: at // SPAN * SPAN]


def test_too_much_is_refused_without_reading_on() -> None:
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        while True:
            read += SPAN
            yield bytes(SPAN)

    with pytest.raises(InputError) as caught:
        survey(endless(), limit=3 * SPAN)
    assert caught.value.code == "asset.too_large"
    assert read <= 5 * SPAN


def test_tells_how_far_it_is() -> None:
    told: list[int] = []
    survey([bytes(2 * SPAN + 1)], told=told.append)
    assert told == [SPAN, 2 * SPAN, 2 * SPAN + 1]


def test_a_directory_is_its_archive(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"two")
    (tmp_path / "a").write_bytes(b"one")
    source = Source(tmp_path)
    assert source.kind is AssetKind.DIRECTORY
    assert b"".join(source.pieces()) == b"".join(tree_pieces(tmp_path))
    assert Source(tmp_path / "a").kind is AssetKind.FILE
    assert b"".join(Source(tmp_path / "a").pieces()) == b"one"
