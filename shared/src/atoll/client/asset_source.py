"""The plaintext of an asset, read twice: once to know it, once to seal it.

A content key must never seal two different plaintexts under one nonce, also when a file changes
between two attempts, or while one of them reads it. So an upload first reads everything and gets
its SHA-256, which must be that of the record, and the SHA-256 of each span of it. Then it reads
again, and lets no span through to be sealed that is not the very one it read before.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from atoll.client.asset_record import MAX_ASSET, AssetKind
from atoll.client.tree import file_pieces, tree_pieces
from atoll.errors import InputError
from atoll.sealing.stream import CHUNK_SIZE, TAG_SIZE

SPAN: Final = 8 * (CHUNK_SIZE - TAG_SIZE)
"""Plaintext bytes that are compared before any of them is sealed: eight chunks, 4 MiB."""

CHANGED_HINT: Final = (
    "bring back the content that it was begun with, `atoll asset put --replace` to begin anew "
    "with this one, or choose another name with --name"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a source is, after it was read to its end."""

    size: int
    sha256: str
    spans: tuple[bytes, ...]
    """SHA-256 of each span of `SPAN` bytes; the last one is shorter."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file, or a directory as its archive."""

    path: Path

    @property
    def kind(self) -> AssetKind:
        return AssetKind.DIRECTORY if self.path.is_dir() else AssetKind.FILE

    def pieces(self) -> Iterator[bytes]:
        """The plaintext.

        Raises:
            InputError: `asset.too_large`, at once; as `file_pieces` and `tree_pieces`.
        """
        if self.kind is AssetKind.DIRECTORY:
            return tree_pieces(self.path)
        try:
            size = self.path.stat().st_size
        except OSError as error:
            raise InputError(f"{self.path}: {error.strerror}", code="file.unreadable") from error
        if size > MAX_ASSET:
            raise _too_large(MAX_ASSET)
        return file_pieces(self.path)


def survey(
    pieces: Iterable[bytes], *, told: Callable[[int], None] = lambda _: None, limit: int = MAX_ASSET
) -> Survey:
    """Read everything; `told` gets the bytes read so far.

    Raises:
        InputError: `asset.too_large`, over `limit` bytes; what reading raises.
    """
    whole = hashlib.sha256()
    spans = []
    size = 0
    for span in _spans(pieces):
        size += len(span)
        if size > limit:
            raise _too_large(limit)
        whole.update(span)
        spans.append(hashlib.sha256(span).digest())
        told(size)
    return Survey(size=size, sha256=whole.hexdigest(), spans=tuple(spans))


def unchanged(pieces: Iterable[bytes], known: Survey) -> Iterator[bytes]:
    """The same plaintext once more, as far as it is the same.

    Raises:
        InputError: `asset.changed`, before anything else than what was read before comes out.
    """
    count = 0
    for span in _spans(pieces):
        if count == len(known.spans) or hashlib.sha256(span).digest() != known.spans[count]:
            raise changed("the content changed while it was read")
        count += 1
        yield span
    if count != len(known.spans):
        raise changed("the content became shorter while it was read")


def changed(why: str) -> InputError:
    """Whatever the content is now, the key of this asset must not seal it."""
    return InputError(why, code="asset.changed", hint=CHANGED_HINT)


def _too_large(limit: int) -> InputError:
    return InputError(
        f"an asset has at most {limit} bytes, and this is more",
        code="asset.too_large",
        hint="put it as several assets",
    )


def _spans(pieces: Iterable[bytes]) -> Iterator[bytes]:
    buffer = bytearray()
    for piece in pieces:
        buffer += piece
        while len(buffer) >= SPAN:
            span = bytes(memoryview(buffer)[:SPAN])
            del buffer[:SPAN]
            yield span
    if buffer:
        yield bytes(buffer)
