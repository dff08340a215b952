"""Records of assets, and what their sealed objects must be."""

import hashlib

from atoll.client.asset_record import AssetKind, AssetRecord, AssetState
from atoll.sealing.asset import seal_chunks

CONTENT = b"content"


def record(name: str = "iris", content: bytes = CONTENT) -> AssetRecord:
    """The same each time, of a file with this content; its secrets are none."""
    return AssetRecord(
        name=name,
        provider="me",
        kind=AssetKind.FILE,
        asset_id=hashlib.sha256(name.encode()).hexdigest()[:32],
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        public_digest=False,
        content_key=hashlib.sha256(b"key " + name.encode()).digest(),
        salt=hashlib.sha256(b"salt " + name.encode()).digest(),
        prefix=b"prefix.",
        state=AssetState.UPLOADING,
        remote="nats://127.0.0.1:4222",
        created_ms=1_780_000_000_000,
    )


def sealed(made: AssetRecord, content: bytes) -> bytes:
    """The sealed asset as one that was never interrupted would be."""
    secrets = made.secrets
    return b"".join(
        seal_chunks(made.content_key, [content], asset_id=secrets.asset_id, prefix=secrets.prefix)
    )
