"""Strict JSON whose exact bytes are signed (Intel PCS API version 4).

The signature covers the bytes of the value as they were sent, so they are kept and
never written anew. One text has one meaning here: duplicate keys, floats, numbers of
more than ten digits, NaN and nesting that exhausts the stack are refused. Unknown keys
are skipped, since Intel adds keys within a version; what changes the meaning of the
rest changes the version, which is checked.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

from atoll.errors import MalformedEvidenceError

MAX_DOCUMENT: Final = 128 << 10
MAX_ITEMS: Final = 512
MAX_STRING: Final = 256

_MAX_DIGITS: Final = 10
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})*")
_SIGNATURE_HEX: Final = 128
_TAIL: Final = re.compile(r'\s*,\s*"signature"\s*:\s*"([0-9a-fA-F]{128})"\s*\}\s*')


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedJson:
    """The exact bytes of a JSON value, and the 64-byte signature r || s over them."""

    raw: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.signature) != _SIGNATURE_HEX // 2:
            raise MalformedEvidenceError("signature", 0, f"is {len(self.signature)} bytes, want 64")


def with_hex_signature(raw: bytes, signature_hex: bytes) -> SignedJson:
    """A value and its signature as they are kept in two files, the signature in hex.

    Raises:
        MalformedEvidenceError: the signature is not 128 hex digits.
    """
    text = signature_hex.strip(b"\r\n")
    if len(text) != _SIGNATURE_HEX or not text.isalnum():
        raise MalformedEvidenceError("signature", 0, "is not 128 hex digits")
    try:
        return SignedJson(raw=raw, signature=bytes.fromhex(text.decode("ascii")))
    except ValueError as error:
        raise MalformedEvidenceError("signature", 0, "is not 128 hex digits") from error


def open_envelope(raw: bytes, name: str) -> SignedJson:
    """Take `{"<name>": {...}, "signature": "<hex>"}` apart, as the PCS answers.

    Raises:
        MalformedEvidenceError: anything else, as two values or keys in another order.
    """
    text = _text(raw, name)
    head = re.match(r'\s*\{\s*"%s"\s*:\s*' % re.escape(name), text)  # noqa: UP031 - braces
    if head is None:
        _malformed(name, "is not an object that starts with it")
    end = _decode(lambda: _DECODER.raw_decode(text, head.end())[1], name)
    tail = _TAIL.fullmatch(text, end)
    if tail is None:
        _malformed(name, "is not followed by exactly one signature")
    value = text[head.end() : end].encode("utf-8")
    return SignedJson(raw=value, signature=bytes.fromhex(tail.group(1)))


class JsonObject:
    """One object of such a document; every getter checks type, form and size."""

    def __init__(self, value: dict[str, Any], *, structure: str) -> None:
        self._value = value
        self._structure = structure

    @classmethod
    def parse(cls, raw: bytes, *, structure: str) -> "JsonObject":
        """The object that `raw` is.

        Raises:
            MalformedEvidenceError: not one strict JSON object within the limits.
        """
        text = _text(raw, structure)
        value = _decode(lambda: _DECODER.decode(text), structure)
        if not isinstance(value, dict):
            _malformed(structure, "is not an object")
        return cls(value, structure=structure)

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        return key in self._value

    def text(self, key: str) -> str:
        """A string of at most `MAX_STRING` characters."""
        value = self._get(key, str)
        if len(value) > MAX_STRING:
            self.fail(key, "is too long")
        return str(value)

    def number(self, key: str, limit: int) -> int:
        """An integer from 0 to `limit`."""
        value = self._get(key, int)
        if not 0 <= value <= limit:
            self.fail(key, f"is not within 0 to {limit}")
        return int(value)

    def octets(self, key: str, size: int) -> bytes:
        """`size` bytes in hex, upper or lower case."""
        text = self.text(key)
        if len(text) != 2 * size or not _HEX.fullmatch(text):
            self.fail(key, f"is not {size} bytes in hex")
        return bytes.fromhex(text)

    def time(self, key: str) -> datetime:
        """A moment as YYYY-MM-DDThh:mm:ssZ."""
        text = self.text(key)
        try:
            if not _TIME.fullmatch(text):
                raise ValueError("another form")
            return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        except ValueError as error:
            raise MalformedEvidenceError(self._structure, 0, f"{key} is not a UTC time") from error

    def object(self, key: str) -> "JsonObject":
        """A nested object."""
        return JsonObject(self._get(key, dict), structure=f"{self._structure}.{key}")

    def objects(self, key: str) -> "tuple[JsonObject, ...]":
        """An array of objects, at most `MAX_ITEMS`."""
        where = f"{self._structure}.{key}"
        items = self._array(key)
        if not all(isinstance(item, dict) for item in items):
            self.fail(key, "has an item that is not an object")
        return tuple(JsonObject(item, structure=where) for item in items)

    def texts(self, key: str) -> tuple[str, ...]:
        """An array of strings; empty if the key is absent."""
        items = self._array(key) if key in self._value else []
        if not all(isinstance(item, str) and len(item) <= MAX_STRING for item in items):
            self.fail(key, "has an item that is not a short string")
        return tuple(items)

    def fail(self, key: str, reason: str) -> NoReturn:
        """Raise the error for one key."""
        _malformed(self._structure, f"{key} {reason}")

    def _array(self, key: str) -> list[Any]:
        items: list[Any] = self._get(key, list)
        if len(items) > MAX_ITEMS:
            self.fail(key, f"has {len(items)} items, at most {MAX_ITEMS}")
        return items

    def _get(self, key: str, kind: type) -> Any:
        if key not in self._value:
            self.fail(key, "is missing")
        value = self._value[key]
        # bool is an int to Python, not to JSON.
        if type(value) is not kind:
            self.fail(key, f"is a {type(value).__name__}, want {kind.__name__}")
        return value


def _text(raw: bytes, structure: str) -> str:
    if len(raw) > MAX_DOCUMENT:
        _malformed(structure, f"is {len(raw)} bytes, at most {MAX_DOCUMENT}")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedEvidenceError(structure, 0, "is not UTF-8") from error


def _decode(read: Callable[[], Any], structure: str) -> Any:
    try:
        return read()
    except (ValueError, RecursionError) as error:
        raise MalformedEvidenceError(structure, 0, f"is not strict JSON: {error}") from error


def _malformed(structure: str, reason: str) -> NoReturn:
    raise MalformedEvidenceError(structure, 0, reason)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("duplicate key")
    return result


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError("huge number")
    return int(text)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text[:16]} is not an integer")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_int=_integer,
    parse_float=_no_number,
    parse_constant=_no_number,
)
