"""Whether the content of a file is of a media type, as far as bytes can show it. Pure.

A computation's output policy can demand types so that a result is what the data's owners
expect it to be. What is checked is the form; a text can still spell out whatever an algorithm
wants to say, and the byte budget is what bounds that.

| type                     | a file is of it if                                                |
| application/octet-stream | always                                                            |
| text/plain               | UTF-8 without control characters but tab, line feed, carriage return |
| text/csv                 | that, and every record has as many fields as the first (RFC 4180) |
| application/json         | one JSON value in UTF-8 (RFC 8259), no key twice, at most 64 deep |
| image/png                | it has PNG's signature and a header (PNG, section 5)              |
| application/zip          | it begins as a zip file and has an end record                     |
"""

import csv
import io
import json
import re
import struct
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

from atoll.wire.schema import Pattern

MAX_CHECKED: Final = 64 << 20
"""Bytes of the largest file whose type is looked at; a larger one is of no type but
application/octet-stream."""

OCTETS: Final = "application/octet-stream"

MediaType = Annotated[
    str,
    Pattern(
        r"application/octet-stream|application/json|application/zip|text/plain|text/csv|image/png"
    ),
]

_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_PNG: Final = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR"
_ZIP_END: Final = b"PK\x05\x06"
_ZIP_STARTS: Final = (b"PK\x03\x04", _ZIP_END)
_MAX_COMMENT: Final = 65_535 + 22
_MAX_DEPTH: Final = 64
_MAX_FIELD: Final = 1 << 20


def is_of(media_type: str, content: bytes) -> bool:
    """Whether these bytes are of the type. Total: any bytes.

    Raises:
        KeyError: not a type of the table, which no manifest has.
    """
    return _CHECKS[media_type](content)


def _text(content: bytes) -> bool:
    try:
        return _CONTROL.search(content.decode("utf-8")) is None
    except UnicodeDecodeError:
        return False


def _csv(content: bytes) -> bool:
    if not _text(content):
        return False
    csv.field_size_limit(_MAX_FIELD)
    try:
        rows = csv.reader(io.StringIO(content.decode("utf-8"), newline=""), strict=True)
        widths = {len(row) for row in rows if row}
    except csv.Error:
        return False
    return len(widths) <= 1


def _json(content: bytes) -> bool:
    try:
        value = json.loads(content.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return False
    return _is_flat(value, _MAX_DEPTH)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice")
    return value


def _is_flat(value: Any, depth: int) -> bool:
    if isinstance(value, dict):
        return depth > 0 and all(_is_flat(item, depth - 1) for item in value.values())
    if isinstance(value, list):
        return depth > 0 and all(_is_flat(item, depth - 1) for item in value)
    return True


_CHECKS: Final[Mapping[str, Callable[[bytes], bool]]] = {
    OCTETS: lambda _content: True,
    "text/plain": _text,
    "text/csv": _csv,
    "application/json": _json,
    "image/png": lambda content: content.startswith(_PNG),
    "application/zip": lambda content: (
        content.startswith(_ZIP_STARTS) and _ZIP_END in content[-_MAX_COMMENT:]
    ),
}
