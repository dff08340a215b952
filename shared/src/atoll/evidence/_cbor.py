"""A strict reader for the CBOR inside certificates (RFC 8949, core deterministic encoding).

Own and small, because what verifies evidence also runs where no CBOR library does. Read are
unsigned and negative integers, byte and text strings, arrays, maps with distinct text keys,
tags, booleans and null; lengths must be definite and every number as short as it can be.
"""

from dataclasses import dataclass
from typing import Any, Final

from atoll.evidence._cursor import Cursor

MAX_DEPTH: Final = 8
MAX_ITEMS: Final = 256

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_SIMPLE_VALUES: Final = {20: False, 21: True, 22: None}
_DIRECT: Final = 24
_WIDTHS: Final = {24: 1, 25: 2, 26: 4, 27: 8}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged:
    """A value under a tag."""

    tag: int
    value: Any


def loads(raw: bytes, *, structure: str) -> Any:
    """The one item that `raw` encodes.

    Raises:
        MalformedEvidenceError: anything else, nested deeper than `MAX_DEPTH`, or an array
            or map of more than `MAX_ITEMS`.
    """
    cursor = Cursor(bytes(raw), structure=structure, order="big")
    value = _item(cursor, MAX_DEPTH)
    cursor.finish()
    return value


def _item(cursor: Cursor, depth: int) -> Any:
    if depth == 0:
        raise cursor.fail(f"is nested deeper than {MAX_DEPTH}")
    kind, number = _head(cursor)
    if kind == _UNSIGNED:
        return number
    if kind == _NEGATIVE:
        return -1 - number
    if kind == _BYTES:
        return cursor.octets(number)
    if kind == _TEXT:
        return _text(cursor, number)
    if kind == _TAG:
        return Tagged(tag=number, value=_item(cursor, depth - 1))
    if kind == _SIMPLE:
        return _SIMPLE_VALUES[number]
    if number > MAX_ITEMS:
        raise cursor.fail(f"has an array or map of {number}, at most {MAX_ITEMS}")
    if kind == _ARRAY:
        return [_item(cursor, depth - 1) for _ in range(number)]
    return _map(cursor, number, depth)


def _head(cursor: Cursor) -> tuple[int, int]:
    """(major type, argument)."""
    first = cursor.uint(1)
    kind, number = first >> 5, first & 0x1F
    if kind == _SIMPLE:
        if number not in _SIMPLE_VALUES:
            raise cursor.fail(f"has the unsupported item 0x{first:02x}")
        return kind, number
    if number < _DIRECT:
        return kind, number
    if number not in _WIDTHS:
        raise cursor.fail("has an indefinite or reserved length")
    width = _WIDTHS[number]
    value = cursor.uint(width)
    shortest = _DIRECT if width == 1 else 1 << 4 * width
    if value < shortest:
        raise cursor.fail("has a number that is not as short as it can be")
    return kind, value


def _text(cursor: Cursor, size: int) -> str:
    try:
        return cursor.octets(size).decode("utf-8")
    except UnicodeDecodeError as error:
        raise cursor.fail("has text that is not UTF-8") from error


def _map(cursor: Cursor, count: int, depth: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for _ in range(count):
        key = _item(cursor, depth - 1)
        if not isinstance(key, str) or key in result:
            raise cursor.fail("has a map with a repeated key, or one that is not text")
        result[key] = _item(cursor, depth - 1)
    return result
