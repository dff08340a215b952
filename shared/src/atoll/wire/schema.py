"""Messages are frozen dataclasses; this module checks them on arrival.

    @message
    class Ping:
        name: Token
        payload: Annotated[bytes, Size(0, 1024)]
        retries: Annotated[int, Range(0, 5)] = 0

`decode(Ping, raw)` gives a legal `Ping` or raises `MessageError` that names the
field. Unknown and missing fields are refused. The same declarations give the JSON
form (bytes as unpadded base64url) and the JSON Schema, so that documents about the
messages cannot drift from the code.

A field that came later is `Annotated[..., Since(2)]` and has a default. It is left out
where an older level is written, and unknown where only older levels are read (`atoll.wire.level`).

Field types: bool, int, str, bytes, an `Enum` of strings, another message,
`tuple[T, ...]`, `dict[str, T]` and `T | None`, with constraints in `Annotated`.
"""

import base64
import binascii
import dataclasses
import hashlib
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass
from enum import Enum
from functools import cache
from typing import Annotated, Any, Final, TypeVar, Union, dataclass_transform

from atoll.errors import MessageError
from atoll.wire import codec, level, names
from atoll.wire.level import Since

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Size:
    """Bounds of a length: characters, bytes or items."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Range:
    """Bounds of an integer, both inclusive."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression that the whole string must match."""

    regex: str


Token = Annotated[str, Pattern(names.TOKEN)]
Name = Annotated[str, Pattern(names.NAME)]
Digest = Annotated[str, Pattern(r"[0-9a-f]{64}")]
"""SHA-256, lower-case hex."""
Timestamp = Annotated[int, Range(0, 1 << 52)]
"""Milliseconds since 1970-01-01T00:00:00Z."""
Code = Annotated[str, Pattern(names.CODE), Size(1, names.MAX_CODE)]
MAX_TEXT: Final = 1024
Text = Annotated[str, Size(0, MAX_TEXT)]

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_BASE64URL: Final = (
    "^(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048]|[A-Za-z0-9_-][AQgw])?$"
)
"""Unpadded base64url whose unused last bits are zero: one text for each value."""

_AS_THEY_ARE: Final = frozenset({str, int, bool, type(None)})
"""Types of values that both forms carry unchanged."""
_DEFAULT_SIZE: Final = Size(0, 4096)
_DEFAULT_RANGE: Final = Range(-(1 << 53) + 1, (1 << 53) - 1)


@dataclass_transform(kw_only_default=True, frozen_default=True)
def message(cls: type[T]) -> type[T]:
    """Make `cls` a frozen, keyword-only dataclass and check its declarations once."""
    made = dataclass(frozen=True, slots=True, kw_only=True)(cls)
    made.__module__ = cls.__module__
    return made


def encode(value: object) -> bytes:
    """The MessagePack form of a message."""
    return codec.packb(to_plain(value))


def decode(cls: type[T], raw: bytes, *, limit: int = codec.MAX_MESSAGE) -> T:
    """A legal message of type `cls` from MessagePack.

    Raises:
        MessageError: too large, malformed, or not legal; names the field.
    """
    return from_plain(cls, codec.unpackb(raw, limit=limit))


def to_plain(value: Any, *, json: bool = False) -> Any:
    """Maps, lists and scalars for MessagePack, or for JSON."""
    kind: Any = type(value)
    if kind in _AS_THEY_ARE or (kind is bytes and not json):
        return value
    fields = _field_names(kind, level.written())
    if fields is not None:
        return {name: to_plain(getattr(value, name), json=json) for name in fields}
    if isinstance(value, tuple | list):
        return [to_plain(item, json=json) for item in value]
    if isinstance(value, Mapping):
        return {key: to_plain(item, json=json) for key, item in value.items()}
    if isinstance(value, Enum):
        return value.value
    if json and isinstance(value, bytes):
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
    return value


@cache
def _field_names(cls: type, at: int) -> tuple[str, ...] | None:
    """The fields of a message at a level, or None for what is none."""
    if not dataclasses.is_dataclass(cls):
        return None
    return tuple(name for name, (since, _) in _rows(cls).items() if since <= at)


