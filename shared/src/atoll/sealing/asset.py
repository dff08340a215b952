"""Sealing and opening whole assets, piece by piece, with bounded memory.

Both directions hold back one chunk, because whether a chunk is the last shows only when
something follows it or nothing does. Pieces may be cut anywhere; when they are `bytes`
that match the chunks (as `seal_chunks` yields them) nothing is copied on the way.

`Opener` gives out the plaintext of a chunk only after its tag verified, in order, under
its position. Until `finish` returned, what came out is an authentic beginning of the
asset and not yet the asset: do not act on it. That the content is what the manifest
means is the commitment's business (`atoll.framing.commitment`), not checked here.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NoReturn

from atoll.errors import SealError
from atoll.sealing.stream import (
    ASSET_ID_SIZE,
    CHUNK_SIZE,
    HEADER_SIZE,
    KEY_SIZE,
    MAX_CHUNKS,
    TAG_SIZE,
    Buffer,
    ChunkCipher,
    Header,
    SealingStream,
)


def ciphertext_size(plaintext_size: int, *, chunk_size: int = CHUNK_SIZE) -> int:
    """Bytes of the sealed asset, header included.

    Raises:
        SealError: `asset.too_large`.
    """
    if plaintext_size < 0:
        raise ValueError("a size is not negative")
    chunks = max(1, -(-plaintext_size // (chunk_size - TAG_SIZE)))
    if chunks > MAX_CHUNKS:
        raise SealError(f"{plaintext_size} bytes do not fit one asset", code="asset.too_large")
    return HEADER_SIZE + plaintext_size + chunks * TAG_SIZE


def plaintext_size(sealed_size: int, *, chunk_size: int = CHUNK_SIZE) -> int:
    """The inverse of `ciphertext_size`.

    Raises:
        SealError: `asset.truncated`, no asset has that size; `asset.too_large`.
    """
    chunks = max(1, -(-(sealed_size - HEADER_SIZE) // chunk_size))
    if chunks > MAX_CHUNKS:
        raise SealError(f"{sealed_size} bytes are more than one asset", code="asset.too_large")
    size = sealed_size - HEADER_SIZE - chunks * TAG_SIZE
    if size < 0 or ciphertext_size(size, chunk_size=chunk_size) != sealed_size:
        raise SealError(f"no sealed asset has {sealed_size} bytes", code="asset.truncated")
    return size


class _Blocks:
    """Regroups pieces into blocks of one size and always keeps the last one back."""

    __slots__ = ("_held", "_size")

    def __init__(self, size: int) -> None:
        self._size: Final = size
        self._held: Buffer = b""

    @property
    def held(self) -> int:
        return len(self._held)

    def push(self, data: Buffer) -> Iterator[Buffer]:
        """Blocks that something follows. Each must be used before the next is asked for."""
        # An immutable piece is kept by reference; any other may change under us, and a
        # large one would be kept alive whole for the sake of its end.
        owned = isinstance(data, bytes) and len(data) <= 2 * self._size
        view = memoryview(data)
        if self.held and view:
            missing = self._size - self.held
            if missing:
                if not isinstance(self._held, bytearray):
                    self._held = bytearray(self._held)
                self._held += view[:missing]
                view = view[missing:]
            if view:
                block, self._held = self._held, b""
                yield block
        while len(view) > self._size:
            yield view[: self._size]
            view = view[self._size :]
        if view:
            self._held = view if owned else bytearray(view)

    def take(self) -> Buffer:
        block, self._held = self._held, b""
        return block


class Sealer:
    """Plaintext pieces in, sealed pieces out; all outputs joined are the sealed asset.

    The first output starts with the header; every output carries whole chunks.
    """

    __slots__ = ("_blocks", "_header", "_stream")

    def __init__(
        self, key: bytes, asset_id: bytes, prefix: bytes, *, chunk_size: int = CHUNK_SIZE
    ) -> None:
        """Start an asset; see `SealingStream` for what must be fresh."""
        self._stream: Final = SealingStream(key, asset_id, prefix, chunk_size=chunk_size)
        self._blocks: Final = _Blocks(chunk_size - TAG_SIZE)
        self._header = self._stream.header

    @property
    def held(self) -> int:
        """Bytes kept back: at most the content of one chunk."""
        return self._blocks.held

    def update(self, data: Buffer) -> list[bytes]:
        """Take the next piece; the chunks that are complete and not the last.

        Raises:
            SealError: `asset.too_large`.
        """
        return [self._out(block, last=False) for block in self._blocks.push(data)]

    def finish(self) -> bytes:
        """The last chunk; with the header before it if nothing came out yet."""
        return self._out(self._blocks.take(), last=True)

    def _out(self, block: Buffer, *, last: bool) -> bytes:
        sealed = self._stream.seal(block, last=last)
        if self._header:
            sealed, self._header = self._header + sealed, b""
        return sealed


class Opener:
    """Sealed pieces in, verified plaintext out."""

    __slots__ = (
        "_blocks",
        "_chunk_size",
        "_cipher",
        "_done",
        "_expected",
        "_failure",
        "_head",
        "_index",
        "_key",
    )

    def __init__(
        self, key: bytes, expected_asset_id: bytes, *, chunk_size: int = CHUNK_SIZE
    ) -> None:
        """Expect exactly this asset, with chunks of exactly this size.

        Lengths other than 32 and 16 bytes are a bug and raise `ValueError`.
        """
        if len(key) != KEY_SIZE or len(expected_asset_id) != ASSET_ID_SIZE:
            raise ValueError("a content key is 32 bytes and an asset id 16")
        self._key: Final = key
        self._expected: Final = expected_asset_id
        self._chunk_size: Final = chunk_size
        self._blocks: Final = _Blocks(chunk_size)
        self._head = b""
        self._cipher: ChunkCipher | None = None
        self._index = 0
        self._failure: SealError | None = None
        self._done = False

    @property
    def held(self) -> int:
        """Bytes kept back: at most one sealed chunk, or an incomplete header."""
        return self._blocks.held + (len(self._head) if self._cipher is None else 0)

    def feed(self, data: Buffer) -> list[bytes]:
        """Take the next piece; the plaintext of the chunks that something follows.

        Raises:
            SealError: `asset.header`, `asset.other_asset`, `asset.corrupt`, `asset.extended`.
                After the first error every call raises it again.
        """
        self._require_open()
        view: Buffer = data
        if self._cipher is None:
            missing = HEADER_SIZE - len(self._head)
            self._head += bytes(memoryview(data)[:missing])
            if len(self._head) < HEADER_SIZE:
                return []
            self._start()
            # Slicing bytes copies once per asset, and what is kept stays immutable.
            view = data[missing:]
        return [self._open(block) for block in self._blocks.push(view)]

    def finish(self) -> bytes:
        """The plaintext of the last chunk; the asset is now known to be complete.

        Raises:
            SealError: `asset.truncated`, what came ends before the last chunk does, or
                `asset.corrupt`; a cut inside the last chunk cannot be told from damage in it.
        """
        self._require_open()
        block = self._blocks.take()
        if self._cipher is None or len(block) < TAG_SIZE:
            self._fail("asset.truncated", "ends inside the header or a chunk")
        plaintext = self._cipher.open(self._index, block, last=True)
        if plaintext is None:
            if self._cipher.open(self._index, block, last=False) is not None:
                self._fail("asset.truncated", f"ends after chunk {self._index}, not the last")
            self._fail("asset.corrupt", f"chunk {self._index} is not what was sealed there")
        if not plaintext and self._index:
            self._fail("asset.corrupt", f"chunk {self._index} is empty")
        self._done = True
        return plaintext

    def _start(self) -> None:
        try:
            header = Header.from_bytes(self._head)
        except SealError as error:
            self._failure = error
            raise
        if header.chunk_size != self._chunk_size:
            self._fail("asset.header", f"chunk size {header.chunk_size}, want {self._chunk_size}")
        if header.asset_id != self._expected:
            self._fail(
                "asset.other_asset",
                f"is asset {header.asset_id.hex()}, want {self._expected.hex()}",
            )
        self._cipher = ChunkCipher(self._key, header)

    def _open(self, block: Buffer) -> bytes:
        if self._cipher is None:
            raise AssertionError("no chunk comes before the header")
        plaintext = self._cipher.open(self._index, block, last=False)
        if plaintext is None:
            if self._cipher.open(self._index, block, last=True) is not None:
                self._fail("asset.extended", f"goes on after its last chunk {self._index}")
            self._fail("asset.corrupt", f"chunk {self._index} is not what was sealed there")
        self._index += 1
        return plaintext

    def _require_open(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._done:
            raise ValueError("the asset is already complete")

    def _fail(self, code: str, why: str) -> NoReturn:
        self._failure = SealError(f"sealed asset {why}", code=code)
        raise self._failure


def seal_chunks(
    key: bytes,
    plaintext: Iterable[Buffer],
    *,
    asset_id: bytes,
    prefix: bytes,
    chunk_size: int = CHUNK_SIZE,
) -> Iterator[bytes]:
    """The sealed asset: first the header with chunk 0, then one chunk a time.

    A reader `f` goes in as `iter(lambda: f.read(n), b"")`; n = 524272 avoids copies.
    """
    sealer = Sealer(key, asset_id, prefix, chunk_size=chunk_size)
    for piece in plaintext:
        yield from sealer.update(piece)
    yield sealer.finish()


def open_chunks(
    key: bytes, sealed: Iterable[Buffer], *, asset_id: bytes, chunk_size: int = CHUNK_SIZE
) -> Iterator[bytes]:
    """The plaintext in pieces, complete only when the iteration ended without an error.

    Raises:
        SealError: as `Opener`.
    """
    opener = Opener(key, asset_id, chunk_size=chunk_size)
    for piece in sealed:
        yield from opener.feed(piece)
    yield opener.finish()
