"""An asset opens to exactly what the manifest commits to, or not at all."""

import io
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given as with_values
from hypothesis import settings
from hypothesis import strategies as st

from atoll.errors import SealError
from atoll.sealing.release import ReleasedKey
from atoll_agent.assets import open_asset
from unit.agent import given

CONTENT = b"sepal,petal\n" * 50_000  # more than one chunk


async def pieces(chunks: Sequence[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def opened(sealed: given.Sealed, chunks: Sequence[bytes] | None = None) -> bytes:
    into = io.BytesIO()
    key = ReleasedKey(content_key=sealed.secrets.content_key, salt=sealed.secrets.salt)
    stream = pieces(sealed.chunks if chunks is None else chunks)
    await open_asset("iris", sealed.ref, key, stream, into)
    return into.getvalue()


async def test_what_was_sealed_comes_out() -> None:
    assert await opened(given.seal(CONTENT)) == CONTENT
    assert await opened(given.seal(b"")) == b""


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"size": len(CONTENT) - 1}, "asset.size"),
        ({"size": len(CONTENT) + 1}, "asset.size"),
        ({"commitment": "0" * 64}, "asset.digest"),
    ],
)
async def test_other_content_than_the_manifest_names_is_refused(
    changes: dict[str, object], code: str
) -> None:
    with pytest.raises(SealError, match="'iris'") as caught:
        await opened(given.seal(CONTENT, **changes))
    assert caught.value.code == code


async def test_the_salt_is_part_of_the_commitment() -> None:
    sealed = given.seal(CONTENT)
    key = ReleasedKey(content_key=sealed.secrets.content_key, salt=bytes(32))
    with pytest.raises(SealError) as caught:
        await open_asset("iris", sealed.ref, key, pieces(sealed.chunks), io.BytesIO())
    assert caught.value.code == "asset.digest"


async def test_no_more_is_written_than_the_manifest_says() -> None:
    sealed = given.seal(CONTENT, size=10)
    into = io.BytesIO()
    key = ReleasedKey(content_key=sealed.secrets.content_key, salt=sealed.secrets.salt)
    with pytest.raises(SealError):
        await open_asset("iris", sealed.ref, key, pieces(sealed.chunks), into)
    assert into.getvalue() == b""


@settings(max_examples=60, deadline=None)
@with_values(st.data())
def test_a_flipped_bit_a_cut_or_an_extension_is_refused(data: st.DataObject) -> None:
    import asyncio

    sealed = given.seal(b"a small dataset")
    raw = bytearray(b"".join(sealed.chunks))
    match data.draw(st.sampled_from(["flip", "cut", "extend"])):
        case "flip":
            bit = data.draw(st.integers(0, len(raw) * 8 - 1))
            raw[bit // 8] ^= 1 << bit % 8
        case "cut":
            del raw[data.draw(st.integers(0, len(raw) - 1)) :]
        case _:
            raw += data.draw(st.binary(min_size=1, max_size=64))
    with pytest.raises(SealError, match="'iris'"):
        asyncio.run(opened(sealed, [bytes(raw)]))
