"""Reading structures whose parts follow each other, with lengths from the sender."""

from typing import Literal

from atoll.errors import MalformedEvidenceError


class Cursor:
    """Reads from the start to the end; what does not fit raises `MalformedEvidenceError`."""

    def __init__(
        self, raw: bytes, *, structure: str, order: Literal["little", "big"] = "little"
    ) -> None:
        self._raw = raw
        self._structure = structure
        self._order: Literal["little", "big"] = order
        self._at = 0

    @property
    def offset(self) -> int:
        """Where the next part starts."""
        return self._at

    @property
    def left(self) -> int:
        """How many bytes follow."""
        return len(self._raw) - self._at

    def fail(self, reason: str) -> MalformedEvidenceError:
        """The error for what stands before the cursor."""
        return MalformedEvidenceError(self._structure, self._at, reason)

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

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, or what is left of them, without consuming them."""
        return self._raw[self._at : self._at + size]

    def rest(self) -> bytes:
        """Everything that follows, without consuming it."""
        return self._raw[self._at :]

    def finish(self) -> None:
        """Check that nothing follows."""
        if self.left:
            raise self.fail(f"has {self.left} bytes after its end")
