"""How the fields of a policy are checked and written as JSON, whatever the policy is for.

A policy is a dataclass with one `Form` for each field. Absence is never a value: what
shall not be checked carries `UNCHECKED`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntFlag
from typing import Any, Final

from atoll.errors import InputError

UNCHECKED_TEXT: Final = "unchecked"


class Unchecked(Enum):
    """The one value that says "do not check this"."""

    UNCHECKED = UNCHECKED_TEXT


UNCHECKED: Final = Unchecked.UNCHECKED


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How one field is checked and how it looks in JSON."""

    kind: type
    write: Callable[[Any], Any]
    parse: Callable[[Any], Any]
    item: Callable[[Any], str | None]

    def problem(self, value: Any) -> str | None:
        """Why `value` is not legal, or None."""
        if not isinstance(value, self.kind) or (self.kind is int and isinstance(value, bool)):
            return f"is a {type(value).__name__}, want {self.kind.__name__}"
        items = value if isinstance(value, frozenset) else (value,)
        return next((why for why in map(self.item, items) if why is not None), None)

    def read(self, name: str, value: Any) -> Any:
        """The value of this field's JSON form."""
        if value == UNCHECKED_TEXT and self.kind is not bool:
            return UNCHECKED
        try:
            parsed = self.parse(value)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise invalid(name, f"{str(value)[:80]!r} cannot be read") from error
        # One form only: what is written back must be what was read.
        if self.problem(parsed) is None and self.write(parsed) != value:
            raise invalid(name, "is not sorted, repeats an item or is not lower-case hex")
        return parsed


def invalid(name: str, why: str) -> InputError:
    return InputError(f"policy.{name}: {why}", code="policy.invalid")


def anything(_: Any) -> str | None:
    return None


def octets(size: int) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        legal = isinstance(value, bytes) and len(value) == size
        return None if legal else f"has a value that is not {size} bytes"

    return check


def between(low: int, high: int) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        legal = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        return None if legal else f"has a value outside {low} to {high}"

    return check


def instance_of(kind: type) -> Callable[[Any], str | None]:
    return lambda value: None if isinstance(value, kind) else f"has a value that is no {kind}"


def array(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("want an array")
    return value


def digests(size: int) -> Form:
    return Form(
        kind=frozenset,
        write=lambda value: sorted(item.hex() for item in value),
        parse=lambda value: frozenset(bytes.fromhex(item) for item in array(value)),
        item=octets(size),
    )


def blob(size: int) -> Form:
    return Form(kind=bytes, write=lambda v: v.hex(), parse=bytes.fromhex, item=octets(size))


def enums(kind: type[Enum]) -> Form:
    return Form(
        kind=frozenset,
        write=lambda value: sorted(item.value for item in value),
        parse=lambda value: frozenset(kind(item) for item in array(value)),
        item=instance_of(kind),
    )


def flags(kind: type[IntFlag]) -> Form:
    return Form(
        kind=kind,
        write=lambda value: sorted(str(bit.name).lower() for bit in kind if bit & value),
        parse=lambda value: kind(sum({kind[item.upper()].value for item in array(value)})),
        item=lambda value: None if value == value & sum(kind) else "has a bit that has no name",
    )


BOOL: Final = Form(kind=bool, write=lambda value: value, parse=lambda value: value, item=anything)
