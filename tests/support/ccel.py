"""CCEL logs for tests, built from the TCG structures."""

import hashlib
import struct

SHA1, SHA256, SHA384, SHA512 = 0x0004, 0x000B, 0x000C, 0x000D
SIZES = {SHA1: 20, SHA256: 32, SHA384: 48, SHA512: 64}


def sha384(data: bytes) -> bytes:
    """The digest of most tests."""
    return hashlib.sha384(data).digest()


def first(
    *algorithms: int, vendor: bytes = b"", signature: bytes = b"Spec ID Event03\x00"
) -> bytes:
    """The TCG_PCR_EVENT that names the algorithms, SHA-384 unless said otherwise."""
    named = algorithms or (SHA384,)
    body = (
        b"Spec ID Event03\x00"
        + struct.pack("<IBBBB", 0, 0, 2, 0, 2)
        + struct.pack("<I", len(named))
    )
    body += b"".join(struct.pack("<HH", one, SIZES.get(one, 8)) for one in named)
    body += bytes((len(vendor),)) + vendor
    return struct.pack("<II20sI", 1, 3, b"", len(body)) + body


def event(
    register: int, data: bytes, *, kind: int = 0x0D, digests: dict[int, bytes] | None = None
) -> bytes:
    """A TCG_PCR_EVENT2, with SHA-384 of the data unless digests are given."""
    given = {SHA384: sha384(data)} if digests is None else digests
    packed = b"".join(struct.pack("<H", one) + digest for one, digest in given.items())
    head = struct.pack("<III", register, kind, len(given))
    return head + packed + struct.pack("<I", len(data)) + data


def extended(*digests: bytes) -> bytes:
    """A register after these digests."""
    value = bytes(48)
    for digest in digests:
        value = sha384(value + digest)
    return value
