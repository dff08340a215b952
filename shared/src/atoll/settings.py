"""How a process reads its settings: a frozen dataclass, filled once from a mapping.

    @dataclass(frozen=True, slots=True, kw_only=True)
    class AgentConfig:
        nats_url: str
        drain_s: float = 5.0

`read(AgentConfig, "ATOLL_AGENT_", env)` takes `ATOLL_AGENT_NATS_URL` and so on. A
misspelt, missing or unreadable setting stops the process; none is ignored. The
values may be str, int, float, bool (`true`/`false`), `Path` and `tuple[str, ...]`
(comma-separated), each also as `| None`.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING
from pathlib import Path
from typing import Any, Final, TypeVar

from atoll.errors import ConfigError

T = TypeVar("T")


def _bool(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError("want true or false")
    return text == "true"


def _items(text: str) -> tuple[str, ...]:
    return tuple(item for item in text.split(",") if item)


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("want a finite number")
    return value


_READ: Final[Mapping[Any, Callable[[str], Any]]] = {
    str: str,
    int: int,
    float: _float,
    bool: _bool,
    Path: Path,
    tuple[str, ...]: _items,
}


def read(cls: type[T], prefix: str, env: Mapping[str, str]) -> T:
    """An instance of the dataclass `cls` from the settings that start with `prefix`.

    Raises:
        ConfigError: `config.unknown`, `config.missing` or `config.invalid`, by name.
    """
    hints = typing.get_type_hints(cls)
    fields = {prefix + field.name.upper(): field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for name, text in env.items():
        if not name.startswith(prefix):
            continue
        if name not in fields:
            raise ConfigError(f"{name}: no such setting", code="config.unknown")
        field = fields[name]
        try:
            values[field.name] = _reader(hints[field.name])(text)
        except ValueError as error:
            raise ConfigError(f"{name}={text!r}: {error}", code="config.invalid") from error
    for name, field in fields.items():
        optional = field.default is not MISSING or field.default_factory is not MISSING
        if field.name not in values and not optional:
            raise ConfigError(f"{name} is required", code="config.missing")
    return cls(**values)


def write(value: object, prefix: str) -> dict[str, str]:
    """The environment from which `read` gives `value` back; for starting a child."""
    env: dict[str, str] = {}
    for field in dataclasses.fields(value):  # type: ignore[arg-type]
        item = getattr(value, field.name)
        if item is None:
            continue
        if isinstance(item, bool):
            text = "true" if item else "false"
        elif isinstance(item, tuple):
            if not all(item) or any("," in part for part in item):
                raise ValueError(f"{field.name}: an item is empty or contains a comma")
            text = ",".join(item)
        else:
            text = str(item)
        env[prefix + field.name.upper()] = text
    return env


def _reader(annotation: Any) -> Callable[[str], Any]:
    if annotation in _READ:
        return _READ[annotation]
    if typing.get_origin(annotation) not in {typing.Union, types.UnionType}:
        raise TypeError(f"no setting can have type {annotation!r}")
    inner = [arg for arg in typing.get_args(annotation) if arg is not type(None)]
    if len(inner) == 1 and inner[0] in _READ:
        return _READ[inner[0]]
    raise TypeError(f"no setting can have type {annotation!r}")
