"""MessagePack with limits. Nothing looks at a message before it came through here.

The decoder accepts nil, booleans, integers, UTF-8 strings, binary, arrays and maps
with string keys; no extension types, no floats, no duplicate keys. All limits follow
from the size of the input, so that a few bytes cannot claim a large array.
"""

from typing import Any, Final

import msgpack

from atoll.errors import MessageError

MAX_MESSAGE: Final = 1 << 20
"""Bytes of the largest message: the default `max_payload` of nats-server."""

MAX_DEPTH: Final = 16


def packb(value: Any) -> bytes:
    """Encode a plain value; wrong types are our own bug and raise `TypeError`."""
    return msgpack.packb(value, use_bin_type=True, strict_types=True)  # type: ignore[no-any-return]


def unpackb(raw: bytes, *, limit: int = MAX_MESSAGE) -> Any:
    """Decode exactly one value that fills `raw`.

    Raises:
        MessageError: `message.too_large` or `message.malformed`.
    """
    if len(raw) > limit:
        raise MessageError(
            f"message is {len(raw)} bytes, at most {limit} are taken", code="message.too_large"
        )
    try:
        value = msgpack.unpackb(
            raw,
            raw=False,
            strict_map_key=True,
            use_list=True,
            object_pairs_hook=_no_duplicates,
            ext_hook=_no_extension,
            max_str_len=len(raw),
            max_bin_len=len(raw),
            max_array_len=len(raw),
            max_map_len=len(raw) // 2,
            max_ext_len=0,
        )
    except MessageError:
        raise
    except (ValueError, RecursionError, msgpack.UnpackException) as error:
        reason = str(error)[:120] or type(error).__name__
        raise MessageError(f"not MessagePack: {reason}", code="message.malformed") from error
    _check(value, MAX_DEPTH)
    return value


def _no_duplicates(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if not isinstance(key, str):
            raise MessageError("map key that is not a string", code="message.malformed")
        if key in result:
            raise MessageError(f"key {key[:40]!r} stands twice", code="message.malformed")
        result[key] = value
    return result


def _no_extension(code: int, _data: bytes) -> Any:
    raise MessageError(f"extension type {code}", code="message.malformed")


def _check(value: Any, left: int) -> None:
    if isinstance(value, float):
        # Two floats may be equal and have other bytes, or be unequal to themselves.
        raise MessageError("floating point number", code="message.malformed")
    if left < 0:
        raise MessageError(f"nested deeper than {MAX_DEPTH}", code="message.malformed")
    if isinstance(value, dict):
        for item in value.values():
            _check(item, left - 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, left - 1)
