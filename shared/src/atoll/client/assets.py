"""Seals a file while it is uploaded: one pass, bounded memory."""

import hashlib
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from atoll.client.connection import AtollClient
from atoll.computation.assets import AssetRef
from atoll.errors import InputError
from atoll.framing import commitment
from atoll.sealing.asset import seal_chunks
from atoll.sealing.stream import AssetSecrets

PIECE: Final = 524_272
"""Bytes read at once: the content of one sealed chunk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedAsset:
    """An uploaded asset with what only its provider knows."""

    ref: AssetRef
    secrets: AssetSecrets = field(repr=False)
    content_sha256: str
    """Of the plaintext; together with the salt it opens the commitment."""


async def upload_file(client: AtollClient, path: Path, *, provider: str) -> PreparedAsset:
    """Seal and upload the content of a file.

    Raises:
        InputError: `file.unreadable`.
    """
    try:
        with path.open("rb") as file:
            pieces = iter(lambda: file.read(PIECE), b"")
            return await upload_pieces(client, pieces, provider=provider)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", code="file.unreadable") from error


async def upload_pieces(
    client: AtollClient, pieces: Iterable[bytes], *, provider: str
) -> PreparedAsset:
    """Seal and upload what `pieces` yields, under fresh secrets."""
    fresh = AssetSecrets.generate(secrets.token_bytes)
    seen = hashlib.sha256()
    size = 0

    def counted() -> Iterator[bytes]:
        nonlocal size
        for piece in pieces:
            size += len(piece)
            seen.update(piece)
            yield piece

    chunks = seal_chunks(fresh.content_key, counted(), asset_id=fresh.asset_id, prefix=fresh.prefix)
    await client.upload(fresh.asset_id.hex(), chunks)
    ref = AssetRef(
        provider=provider,
        asset_id=fresh.asset_id.hex(),
        commitment=commitment(fresh.salt, seen.digest()).hex(),
        size=size,
    )
    return PreparedAsset(ref=ref, secrets=fresh, content_sha256=seen.hexdigest())
