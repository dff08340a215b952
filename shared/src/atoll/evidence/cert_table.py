"""The certificate table of an extended report (AMD 56421 GHCB, SNP Extended Guest Request).

Entries of 24 bytes, ended by an all-zero one, then the blobs they point at:

| off | size | field  |
| 00  | 16   | GUID, in RFC 4122 byte order (unlike most GUIDs that firmware makes) |
| 10  | 4    | offset of the blob from the start of the table, little endian        |
| 14  | 4    | length of the blob, little endian                                    |

The host supplies the table, so nothing in it is an anchor, and blobs are PEM on some
systems and DER on others: `x509.ders` takes either. Blobs may stand in any order and
have gaps between them, but not lie inside the entries, overlap, or reach past the end.
"""

from dataclasses import dataclass
from typing import Final, Self
from uuid import UUID

from atoll.errors import MalformedEvidenceError

MAX_TABLE: Final = 64 << 10
MAX_ENTRIES: Final = 16
MAX_BLOB: Final = 16 << 10

VCEK: Final = UUID("63da758d-e664-4564-adc5-f4b93be8accd")
VLEK: Final = UUID("a8074bc2-a25a-483e-aae6-39c045a0b8a1")
ASK: Final = UUID("4ab7b379-bbac-4fe4-a02f-05aef327c782")
ARK: Final = UUID("c0b406a4-a803-4952-9743-3fb6014cd0ae")

_ENTRY: Final = 24
_CERTIFICATES: Final = (VCEK, VLEK, ASK, ARK)


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateTable:
    """GUIDs and their blobs, in table order; each GUID at most once."""

    entries: tuple[tuple[UUID, bytes], ...]

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Read a table that may be followed by padding.

        Raises:
            MalformedEvidenceError: unterminated, oversized, repeating a GUID, or with
                a blob outside the table, inside the entries or over another blob.
        """
        if len(raw) > MAX_TABLE:
            raise _fail(0, f"is {len(raw)} bytes, at most {MAX_TABLE}")
        headers = _headers(raw)
        start = _ENTRY * (len(headers) + 1)
        claimed: list[tuple[int, int]] = []
        entries: dict[UUID, bytes] = {}
        for index, (guid, offset, length) in enumerate(headers):
            end = offset + length
            if offset < start or end > len(raw) or not 1 <= length <= MAX_BLOB:
                raise _fail(_ENTRY * index, f"blob at 0x{offset:x} of {length} bytes is outside")
            if any(offset < other_end and other < end for other, other_end in claimed):
                raise _fail(_ENTRY * index, "blob lies over another")
            if guid in entries:
                raise _fail(_ENTRY * index, f"repeats {guid}")
            claimed.append((offset, end))
            entries[guid] = raw[offset:end]
        return cls(entries=tuple(entries.items()))

    def to_bytes(self) -> bytes:
        """The table with its blobs packed in order."""
        at = _ENTRY * (len(self.entries) + 1)
        head, body = bytearray(), bytearray()
        for guid, blob in self.entries:
            offset = at + len(body)
            head += guid.bytes + offset.to_bytes(4, "little") + len(blob).to_bytes(4, "little")
            body += blob
        return bytes(head + bytes(_ENTRY) + body)

    def certificates(self) -> tuple[bytes, ...]:
        """The blobs that are certificates, DER or PEM; other GUIDs are left out."""
        return tuple(blob for guid, blob in self.entries if guid in _CERTIFICATES)


def _headers(raw: bytes) -> list[tuple[UUID, int, int]]:
    headers: list[tuple[UUID, int, int]] = []
    for at in range(0, _ENTRY * (MAX_ENTRIES + 1), _ENTRY):
        entry = raw[at : at + _ENTRY]
        if len(entry) != _ENTRY:
            raise _fail(at, "ends without an all-zero entry")
        if not any(entry):
            return headers
        offset, length = (int.from_bytes(entry[i : i + 4], "little") for i in (16, 20))
        headers.append((UUID(bytes=entry[:16]), offset, length))
    raise _fail(0, f"has more than {MAX_ENTRIES} entries")


def _fail(at: int, reason: str) -> MalformedEvidenceError:
    return MalformedEvidenceError("certificate table", at, reason)
