"""Strict CBOR for evidence: in certificates and in wrappers (RFC 8949, section 4.2.1).

Own and small, because what makes and verifies evidence also runs where no CBOR library does.
Read are unsigned and negative integers, byte and text strings, arrays, maps with distinct keys,
tags, booleans and null; lengths must be definite and every number as short as it can be. The
order of map keys is free in what is read and the RFC's in what is written.
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

_Keys = tuple[type, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged:
    """A value under a tag."""

    tag: int
    value: Any


def loads(raw: bytes, *, structure: str, integer_keys: bool = False) -> Any:
    """The one item that `raw` encodes.

    Args:
        raw: any bytes.
        structure: what errors call it.
        integer_keys: whether map keys may be integers beside text.

    Raises:
        MalformedEvidenceError: anything else, nested deeper than `MAX_DEPTH`, or an array
            or map of more than `MAX_ITEMS`.
    """
    cursor = Cursor(bytes(raw), structure=structure, order="big")
    value = _item(cursor, MAX_DEPTH, (str, int) if integer_keys else (str,))
    cursor.finish()
    return value


def dumps(value: Any) -> bytes:
    """The deterministic encoding of our own value.

    Raises:
        TypeError: of a type that is not among those that are read.
        ValueError: an integer of more than 64 bits.
    """
    if value is None or isinstance(value, bool):
        number = {False: 20, True: 21, None: 22}[value]
        return bytes([_SIMPLE << 5 | number])
    if isinstance(value, int):
        return _header(_UNSIGNED, value) if value >= 0 else _header(_NEGATIVE, -1 - value)
    if isinstance(value, bytes):
        return _header(_BYTES, len(value)) + value
    if isinstance(value, str):
        raw = value.encode("utf-8")
        return _header(_TEXT, len(raw)) + raw
    if isinstance(value, list | tuple):
        return _header(_ARRAY, len(value)) + b"".join(map(dumps, value))
    if isinstance(value, dict):
        items = {dumps(key): dumps(item) for key, item in value.items()}
        body = b"".join(key + items[key] for key in sorted(items))
        return _header(_MAP, len(items)) + body
    if isinstance(value, Tagged):
        return _header(_TAG, value.tag) + dumps(value.value)
    raise TypeError(f"{type(value).__name__} has no encoding here")


def _header(kind: int, number: int) -> bytes:
    if number < _DIRECT:
        return bytes([kind << 5 | number])
    for code, width in _WIDTHS.items():
        if number < 1 << 8 * width:
            return bytes([kind << 5 | code]) + number.to_bytes(width, "big")
    raise ValueError(f"{number} has more than 64 bits")


def _item(cursor: Cursor, depth: int, keys: _Keys) -> Any:
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
        return Tagged(tag=number, value=_item(cursor, depth - 1, keys))
    if kind == _SIMPLE:
        return _SIMPLE_VALUES[number]
    if number > MAX_ITEMS:
        raise cursor.fail(f"has an array or map of {number}, at most {MAX_ITEMS}")
    if kind == _ARRAY:
        return [_item(cursor, depth - 1, keys) for _ in range(number)]
    return _map(cursor, number, depth, keys)


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


def _map(cursor: Cursor, count: int, depth: int, keys: _Keys) -> dict[Any, Any]:
    result: dict[Any, Any] = {}
    for _ in range(count):
        key = _item(cursor, depth - 1, keys)
        if not isinstance(key, keys) or isinstance(key, bool) or key in result:
            raise cursor.fail("has a map with a repeated key, or one of a wrong type")
        result[key] = _item(cursor, depth - 1, keys)
    return result
