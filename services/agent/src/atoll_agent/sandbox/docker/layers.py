"""A layer's tar, perhaps compressed with gzip, against the digest its image gives for it.

OCI image specification 1.1, layer.md and config.md: a layer's diff id is the SHA-256 of
the tar archive before compression. The engine unpacks a layer below the container's root
and confines every path and link to it; that is not left to it alone:

* no name or hard link leads out, no device, no sparse file, no name twice (directories may);
* a symbolic link may point anywhere: it is followed inside the container only;
* bytes and entries are counted over all layers of an image, and compression may not gain
  more than `MAX_RATIO`: ten gigabytes of zeros end after a few megabytes.
"""

import hashlib
import zlib
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol

from atoll_agent.sandbox.docker.refusal import refuse, shown
from atoll_agent.sandbox.docker.tarstream import CHUNK, EntryKind, entries, inside

MAX_UNPACKED: Final = 4 << 30
"""Bytes of all layers of an image before compression."""
MAX_ENTRIES: Final = 200_000
"""Entries of all layers of an image."""
MAX_RATIO: Final = 200
FREE_BYTES: Final = 64 << 20
"""Bytes that an image may always unpack to, whatever its ratio."""

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_GZIP_WINDOW: Final = 31
"""zlib's word for: a gzip header and the largest window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A run of bytes within the archive."""

    offset: int
    size: int


@dataclass(slots=True, kw_only=True)
class Budget:
    """What the layers of one image may still take. `of` gives an image's."""

    bytes_left: int
    entries_left: int

    @classmethod
    def of(cls, packed: int) -> "Budget":
        """For layers that take `packed` bytes in the archive."""
        most = min(MAX_UNPACKED, max(FREE_BYTES, MAX_RATIO * packed))
        return cls(bytes_left=most, entries_left=MAX_ENTRIES)


def check_layer(file: BinaryIO, blob: Blob, diff_id: str, budget: Budget, what: str) -> int:
    """Judge one layer and return its size before compression.

    Raises:
        InputError: `image.layer_digest`, `image.compression`, `image.too_large`,
            `image.duplicate`, `image.entry`, `image.path` and what `tarstream.entries` raises.
    """
    source = LayerSource(file, blob, budget, what)
    seen: set[bytes] = set()
    for entry in entries(source, what, most=budget.entries_left):
        budget.entries_left -= 1
        if entry.kind is EntryKind.DEVICE:
            raise refuse("entry", f"{what} has the device {shown(entry.name)}")
        if entry.kind is EntryKind.HARD_LINK and not inside(entry.link, what):
            raise refuse("path", f"{what} has a hard link to its root")
        if entry.kind is EntryKind.DIRECTORY:
            continue
        # A digest of the name: names of 4096 bytes would add up.
        mark = hashlib.blake2b(entry.name, digest_size=16).digest()
        if mark in seen:
            raise refuse("duplicate", f"{what} has {shown(entry.name)} twice")
        seen.add(mark)
    if source.digest() != diff_id:
        raise refuse("layer_digest", f"{what} is {source.digest()}, the image says {diff_id}")
    return source.position()


class _Inflater(Protocol):
    """What `zlib.decompressobj` makes; its type has no public name before 3.12."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    @property
    def unconsumed_tail(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class LayerSource:
    """A layer before compression, as a `Source`; all that passes is counted and hashed.

    Raises:
        InputError: `image.compression`, `image.truncated`, `image.too_large`; when made, and from
            each method that goes on.
    """

    def __init__(self, file: BinaryIO, blob: Blob, budget: Budget, what: str) -> None:
        self._file = file
        self._at = blob.offset
        self._left = blob.size
        self._budget = budget
        self._what = what
        self._hash = hashlib.sha256()
        self._passed = 0
        self._ready = b""
        self._at_ready = 0
        self._stream: _Inflater | None = None
        head = self._raw(4)
        if head.startswith(_GZIP):
            self._stream = zlib.decompressobj(_GZIP_WINDOW)
        elif head == _ZSTD:
            raise refuse("compression", f"{what} is compressed with zstd, want gzip or nothing")
        self._packed = head

    def take(self, size: int) -> bytes:
        parts: list[bytes] = []
        need = size
        while need:
            if self._at_ready == len(self._ready):
                self._ready, self._at_ready = self._next(), 0
                if not self._ready:
                    break
            part = self._ready[self._at_ready : self._at_ready + need]
            self._at_ready += len(part)
            need -= len(part)
            parts.append(part)
        self._passed += size - need
        return b"".join(parts)

    def skip(self, size: int) -> int:
        left = size
        while left:
            chunk = self.take(min(left, CHUNK))
            if not chunk:
                break
            left -= len(chunk)
        return size - left

    def position(self) -> int:
        return self._passed

    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"

    def _raw(self, size: int) -> bytes:
        """The next bytes of the blob as it is in the archive."""
        # Others read this file between two of our reads, so each begins with a seek.
        self._file.seek(self._at)
        raw = self._file.read(min(size, self._left))
        self._at += len(raw)
        self._left -= len(raw)
        return raw

    def _next(self) -> bytes:
        chunk = self._inflate(self._stream) if self._stream else (self._packed or self._raw(CHUNK))
        if not self._stream:
            self._packed = b""
        if len(chunk) > self._budget.bytes_left:
            raise refuse("too_large", f"{self._what} unpacks to more than is allowed")
        self._budget.bytes_left -= len(chunk)
        self._hash.update(chunk)
        return chunk

    def _inflate(self, stream: "_Inflater") -> bytes:
        """The next bytes before compression; nothing at the end of the last gzip member."""
        while True:
            if stream.eof:
                self._packed = stream.unused_data or self._raw(CHUNK)
                if not self._packed:
                    return b""
                self._stream = stream = zlib.decompressobj(_GZIP_WINDOW)
            packed = stream.unconsumed_tail or self._packed or self._raw(CHUNK)
            self._packed = b""
            if not packed:
                raise refuse("truncated", f"{self._what} ends within its compressed data")
            try:
                chunk = stream.decompress(packed, CHUNK)
            except zlib.error as error:
                raise refuse("compression", f"{self._what} is not gzip: {error}") from error
            if chunk:
                return chunk
