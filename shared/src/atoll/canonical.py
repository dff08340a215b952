"""JSON with exactly one encoding: RFC 8785 (JCS), restricted so that it stays simple.

Accepted values: objects with string keys, arrays, strings, booleans, null and
integers of magnitude below 2^53. Floats are refused: their canonical form is the
one hard part of RFC 8785 and nothing that is signed here needs one. Keys are
sorted by UTF-16 code units (RFC 8785, section 3.2.3), not by code points.
"""

import json
from typing import Any, Final

from atoll.errors import InputError

MAX_INTEGER: Final = 2**53 - 1
MAX_DEPTH: Final = 16


def dumps(value: Any) -> bytes:
    """The canonical UTF-8 bytes of `value`.

    Raises:
        InputError: a type, number or string outside the subset above.
    """
    _check(value, depth=0)
    return _encode(value).encode("utf-8")


def loads(raw: bytes) -> Any:
    """The value of which `raw` is the canonical encoding.

    Raises:
        InputError: not JSON, not in the subset, or not in canonical form (a
            duplicated key, a space, another number format: each gives other bytes).
    """
    try:
        value = json.loads(raw.decode("utf-8"), parse_float=_no_float, parse_constant=_no_float)
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON: {error}", code="json.malformed") from error
    if dumps(value) != raw:
        raise InputError("not in canonical form (RFC 8785)", code="json.not_canonical")
    return value


def parse(raw: bytes) -> Any:
    """The value of JSON that anybody wrote, in whatever form, but of the subset above.

    Raises:
        InputError: `json.malformed`: not JSON, a key that stands twice, a number that is no
            integer, or text that UTF-8 cannot write.
    """
    try:
        text = raw.decode("utf-8")
        value = json.loads(
            text, object_pairs_hook=unique, parse_float=_no_float, parse_constant=_no_float
        )
        # Escapes can write what UTF-8 cannot: find it before anybody must encode it.
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        reason = str(error)[:120] or type(error).__name__
        raise InputError(f"not JSON: {reason}", code="json.malformed") from error
    return value


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of which no key stands twice (`object_pairs_hook`).

    Raises:
        InputError: `json.malformed`.
    """
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise InputError(f"key {key[:40]!r} stands twice", code="json.malformed")
        result[key] = value
    return result


def _no_float(text: str) -> Any:
    raise InputError(f"number {text[:40]} is not an integer", code="json.malformed")


def _check(value: Any, *, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise InputError(f"nested deeper than {MAX_DEPTH}", code="json.malformed")
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise InputError("integer of 2^53 or more", code="json.malformed")
    elif isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputError("string with a lone surrogate", code="json.malformed") from error
    elif isinstance(value, list | tuple):
        for item in value:
            _check(item, depth=depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise InputError("object key that is not a string", code="json.malformed")
            _check(key, depth=depth + 1)
            _check(item, depth=depth + 1)
    else:
        raise InputError(f"{type(value).__name__} has no canonical form", code="json.malformed")


def _encode(value: Any) -> str:
    if isinstance(value, dict):
        ordered = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return "{" + ",".join(f"{_encode(key)}:{_encode(value[key])}" for key in ordered) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_encode(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)