@cache
def _rows(cls: Any) -> dict[str, tuple[int, Any]]:
    """Of each field of a message: its level, and its default if it came later than the first."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return {
        field.name: (_since(hints[field.name]), _default(field))
        for field in dataclasses.fields(cls)
    }


def _since(annotation: Any) -> int:
    since: int = _limit(_split(annotation)[1], Since, Since(1)).level
    return since


def _default(field: "dataclasses.Field[Any]") -> Any:
    made = field.default_factory
    return field.default if made is MISSING else made()


def from_plain(cls: type[T], value: Any, *, json: bool = False) -> T:
    """The inverse of `to_plain`.

    Raises:
        MessageError: `message.invalid`, naming the field.
    """
    return _reader(cls, json, level.newest())(value, cls.__name__)  # type: ignore[no-any-return,arg-type]


def needed_level(value: Any) -> int:
    """The oldest level that `value` can be written at with nothing left out."""
    if isinstance(value, Mapping):
        return max((1, *map(needed_level, value.values())))
    if isinstance(value, tuple | list):
        return max((1, *map(needed_level, value)))
    if not dataclasses.is_dataclass(value):
        return 1
    levels = [1]
    kind: Any = type(value)
    for name, (since, default) in _rows(kind).items():
        held = getattr(value, name)
        if since == 1 or held != default:
            levels += (since, needed_level(held))
    return max(levels)


def json_schema(cls: type) -> dict[str, Any]:
    """JSON Schema (2020-12) of the JSON form, nested messages inline."""
    return _schema(cls, ())


_Reader = Callable[[Any, str], Any]


def _fail(path: str, why: str) -> MessageError:
    return MessageError(f"{path}: {why}")


@cache
def _reader(annotation: Any, json: bool, known: int) -> _Reader:  # noqa: FBT001
    """Of what is legal at any level up to `known`."""
    base, limits = _split(annotation)
    if dataclasses.is_dataclass(base):
        return _message_reader(typing.cast("type", base), json, known)
    origin = typing.get_origin(base)
    if origin in (Union, types.UnionType):
        inner = _reader(_optional(base), json, known)
        return lambda value, path: None if value is None else inner(value, path)
    if origin is tuple:
        inner = _reader(typing.get_args(base)[0], json, known)
        return _items_reader(inner, _limit(limits, Size, Size(0, 1024)))
    if origin is dict:
        inner = _reader(typing.get_args(base)[1], json, known)
        return _map_reader(inner, _limit(limits, Size, Size(0, 256)))
    if isinstance(base, type) and issubclass(base, Enum):
        return _enum_reader(base)
    if base is bool:
        return _bool
    if base is int:
        return _int_reader(_limit(limits, Range, _DEFAULT_RANGE))
    if base is str:
        return _str_reader(_limit(limits, Size, _DEFAULT_SIZE), _limit(limits, Pattern, None))
    if base is bytes:
        return _bytes_reader(_limit(limits, Size, _DEFAULT_SIZE), json)
    raise TypeError(f"no wire form for {annotation!r}")


def _split(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    if typing.get_origin(annotation) is Annotated:
        base, *limits = typing.get_args(annotation)
        return base, tuple(limits)
    return annotation, ()


def _limit(limits: tuple[Any, ...], kind: type, default: Any) -> Any:
    return next((limit for limit in reversed(limits) if isinstance(limit, kind)), default)


def _optional(base: Any) -> Any:
    inner = [arg for arg in typing.get_args(base) if arg is not type(None)]
    if len(inner) != 1:
        raise TypeError(f"only T | None has a wire form, not {base!r}")
    return inner[0]


def _message_reader(cls: type, json: bool, known: int) -> _Reader:  # noqa: FBT001
    hints = typing.get_type_hints(cls, include_extras=True)
    rows = _rows(cls)
    readers = {
        name: _reader(hints[name], json, known)
        for name, (since, _) in rows.items()
        if since <= known
    }
    required = {name for name, (_, default) in rows.items() if default is MISSING}
    if late := sorted(name for name in required if rows[name][0] > 1):
        raise TypeError(f"{cls.__name__}.{late[0]} came later and has no default")

    def read(value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            raise _fail(path, f"want a map, not {type(value).__name__}")
        unknown = value.keys() - readers.keys()
        if unknown:
            raise _fail(path, f"unknown field {min(map(str, unknown))[:40]!r}")
        missing = required - value.keys()
        if missing:
            raise _fail(path, f"field {min(missing)!r} is missing")
        return cls(**{key: readers[key](item, f"{path}.{key}") for key, item in value.items()})

    return read


def _items_reader(inner: _Reader, size: Size) -> _Reader:
    def read(value: Any, path: str) -> Any:
        if not isinstance(value, list):
            raise _fail(path, f"want an array, not {type(value).__name__}")
        _check_size(value, size, path, "items")
        return tuple(inner(item, f"{path}[{index}]") for index, item in enumerate(value))

    return read


def _map_reader(inner: _Reader, size: Size) -> _Reader:
    def read(value: Any, path: str) -> Any:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise _fail(path, "want a map with string keys")
        _check_size(value, size, path, "entries")
        for key in value:
            if not re.fullmatch(names.NAME, key):
                raise _fail(path, f"illegal name {key[:80]!r}")
        return {key: inner(item, f"{path}[{key}]") for key, item in value.items()}

    return read


def _enum_reader(cls: type[Enum]) -> _Reader:
    members = {member.value: member for member in cls}

    def read(value: Any, path: str) -> Any:
        if not isinstance(value, str) or value not in members:
            raise _fail(path, f"{str(value)[:40]!r} is none of {', '.join(sorted(members))}")
        return members[value]

    return read


def _bool(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise _fail(path, f"want true or false, not {type(value).__name__}")
    return value


def _int_reader(bounds: Range) -> _Reader:
    def read(value: Any, path: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise _fail(path, f"want an integer, not {type(value).__name__}")
        if not bounds.low <= value <= bounds.high:
            raise _fail(path, f"{value} is outside {bounds.low}..{bounds.high}")
        return value

    return read


def _str_reader(size: Size, pattern: Pattern | None) -> _Reader:
    regex = re.compile(pattern.regex) if pattern else None

    def read(value: Any, path: str) -> str:
        if not isinstance(value, str):
            raise _fail(path, f"want a string, not {type(value).__name__}")
        _check_size(value, size, path, "characters")
        if not value.isascii() and _SURROGATE.search(value):
            raise _fail(path, "a lone surrogate has no UTF-8 form")
        if regex is not None and not regex.fullmatch(value):
            raise _fail(path, f"{value[:80]!r} does not match {regex.pattern}")
        return value

    return read


def _bytes_reader(size: Size, json: bool) -> _Reader:  # noqa: FBT001
    def read(value: Any, path: str) -> bytes:
        if json:
            value = _from_base64url(value, path)
        if not isinstance(value, bytes):
            raise _fail(path, f"want bytes, not {type(value).__name__}")
        _check_size(value, size, path, "bytes")
        return value

    return read


def _from_base64url(value: Any, path: str) -> bytes:
    if not isinstance(value, str):
        raise _fail(path, f"want base64url text, not {type(value).__name__}")
    try:
        raw = base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise _fail(path, "not base64url") from error
    # One encoding only: stray bits in the last character would make two texts of one value.
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != value:
        raise _fail(path, "not canonical unpadded base64url")
    return raw


def _check_size(value: Any, size: Size, path: str, unit: str) -> None:
    if not size.low <= len(value) <= size.high:
        raise _fail(path, f"{len(value)} {unit}, want {size.low} to {size.high}")


def _schema(annotation: Any, seen: tuple[Any, ...]) -> dict[str, Any]:
    base, limits = _split(annotation)
    if dataclasses.is_dataclass(base):
        return _message_schema(typing.cast("type", base), seen)
    origin = typing.get_origin(base)
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema(_optional(base), seen), {"type": "null"}]}
    if origin is tuple:
        size = _limit(limits, Size, Size(0, 1024))
        items = _schema(typing.get_args(base)[0], seen)
        return {"type": "array", "items": items, "minItems": size.low, "maxItems": size.high}
    if origin is dict:
        size = _limit(limits, Size, Size(0, 256))
        return {
            "type": "object",
            "additionalProperties": _schema(typing.get_args(base)[1], seen),
            "propertyNames": {"pattern": f"^(?:{names.NAME})$"},
            "minProperties": size.low,
            "maxProperties": size.high,
        }
    if isinstance(base, type) and issubclass(base, Enum):
        return {"type": "string", "enum": [member.value for member in base]}
    if base is bool:
        return {"type": "boolean"}
    if base is int:
        bounds = _limit(limits, Range, _DEFAULT_RANGE)
        return {"type": "integer", "minimum": bounds.low, "maximum": bounds.high}
    return _text_schema(base, limits)


def _text_schema(base: Any, limits: tuple[Any, ...]) -> dict[str, Any]:
    size = _limit(limits, Size, _DEFAULT_SIZE)
    if base is bytes:
        # Lengths of the base64url text, which is what JSON carries.
        low, high = -(-size.low * 4 // 3), -(-size.high * 4 // 3)
        return {
            "type": "string",
            "contentEncoding": "base64url",
            "pattern": _base64url_pattern(size),
            "minLength": low,
            "maxLength": high,
        }
    if base is not str:
        raise TypeError(f"no wire form for {base!r}")
    result: dict[str, Any] = {"type": "string", "minLength": size.low, "maxLength": size.high}
    pattern = _limit(limits, Pattern, None)
    if pattern:
        result["pattern"] = f"^(?:{pattern.regex})$"
    return result


def _base64url_pattern(size: Size) -> str:
    if size.low != size.high:
        return _BASE64URL
    # With the length inside, those who generate examples from a pattern can do so.
    groups, rest = divmod(size.low, 3)
    last = ("", "[AQgw]", "[AEIMQUYcgkosw048]")[rest]
    return f"^[A-Za-z0-9_-]{{{groups * 4 + rest}}}{last}$"


def _message_schema(cls: type, seen: tuple[Any, ...]) -> dict[str, Any]:
    if cls in seen:
        raise TypeError(f"{cls.__name__} contains itself")
    hints = typing.get_type_hints(cls, include_extras=True)
    rows = _rows(cls)
    return {
        "title": cls.__name__,
        "type": "object",
        "additionalProperties": False,
        "properties": {
            name: _schema(hints[name], (*seen, cls))
            | ({"x-since-level": since} if since > 1 else {})
            for name, (since, _) in rows.items()
        },
        "required": [name for name, (_, default) in rows.items() if default is MISSING],
    }


def sha256_hex(raw: bytes) -> str:
    """SHA-256 in the form that `Digest` fields have."""
    return hashlib.sha256(raw).hexdigest()
