"""A sealed asset as a manifest names it: whose it is, where it lies, what it must open to."""

from typing import Annotated

from atoll.wire.schema import Digest, Name, Pattern, Range, message

AssetId = Annotated[str, Pattern(r"[0-9a-f]{32}")]


@message
class AssetRef:
    """The control plane sees this and must not be able to confirm a guess of the content."""

    provider: Name
    asset_id: AssetId
    commitment: Digest
    """A salted digest of the plaintext (`atoll.framing.commitment`)."""
    size: Annotated[int, Range(0, 1 << 44)]
    """Bytes of the plaintext, which the length of the ciphertext shows anyway."""
    sha256: Digest | None = None
    """Of the plaintext, where its provider wants everybody to know what it is: then other
    parties can agree to exactly this program, and anybody can confirm a guess of it."""
