"""The sealed asset format: its header, its nonces, and one chunk at a time.

The STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár: "Online Authenticated-Encryption
and its Nonce-Reuse Misuse-Resistance", CRYPTO 2015) over AES-256-GCM. Integers are big-endian.

| offset | size | field      | value                                                      |
| ------ | ---- | ---------- | ---------------------------------------------------------- |
| 0      | 8    | magic      | 89 41 54 4F 4C 4C 0D 0A; breaks visibly in a text-mode copy |
| 8      | 2    | version    | 1                                                          |
| 10     | 2    | suite      | 1: AES-256-GCM                                             |
| 12     | 4    | chunk_size | bytes of a sealed chunk, tag included; 524288              |
| 16     | 16   | asset_id   | random                                                     |
| 32     | 7    | prefix     | random                                                     |
| 39     |      |            | sealed chunks 0, 1, 2, ... back to back                    |

Every chunk but the last fills chunk_size. Nonce of chunk i: prefix (7) || i (4) || last (1),
last being 1 for the last chunk only. Associated data of every chunk: SHA-256 of the header.
An empty asset is one chunk without content; no other asset has a chunk without content, so
one plaintext size has one ciphertext size.

AES-GCM does not commit to its key: whoever made a key could make a ciphertext that opens under
two. The manifest's commitment to the plaintext settles which content is meant.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from atoll.errors import SealError

MAGIC: Final = b"\x89ATOLL\r\n"
VERSION: Final = 1
SUITE_AES_256_GCM: Final = 1
CHUNK_SIZE: Final = 512 * 1024
"""Bytes of a sealed chunk, tag included. Production knows no other; tests may."""
MIN_CHUNK_SIZE: Final = 32
TAG_SIZE: Final = 16
KEY_SIZE: Final = 32
SALT_SIZE: Final = 32
ASSET_ID_SIZE: Final = 16
PREFIX_SIZE: Final = 7
HEADER_SIZE: Final = 39
MAX_CHUNKS: Final = 2**32 - 1

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetSecrets:
    """What is drawn fresh for each asset. The id and the prefix travel in the open header."""

    content_key: bytes = field(repr=False)
    salt: bytes = field(repr=False)
    asset_id: bytes
    prefix: bytes

    @classmethod
    def generate(cls, random: Callable[[int], bytes]) -> Self:
        """Draw all four; `random(n)` gives n unpredictable bytes."""
        return cls(
            content_key=random(KEY_SIZE),
            salt=random(SALT_SIZE),
            asset_id=random(ASSET_ID_SIZE),
            prefix=random(PREFIX_SIZE),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The open part of a sealed asset; only the first chunk's tag makes it authentic."""

    asset_id: bytes
    prefix: bytes
    chunk_size: int = CHUNK_SIZE

    def __post_init__(self) -> None:
        if len(self.asset_id) != ASSET_ID_SIZE or len(self.prefix) != PREFIX_SIZE:
            raise ValueError("an asset id is 16 bytes and a nonce prefix 7")
        if not MIN_CHUNK_SIZE <= self.chunk_size <= CHUNK_SIZE:
            raise ValueError(f"chunk size outside {MIN_CHUNK_SIZE}..{CHUNK_SIZE}")

    def to_bytes(self) -> bytes:
        """The 39 bytes of the table above."""
        return b"".join(
            (
                MAGIC,
                VERSION.to_bytes(2, "big"),
                SUITE_AES_256_GCM.to_bytes(2, "big"),
                self.chunk_size.to_bytes(4, "big"),
                self.asset_id,
                self.prefix,
            )
        )

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Parse exactly one header; proves nothing about who wrote it.

        Raises:
            SealError: `asset.header`.
        """
        if len(raw) != HEADER_SIZE:
            raise _header_error(f"{len(raw)} bytes, want {HEADER_SIZE}")
        if raw[:8] != MAGIC:
            raise _header_error(f"magic {raw[:8].hex()}, want {MAGIC.hex()}")
        _require(raw[8:10], "version", VERSION)
        _require(raw[10:12], "suite", SUITE_AES_256_GCM)
        chunk_size = int.from_bytes(raw[12:16], "big")
        if not MIN_CHUNK_SIZE <= chunk_size <= CHUNK_SIZE:
            raise _header_error(f"chunk size {chunk_size}, want at most {CHUNK_SIZE}")
        return cls(asset_id=raw[16:32], prefix=raw[32:39], chunk_size=chunk_size)


def _require(raw: bytes, what: str, want: int) -> None:
    value = int.from_bytes(raw, "big")
    if value != want:
        raise _header_error(f"{what} {value}, this build knows {want}")


def _header_error(why: str) -> SealError:
    return SealError(f"sealed asset header: {why}", code="asset.header")


def nonce(prefix: bytes, index: int, *, last: bool) -> bytes:
    """The 12 bytes for chunk `index`.

    Raises:
        SealError: `asset.too_large`, the counter is used up.
    """
    if index >= MAX_CHUNKS:
        raise SealError(f"an asset has at most {MAX_CHUNKS} chunks", code="asset.too_large")
    return prefix + index.to_bytes(4, "big") + (b"\x01" if last else b"\x00")


class ChunkCipher:
    """AES-256-GCM over single chunks of one asset; the caller counts them."""

    __slots__ = ("_aad", "_aead", "_prefix")

    def __init__(self, key: bytes, header: Header) -> None:
        """Take a 32-byte content key; another length is a bug and raises `ValueError`."""
        if len(key) != KEY_SIZE:
            raise ValueError(f"a content key is {KEY_SIZE} bytes")
        self._aead: Final = AESGCM(key)
        self._aad: Final = hashlib.sha256(header.to_bytes()).digest()
        self._prefix: Final = header.prefix

    def seal(self, index: int, plaintext: Buffer, *, last: bool) -> bytes:
        """Chunk `index`, sealed. Never call it twice with one index and `last`."""
        return self._aead.encrypt(nonce(self._prefix, index, last=last), plaintext, self._aad)

    def open(self, index: int, sealed: Buffer, *, last: bool) -> bytes | None:
        """The plaintext of chunk `index`, or `None` if it is not authentic."""
        try:
            return self._aead.decrypt(nonce(self._prefix, index, last=last), sealed, self._aad)
        except InvalidTag:
            return None


class SealingStream:
    """Seals chunks that the caller has cut; `Sealer` cuts for you."""

    __slots__ = ("_cipher", "_index", "_last", "_plain_size", "header")

    def __init__(
        self, key: bytes, asset_id: bytes, prefix: bytes, *, chunk_size: int = CHUNK_SIZE
    ) -> None:
        """Start an asset. `key` with this `prefix` must never have sealed anything before."""
        header = Header(asset_id=asset_id, prefix=prefix, chunk_size=chunk_size)
        self.header: Final = header.to_bytes()
        self._cipher: Final = ChunkCipher(key, header)
        self._plain_size: Final = chunk_size - TAG_SIZE
        self._index = 0
        self._last = False

    def seal(self, chunk: Buffer, *, last: bool) -> bytes:
        """The next sealed chunk.

        Raises:
            ValueError: a chunk after the last, or one of a size that the format forbids.
            SealError: `asset.too_large`.
        """
        if self._last:
            raise ValueError("the last chunk is already sealed")
        full = len(chunk) == self._plain_size
        fits_last = 0 < len(chunk) <= self._plain_size or (not chunk and self._index == 0)
        if not (fits_last if last else full):
            raise ValueError(f"chunk {self._index} has illegal size {len(chunk)}")
        sealed = self._cipher.seal(self._index, chunk, last=last)
        self._index += 1
        self._last = last
        return sealed
