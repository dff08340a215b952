"""How several values become one byte string that can be read in only one way.

Every digest, signature and HPKE `info` in Atoll is taken over a transcript: a
label that names the purpose and version, then each value behind its length.
Without the lengths, ("ab", "c") and ("a", "bc") would be the same bytes; without
the label, a signature made for one purpose could be shown for another.
"""

import hashlib


def lp(value: bytes) -> bytes:
    """`value` behind its length: 4 bytes, big-endian (architecture, section 4)."""
    return len(value).to_bytes(4, "big") + value


def transcript(label: str, *values: bytes) -> bytes:
    """The label as it is, then `lp` of each value."""
    return label.encode("ascii") + b"".join(lp(value) for value in values)


def commitment(salt: bytes, content_sha256: bytes) -> bytes:
    """A digest of content that cannot be confirmed by guessing the content.

    Args:
        salt: 32 random bytes, which travel only sealed.
        content_sha256: SHA-256 of the content.

    Returns:
        32 bytes: SHA-256 of the transcript "atoll commitment v1" over both.
    """
    if len(salt) != 32 or len(content_sha256) != 32:  # noqa: PLR2004
        raise ValueError("a commitment takes a 32-byte salt and a SHA-256 digest")
    return hashlib.sha256(transcript("atoll commitment v1", salt, content_sha256)).digest()
