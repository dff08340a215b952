"""A strict reader for the DER that AMD's and Intel's certificates use (ITU-T X.690, section 10).

Own reader, because the certificates on every SEV-SNP host have the serial number 0,
which general X.509 libraries announce they will stop loading, and because AMD's HWID
extension is not DER at all. Lengths must be definite and minimal, integers minimal,
booleans 00 or FF; anything else is `MalformedEvidenceError`.
"""

from datetime import UTC, datetime
from typing import Final

from atoll.errors import MalformedEvidenceError

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
OID: Final = 0x06
UTF8_STRING: Final = 0x0C
PRINTABLE_STRING: Final = 0x13
IA5_STRING: Final = 0x16
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
SEQUENCE: Final = 0x30
SET: Final = 0x31

_SHORT: Final = 0x80
_MAX_LENGTH_OCTETS: Final = 3
_UTC_TIME_SIZE: Final = 13
_UTC_TIME_PIVOT: Final = 50


class DerReader:
    """A cursor over the content of one constructed value."""

    def __init__(self, raw: bytes, *, structure: str, base: int = 0) -> None:
        self._raw = raw
        self._structure = structure
        self._base = base
        self._at = 0

    @property
    def offset(self) -> int:
        """Where the next value starts, counted from the start of the outermost structure."""
        return self._base + self._at

    @property
    def empty(self) -> bool:
        """Whether everything was read."""
        return self._at == len(self._raw)

    def fail(self, reason: str) -> MalformedEvidenceError:
        """The error for what stands at the cursor."""
        return MalformedEvidenceError(self._structure, self.offset, reason)

    def next_is(self, tag: int) -> bool:
        """Whether a value with this tag follows."""
        return not self.empty and self._raw[self._at] == tag

    def element(self, tag: int) -> bytes:
        """The next value with its tag and length."""
        start = self._at
        self.content(tag)
        return self._raw[start : self._at]

    def content(self, tag: int) -> bytes:
        """The content of the next value, which must have this tag."""
        if self.empty:
            raise self.fail(f"ends where tag 0x{tag:02x} is wanted")
        if self._raw[self._at] != tag:
            raise self.fail(f"has tag 0x{self._raw[self._at]:02x}, want 0x{tag:02x}")
        header, length = self._length()
        start = self._at + header
        if start + length > len(self._raw):
            raise self.fail(f"claims {length} bytes, more than are there")
        self._at = start + length
        return self._raw[start : start + length]

    def nested(self, tag: int) -> "DerReader":
        """A reader over the content of the next value."""
        content = self.content(tag)
        return DerReader(
            content, structure=self._structure, base=self._base + self._at - len(content)
        )

    def rest(self) -> bytes:
        """The one value that is left, whatever its tag, with its tag and length."""
        if self.empty:
            raise self.fail("ends where a value is wanted")
        element = self.element(self._raw[self._at])
        self.finish()
        return element

    def uint(self, tag: int = INTEGER) -> int:
        """A non-negative INTEGER (or ENUMERATED) in its one minimal encoding."""
        content = self.content(tag)
        if not content or content[0] >= _SHORT:
            raise self.fail("has an empty or negative INTEGER before this point")
        if len(content) > 1 and content[0] == 0 and content[1] < _SHORT:
            raise self.fail("has an INTEGER that is not minimal before this point")
        return int.from_bytes(content, "big")

    def boolean(self) -> bool:
        """A BOOLEAN, 00 or FF."""
        content = self.content(BOOLEAN)
        if content not in (b"\x00", b"\xff"):
            raise self.fail("has a BOOLEAN other than 00 or FF before this point")
        return content == b"\xff"

    def bits(self) -> bytes:
        """A BIT STRING of whole bytes."""
        content = self.content(BIT_STRING)
        if content[:1] != b"\x00":
            raise self.fail("has a BIT STRING that is not whole bytes before this point")
        return content[1:]

    def time(self) -> datetime:
        """A UTCTime or GeneralizedTime as RFC 5280, section 4.1.2.5 wants them."""
        tag = UTC_TIME if self.next_is(UTC_TIME) else GENERALIZED_TIME
        content = self.content(tag)
        digits = content[:-1]
        if content[-1:] != b"Z" or not digits.isdigit():
            raise self.fail("has a time that is not digits and Z before this point")
        text = digits.decode("ascii")
        if tag == UTC_TIME and len(content) != _UTC_TIME_SIZE:
            raise self.fail("has a UTCTime of another length before this point")
        if tag == UTC_TIME:
            text = ("20" if int(text[:2]) < _UTC_TIME_PIVOT else "19") + text
        try:
            if len(text) != len("YYYYMMDDHHMMSS"):
                raise ValueError("wrong length")
            return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        except ValueError as error:
            raise self.fail("has an impossible time before this point") from error

    def finish(self) -> None:
        """Check that nothing follows."""
        if not self.empty:
            raise self.fail("has bytes after its end")

    def _length(self) -> tuple[int, int]:
        """(size of tag and length octets, length)."""
        octets = self._raw[self._at + 1 : self._at + 2]
        if not octets:
            raise self.fail("ends inside a length")
        first = octets[0]
        if first < _SHORT:
            return 2, first
        count = first - _SHORT
        octets = self._raw[self._at + 2 : self._at + 2 + count]
        if not 1 <= count <= _MAX_LENGTH_OCTETS or len(octets) != count:
            raise self.fail("has an indefinite, oversized or cut length")
        length = int.from_bytes(octets, "big")
        if octets[0] == 0 or length < _SHORT:
            raise self.fail("has a length that is not minimal")
        return 2 + count, length


def oid(dotted: str) -> bytes:
    """The content octets of an object identifier (X.690, section 8.19)."""
    first, second, *rest = (int(part) for part in dotted.split("."))
    result = bytearray()
    for arc in (first * 40 + second, *rest):
        septets = [arc & 0x7F]
        while arc := arc >> 7:
            septets.append(arc & 0x7F | _SHORT)
        result += bytes(reversed(septets))
    return bytes(result)
