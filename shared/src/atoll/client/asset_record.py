"""What an owner keeps of an asset: its keys, and what the upload must be. Pure.

One canonical JSON document for each asset (`docs/formats/asset-store.md`). It is a secret: it
has the content key. The card, which is the `AssetRef` of a manifest, is not.

A record is made once, before the first byte is sealed, and fixes which plaintext its content
key seals: the one with this SHA-256. Only `state`, `remote` and `public_digest` ever change.
"""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import field, replace
from enum import Enum
from typing import Annotated, Any, Final, Self
from urllib.parse import urlsplit

from atoll import canonical
from atoll.client.assets import PreparedAsset
from atoll.computation.assets import AssetId, AssetRef
from atoll.errors import InputError
from atoll.framing import commitment, transcript
from atoll.sealing.asset import ciphertext_size
from atoll.sealing.release import ReleasedKey
from atoll.sealing.stream import KEY_SIZE, PREFIX_SIZE, SALT_SIZE, AssetSecrets
from atoll.wire import schema
from atoll.wire.schema import Digest, Name, Pattern, Range, Size, Timestamp, message

FORMAT: Final = "atoll-asset"
VERSION: Final = 1
MAX_RECORD: Final = 16 << 10
MAX_ASSET: Final = 1 << 40
"""Bytes of the largest plaintext that is put: 1 TiB."""


class AssetKind(Enum):
    FILE = "file"
    DIRECTORY = "directory"
    """Sealed as its deterministic archive (`atoll.client.tree`)."""


class AssetState(Enum):
    UPLOADING = "uploading"
    """Some of it may be on the bus."""
    STORED = "stored"
    """The bus had all of it when we last looked."""


@message
class AssetRecord:
    format: Annotated[str, Pattern(FORMAT)] = FORMAT
    version: Annotated[int, Range(VERSION, VERSION)] = VERSION
    name: Name
    provider: Name
    """Whose asset it is: the name of an identity key."""
    kind: AssetKind
    asset_id: AssetId
    size: Annotated[int, Range(0, MAX_ASSET)]
    """Bytes of the plaintext; of a directory, of its archive."""
    sha256: Digest
    """Of the plaintext."""
    public_digest: bool
    """Whether the card shows `sha256`."""
    content_key: Annotated[bytes, Size(KEY_SIZE, KEY_SIZE)] = field(repr=False)
    salt: Annotated[bytes, Size(SALT_SIZE, SALT_SIZE)] = field(repr=False)
    prefix: Annotated[bytes, Size(PREFIX_SIZE, PREFIX_SIZE)]
    state: AssetState
    remote: Annotated[str, Size(0, 1024)]
    """The address of the bus it was sent to last."""
    created_ms: Timestamp

    @classmethod
    def new(
        cls,
        *,
        name: str,
        provider: str,
        kind: AssetKind,
        size: int,
        sha256: str,
        public_digest: bool,
        remote: str,
        created_ms: int,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> Self:
        """A record with fresh secrets, of which nothing is sealed yet."""
        fresh = AssetSecrets.generate(random)
        return cls(
            name=name,
            provider=provider,
            kind=kind,
            asset_id=fresh.asset_id.hex(),
            size=size,
            sha256=sha256,
            public_digest=public_digest,
            content_key=fresh.content_key,
            salt=fresh.salt,
            prefix=fresh.prefix,
            state=AssetState.UPLOADING,
            remote=remote,
            created_ms=created_ms,
        )

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """A legal record from its canonical bytes, with or without a line end.

        Raises:
            InputError: `asset.malformed`.
        """
        if len(raw) > MAX_RECORD:
            raise _malformed(f"is over {MAX_RECORD} bytes")
        try:
            plain = canonical.loads(raw.removesuffix(b"\n"))
            made = schema.from_plain(cls, plain, json=True)
        except InputError as error:
            raise _malformed(f"is not one: {error.message}") from error
        if made.to_bytes() != raw.removesuffix(b"\n") + b"\n":
            # For instance without a member that has a default.
            raise _malformed("is not in its one form")
        return made

    def to_bytes(self) -> bytes:
        """The file: canonical JSON and a line end."""
        plain: dict[str, Any] = schema.to_plain(self, json=True)
        return canonical.dumps(plain) + b"\n"

    def with_public_digest(self) -> Self:
        """The same asset, of which everybody may know what it is."""
        return replace(self, public_digest=True)

    @property
    def ref(self) -> AssetRef:
        """How a manifest names it."""
        return AssetRef(
            provider=self.provider,
            asset_id=self.asset_id,
            commitment=commitment(self.salt, bytes.fromhex(self.sha256)).hex(),
            size=self.size,
            sha256=self.sha256 if self.public_digest else None,
        )

    @property
    def card(self) -> dict[str, Any]:
        """`ref` as JSON values, for whoever writes the manifest: nothing in it is secret."""
        plain: dict[str, Any] = schema.to_plain(self.ref, json=True)
        return {key: value for key, value in plain.items() if value is not None}

    @property
    def secrets(self) -> AssetSecrets:
        """What it is sealed under."""
        return AssetSecrets(
            content_key=self.content_key,
            salt=self.salt,
            asset_id=bytes.fromhex(self.asset_id),
            prefix=self.prefix,
        )

    @property
    def upload_id(self) -> str:
        """What its chunks are stored under: known to whoever has the key, and to nobody else."""
        asset_id = bytes.fromhex(self.asset_id)
        seed = transcript("atoll upload id v1", self.content_key, asset_id)
        return hashlib.sha256(seed).hexdigest()

    @property
    def released(self) -> ReleasedKey:
        """What an enclave gets of it."""
        return ReleasedKey(content_key=self.content_key, salt=self.salt)

    @property
    def prepared(self) -> PreparedAsset:
        """The same as if it had been uploaded for one job."""
        return PreparedAsset(ref=self.ref, secrets=self.secrets, content_sha256=self.sha256)

    @property
    def sealed_size(self) -> int:
        """Bytes of the sealed asset."""
        return ciphertext_size(self.size)


def address(url: str) -> str:
    """A bus address without the login that it may hold."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _malformed(why: str) -> InputError:
    return InputError(f"asset record {why}", code="asset.malformed")
