"""Sealed assets as a client stores them: chunks straight to the bus, the rest by the gateway.

A chunk is published on `$O.assets.C.<upload id>`. The upload id is 128 bits or more that only
the uploader knows: who knows it may add chunks to the upload, and nobody can read it from the
bus. The asset exists when the gateway was asked to put it.
"""

from typing import Annotated

from atoll.wire.reading import Chunks, ObjectId, ObjectSize, Place
from atoll.wire.schema import Digest, Pattern, message

UploadId = Annotated[str, Pattern(r"[0-9a-f]{32,64}")]


@message
class AssetRequest:
    asset_id: ObjectId


@message
class AssetView:
    """A sealed asset of the tenant that asks: its ciphertext's size and digest."""

    asset_id: ObjectId
    size: ObjectSize
    sha256: Digest


@message
class UploadRequest:
    upload_id: UploadId


@message
class UploadState:
    """What is stored of an upload: so many chunks in order, the last of them at `last`."""

    chunks: Chunks
    last: Place


@message
class AssetPutRequest:
    """All chunks are there; from now on they are this asset, of the tenant that asks."""

    asset_id: ObjectId
    upload_id: UploadId
    size: ObjectSize
    chunks: Chunks
    sha256: Digest


@message
class AssetEraseRequest:
    """Erase an asset, and what is stored under the upload id, if one is given."""

    asset_id: ObjectId
    upload_id: UploadId | None = None


@message
class AssetErased:
    found: bool
    """Whether it was there as a whole."""
