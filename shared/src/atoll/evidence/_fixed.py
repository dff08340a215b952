"""Reading and writing structures whose fields stand at fixed offsets."""

from atoll.errors import MalformedEvidenceError


class FixedReader:
    """Reads one little-endian structure by the offsets that its specification prints.

    Every byte must be claimed exactly once before `finish`, so a parser cannot skip
    a field or read one twice without a test noticing. What the bytes say is the
    sender's affair and raises `MalformedEvidenceError`; a claim outside the structure
    or over another claim is our own bug and raises `AssertionError`.
    """

    def __init__(self, raw: bytes, *, structure: str, size: int) -> None:
        if len(raw) != size:
            raise MalformedEvidenceError(structure, 0, f"is {len(raw)} bytes, want {size}")
        self._raw = bytes(raw)
        self._structure = structure
        self._free = bytearray(b"\x01" * size)

    def octets(self, at: int, size: int) -> bytes:
        """`size` bytes from offset `at`."""
        end = at + size
        if at < 0 or end > len(self._raw) or not all(self._free[at:end]):
            raise AssertionError(f"{self._structure}: layout bug at 0x{at:x}")
        self._free[at:end] = bytes(size)
        return self._raw[at:end]

    def uint(self, at: int, size: int) -> int:
        """A little-endian unsigned integer."""
        return int.from_bytes(self.octets(at, size), "little")

    def zeros(self, at: int, size: int) -> None:
        """Claim a range that the specification reserves and requires to be zero."""
        if any(self.octets(at, size)):
            raise MalformedEvidenceError(self._structure, at, f"{size} reserved bytes are not zero")

    def fail(self, at: int, reason: str) -> MalformedEvidenceError:
        """The error for a field that was read and makes no sense."""
        return MalformedEvidenceError(self._structure, at, reason)

    def finish(self) -> None:
        """Check that every byte belongs to a field or a reserved range."""
        gap = self._free.find(1)
        if gap != -1:
            raise AssertionError(f"{self._structure}: no field claims byte 0x{gap:x}")


class FixedWriter:
    """Fills one little-endian structure by offset; what is not written stays zero."""

    def __init__(self, *, size: int) -> None:
        self._raw = bytearray(size)

    def octets(self, at: int, size: int, value: bytes) -> None:
        """Put `value`, which must be `size` bytes."""
        if len(value) != size:
            raise ValueError(f"field at 0x{at:x} takes {size} bytes, not {len(value)}")
        self._raw[at : at + size] = value

    def uint(self, at: int, size: int, value: int) -> None:
        """Put a little-endian unsigned integer."""
        self.octets(at, size, value.to_bytes(size, "little"))

    def finish(self) -> bytes:
        """The whole structure."""
        return bytes(self._raw)
