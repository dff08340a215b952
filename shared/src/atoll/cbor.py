"""CBOR (RFC 8949) from strangers: with limits, and with exactly one encoding of each value.

The decoding itself is cbor2's. It understands many tags, some of which build recursive or
very large values, so a scan over the bytes comes first: it admits only definite lengths,
the tags that the caller names, the simple values false, true and null, and integers or text
as map keys, within the limits below. What is decoded is then encoded again and must give
the same bytes, which refuses repeated map keys and numbers that could be shorter.

The order of map keys is free in what is read (other writers sort by older rules) and that of
RFC 8949, section 4.2.1 in what is written.

Needs cbor2 (the extra `verify`), so the agent does not import this module.
"""

from collections.abc import Collection
from datetime import UTC
from typing import Any, Final

import cbor2

from atoll.errors import InputError

MAX_DEPTH: Final = 24
MAX_ITEMS: Final = 8192

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_KEYS: Final = frozenset({_UNSIGNED, _NEGATIVE, _TEXT})
_SIMPLE_VALUES: Final = frozenset({20, 21, 22})
_DIRECT: Final = 24
_WIDTHS: Final = {24: 1, 25: 2, 26: 4, 27: 8}


def dumps(value: Any) -> bytes:
    """The deterministic encoding of our own value (times become tag 1)."""
    return _dumps(_sorted(value))


def loads(raw: bytes, *, limit: int, tags: Collection[int] = ()) -> Any:
    """The one item that `raw` encodes.

    Args:
        raw: any bytes.
        limit: how many bytes there may be.
        tags: the tags that may occur.

    Raises:
        InputError: `cbor.malformed`.
    """
    if len(raw) > limit:
        raise _malformed(f"is {len(raw)} bytes, at most {limit}")
    scan = _Scan(raw, frozenset(tags))
    scan.item(MAX_DEPTH, key=False)
    if scan.at != len(raw):
        raise _malformed(f"has {len(raw) - scan.at} bytes after its end")
    try:
        value = cbor2.loads(raw)
        again = _dumps(value)
    except (ValueError, TypeError, OverflowError, OSError, EOFError, RecursionError) as error:
        raise _malformed(f"cannot be decoded: {error}"[:200]) from error
    if again != raw:
        raise _malformed("repeats a map key, or has a number that could be shorter")
    return value


class _Scan:
    """Walks over one item without building anything."""

    def __init__(self, raw: bytes, tags: frozenset[int]) -> None:
        self.at = 0
        self._raw = raw
        self._tags = tags
        self._items = 0

    def item(self, depth: int, *, key: bool) -> None:
        self._items += 1
        if depth == 0 or self._items > MAX_ITEMS:
            raise _malformed(f"is deeper than {MAX_DEPTH} or has over {MAX_ITEMS} items")
        first = self._octets(1)[0]
        kind, number = first >> 5, first & 0x1F
        if key and kind not in _KEYS:
            raise _malformed("has a map key that is neither an integer nor text")
        if kind == _SIMPLE:
            if number not in _SIMPLE_VALUES:
                raise _malformed(f"has the unsupported item 0x{first:02x}")
            return
        argument = self._argument(number)
        if kind in {_BYTES, _TEXT}:
            self._octets(argument)
        elif kind == _ARRAY:
            self._several(argument, depth)
        elif kind == _MAP:
            self._several(argument, depth, keys=True)
        elif kind == _TAG:
            if argument not in self._tags:
                raise _malformed(f"has the tag {argument}, which has no place here")
            self.item(depth - 1, key=False)

    def _several(self, count: int, depth: int, *, keys: bool = False) -> None:
        if count > MAX_ITEMS:
            raise _malformed(f"has an array or map of {count}, at most {MAX_ITEMS}")
        for _ in range(count):
            if keys:
                self.item(depth - 1, key=True)
            self.item(depth - 1, key=False)

    def _argument(self, number: int) -> int:
        if number < _DIRECT:
            return number
        if number not in _WIDTHS:
            raise _malformed("has an indefinite or reserved length")
        return int.from_bytes(self._octets(_WIDTHS[number]), "big")

    def _octets(self, size: int) -> bytes:
        if size > len(self._raw) - self.at:
            raise _malformed(f"ends at {len(self._raw)}, {size} bytes are wanted at {self.at}")
        self.at += size
        return self._raw[self.at - size : self.at]


def _dumps(value: Any) -> bytes:
    return cbor2.dumps(value, datetime_as_timestamp=True, timezone=UTC)


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        pairs = sorted(value.items(), key=lambda pair: _dumps(pair[0]))
        return {key: _sorted(item) for key, item in pairs}
    if isinstance(value, list | tuple):
        return [_sorted(item) for item in value]
    if isinstance(value, cbor2.CBORTag):
        return cbor2.CBORTag(value.tag, _sorted(value.value))
    return value


def _malformed(why: str) -> InputError:
    return InputError(f"CBOR {why}", code="cbor.malformed")
