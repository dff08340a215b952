"""Reading structures whose parts follow each other, with lengths from the sender."""

from typing import Literal

from atoll.errors import MalformedEvidenceError


class Cursor:
    """Reads from the start to the end; what does not fit raises `MalformedEvidenceError`.

    Offsets, in errors too, count from the start of the outermost structure.
    """

    def __init__(
        self,
        raw: bytes,
        *,
        structure: str,
        order: Literal["little", "big"] = "little",
        base: int = 0,
    ) -> None:
        self._raw = raw
        self._structure = structure
        self._order: Literal["little", "big"] = order
        self._base = base
        self._at = 0

    @property
    def offset(self) -> int:
        """Where the next part starts."""
        return self._base + self._at

    @property
    def left(self) -> int:
        """How many bytes follow."""
        return len(self._raw) - self._at

    def fail(self, reason: str) -> MalformedEvidenceError:
        """The error for what stands before the cursor."""
        return MalformedEvidenceError(self._structure, self.offset, reason)

    def octets(self, size: int) -> bytes:
        """The next `size` bytes."""
        if not 0 <= size <= self.left:
            raise self.fail(f"wants {size} bytes, {self.left} follow")
        start, self._at = self._at, self._at + size
        return self._raw[start : self._at]

    def uint(self, size: int) -> int:
        """An unsigned integer of `size` bytes."""
        return int.from_bytes(self.octets(size), self._order)

    def block(self, size: int, *, limit: int) -> bytes:
        """Bytes behind their length, which is an integer of `size` bytes, at most `limit`."""
        length = self.uint(size)
        if length > limit:
            raise self.fail(f"has a block of {length} bytes, at most {limit}")
        return self.octets(length)

    def nested(self, size: int, *, structure: str) -> "Cursor":
        """A cursor over the next `size` bytes."""
        base = self.offset
        return Cursor(self.octets(size), structure=structure, order=self._order, base=base)

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, or what is left of them, without consuming them."""
        return self._raw[self._at : self._at + size]

    def rest(self) -> bytes:
        """Everything that follows, without consuming it."""
        return self._raw[self._at :]

    def only_zeros(self) -> None:
        """Check that nothing but zero bytes follows."""
        if any(self.rest()):
            raise self.fail("is followed by bytes that are not zero")

    def finish(self) -> None:
        """Check that nothing follows."""
        if self.left:
            raise self.fail(f"has {self.left} bytes after its end")
