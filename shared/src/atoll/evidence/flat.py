"""A parsed structure as flat text: names joined with dots, bytes in hexadecimal."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from typing import Final

MAX_FIELDS: Final = 4096
"""More are left out, which only an event log can reach; the last name then says so."""


def flat(value: object) -> dict[str, str]:
    """Every field of a dataclass and of those inside it, in order.

    Fields that are themselves no data (public key objects) are left out.
    """
    result: dict[str, str] = {}
    for name, text in _walk("", value):
        if len(result) == MAX_FIELDS:
            result["truncated"] = f"after {MAX_FIELDS} fields"
            break
        result[name] = text
    return result


def _walk(name: str, value: object) -> Iterator[tuple[str, str]]:
    if is_dataclass(value):
        for field in fields(value):
            yield from _walk(_join(name, field.name), getattr(value, field.name))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _walk(_join(name, str(key)), item)
    elif isinstance(value, tuple | list):
        for index, item in enumerate(value):
            yield from _walk(_join(name, str(index)), item)
    elif isinstance(value, frozenset):
        yield name, " ".join(sorted(map(str, value)))
    elif (text := _text(value)) is not None:
        yield name, text


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, int | str) else None


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
