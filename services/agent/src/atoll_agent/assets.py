"""Opens sealed assets into memory-only storage and checks what they open to."""

import hashlib
from collections.abc import AsyncIterator
from typing import BinaryIO

from atoll.computation.assets import AssetRef
from atoll.errors import SealError
from atoll.framing import commitment
from atoll.sealing.asset import Opener
from atoll.sealing.release import ReleasedKey


async def open_asset(
    name: str, asset: AssetRef, key: ReleasedKey, sealed: AsyncIterator[bytes], into: BinaryIO
) -> None:
    """Stream `sealed` through the opener into a file; bounded memory.

    The content may be used only after this returned: until then it is not known whether
    it is all of it and whether it is what the manifest commits to.

    Raises:
        SealError: `asset.*` or `bus.object_corrupt`, naming the asset.

    Does not close `sealed`; an OSError of `into` passes through.
    """
    opener = Opener(key.content_key, bytes.fromhex(asset.asset_id))
    seen = hashlib.sha256()
    size = 0

    def write(plaintext: bytes) -> None:
        nonlocal size
        size += len(plaintext)
        if size > asset.size:
            raise SealError(f"opens to more than {asset.size} bytes", code="asset.size")
        seen.update(plaintext)
        into.write(plaintext)

    try:
        async for piece in sealed:
            for plaintext in opener.feed(piece):
                write(plaintext)
        write(opener.finish())
        if size != asset.size:
            raise SealError(f"opens to {size} bytes, want {asset.size}", code="asset.size")
        if commitment(key.salt, seen.digest()).hex() != asset.commitment:
            raise SealError("is not what the manifest commits to", code="asset.digest")
        if asset.sha256 is not None and seen.hexdigest() != asset.sha256:
            raise SealError("has another digest than the manifest says", code="asset.digest")
    except SealError as error:
        raise SealError(f"asset {name!r}: {error.message}", code=error.code) from error
