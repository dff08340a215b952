"""Protobuf's wire format, as far as OTLP needs it.

Source: protobuf.dev, "Encoding". A message is records of a tag and a value; the tag is
a varint of field number << 3 | wire type.

    wire type  value                        Python
    0          varint, at most 10 bytes     int, unsigned 64 bits
    1          8 bytes, little-endian       int
    2          varint length, then bytes    bytes
    5          4 bytes, little-endian       int

Groups (wire types 3 and 4) and the unused types 6 and 7 are refused.
"""

from collections.abc import Iterator
from typing import Final

from atoll.errors import MessageError

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5
_WIDTHS: Final = {FIXED64: 8, FIXED32: 4}

_MAX_VARINT: Final = 10
_MAX_FIELD: Final = (1 << 29) - 1
_MASK64: Final = (1 << 64) - 1

Field = tuple[int, int, int | bytes]
"""Field number, wire type, value."""


def malformed(why: str) -> MessageError:
    """The one error for bytes that are not the telemetry they should be."""
    return MessageError(f"not an OTLP trace export: {why}", code="telemetry.malformed")


def fields(raw: bytes) -> Iterator[Field]:
    """The records of one message, in order; unknown field numbers included.

    Raises:
        MessageError: `telemetry.malformed`.
    """
    at = 0
    while at < len(raw):
        tag, at = _varint(raw, at)
        number, wire_type = tag >> 3, tag & 7
        if not 1 <= number <= _MAX_FIELD:
            raise malformed(f"field number {number}")
        if wire_type == VARINT:
            value, at = _varint(raw, at)
            yield number, wire_type, value
        elif wire_type == BYTES:
            length, at = _varint(raw, at)
            block, at = _block(raw, at, length)
            yield number, wire_type, block
        elif wire_type in _WIDTHS:
            block, at = _block(raw, at, _WIDTHS[wire_type])
            yield number, wire_type, int.from_bytes(block, "little")
        else:
            raise malformed(f"wire type {wire_type}")


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(_MAX_VARINT):
        if at + index >= len(raw):
            raise malformed("ends inside a number")
        byte = raw[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:  # noqa: PLR2004
            if value > _MASK64:
                raise malformed("a number of more than 64 bits")
            return value, at + index + 1
    raise malformed("a number of more than 10 bytes")


def _block(raw: bytes, at: int, length: int) -> tuple[bytes, int]:
    if length > len(raw) - at:
        raise malformed("ends inside a field")
    return raw[at : at + length], at + length


def varint(value: int) -> bytes:
    """`value` as a varint; a negative one in two's complement of 64 bits."""
    value &= _MASK64
    out = bytearray()
    while value >= 0x80:  # noqa: PLR2004
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def put_int(number: int, value: int) -> bytes:
    """A varint field."""
    return varint(number << 3 | VARINT) + varint(value)


def put_bytes(number: int, value: bytes) -> bytes:
    """A field of bytes, text or a message."""
    return varint(number << 3 | BYTES) + varint(len(value)) + value


def put_text(number: int, value: str) -> bytes:
    """A text field. A lone surrogate, which has no UTF-8 form, becomes `?`."""
    return put_bytes(number, value.encode("utf-8", "replace"))


def put_fixed64(number: int, value: int) -> bytes:
    """A fixed64 field."""
    return varint(number << 3 | FIXED64) + value.to_bytes(8, "little")


def put_fixed32(number: int, value: int) -> bytes:
    """A fixed32 field."""
    return varint(number << 3 | FIXED32) + value.to_bytes(4, "little")


def signed64(value: int) -> int:
    """An int64 from the unsigned value of its varint."""
    return value - (1 << 64) if value >> 63 else value
