"""Reading structures whose parts follow each other, with lengths from the wire."""

from atoll.errors import MalformedEvidenceError


class Cursor:
    """Takes one little-endian structure apart from front to back.

    Everything that does not fit raises `MalformedEvidenceError` with the offset from the
    start of the outermost structure.
    """

    def __init__(self, raw: bytes, *, structure: str, base: int = 0) -> None:
        self._raw = raw
        self._structure = structure
        self._base = base
        self._at = 0

    @property
    def offset(self) -> int:
        """Where the next part starts, counted from the start of the outermost structure."""
        return self._base + self._at

    def fail(self, reason: str) -> MalformedEvidenceError:
        """The error for what stands at the cursor."""
        return MalformedEvidenceError(self._structure, self.offset, reason)

    def block(self, size: int) -> bytes:
        """The next `size` bytes, all of them."""
        end = self._at + size
        if end > len(self._raw):
            left = len(self._raw) - self._at
            raise self.fail(f"has {left} bytes left, want {size}")
        start, self._at = self._at, end
        return self._raw[start:end]

    def uint(self, size: int) -> int:
        """The next unsigned integer."""
        return int.from_bytes(self.block(size), "little")

    def nested(self, size: int, *, structure: str) -> "Cursor":
        """A cursor over the next `size` bytes."""
        base = self.offset
        return Cursor(self.block(size), structure=structure, base=base)

    def only_zeros(self) -> None:
        """Check that nothing but zero bytes follows."""
        if any(self._raw[self._at :]):
            raise self.fail("is followed by bytes that are not zero")

    def finish(self) -> None:
        """Check that nothing follows."""
        if self._at != len(self._raw):
            raise self.fail(f"has {len(self._raw) - self._at} bytes more than its parts")
