"""How the fields of a policy are checked and written as JSON, whatever the policy is for.

A policy is a dataclass with one `Form` for each field. Absence is never a value: what
shall not be checked carries `UNCHECKED`. `write` and `read` are the canonical JSON form of
every kind: `version`, `tee` and all fields, no more and no less.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import Enum, IntFlag
from typing import Any, Final, TypeVar

from atoll import canonical
from atoll.errors import InputError

T = TypeVar("T")

VERSION: Final = 1
MAX_POLICY: Final = 256 << 10
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
    always: bool = False
    """Whether the field has a value in every policy, so that `UNCHECKED` is none."""

    def problem(self, value: Any) -> str | None:
        """Why `value` is not legal, or None."""
        if not isinstance(value, self.kind) or (self.kind is int and isinstance(value, bool)):
            return f"is a {type(value).__name__}, want {self.kind.__name__}"
        items = value if isinstance(value, frozenset) else (value,)
        return next((why for why in map(self.item, items) if why is not None), None)

    def read(self, name: str, value: Any) -> Any:
        """The value of this field's JSON form."""
        if value == UNCHECKED_TEXT and not self.always:
            return UNCHECKED
        try:
            parsed = self.parse(value)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise invalid(name, f"{str(value)[:80]!r} cannot be read") from error
        # One form only: what is written back must be what was read.
        if self.problem(parsed) is None and self.write(parsed) != value:
            raise invalid(name, "is not sorted, repeats an item or is not lower-case hex")
        return parsed


Forms = Mapping[str, Form]
"""The form of each field of one kind of policy, by name."""


def forms_of(kind: type[Any], forms: Forms) -> Forms:
    """The forms, of which there is one for each field of the policy, in the same order.

    Raises:
        ValueError: our own mistake: a field has none, or a form no field.
    """
    if list(forms) != [field.name for field in fields(kind)]:
        raise ValueError(f"every field of {kind.__name__} wants one form")
    return forms


def check(policy: object, forms: Forms) -> None:
    """Check every field of a policy.

    Raises:
        InputError: `policy.invalid`, naming the first field that is not legal.
    """
    for name, form in forms.items():
        value = getattr(policy, name)
        if value is UNCHECKED and not form.always:
            continue
        if (problem := form.problem(value)) is not None:
            raise invalid(name, problem)


def write(policy: object, forms: Forms, *, tee: str) -> bytes:
    """The canonical JSON of a policy."""
    value: dict[str, Any] = {"version": VERSION, "tee": tee}
    for name, form in forms.items():
        field = getattr(policy, name)
        value[name] = UNCHECKED_TEXT if field is UNCHECKED else form.write(field)
    return canonical.dumps(value)


def read(raw: bytes, forms: Forms, *, tee: str) -> dict[str, Any]:
    """The fields of a policy's canonical JSON, for its constructor, which checks them.

    Raises:
        InputError: `policy.invalid`, or `json.*` if it is not canonical JSON.
    """
    if len(raw) > MAX_POLICY:
        raise invalid("policy", f"is {len(raw)} bytes, at most {MAX_POLICY}")
    value = canonical.loads(raw)
    if not isinstance(value, dict):
        raise invalid("policy", "is not an object")
    names = {"version", "tee", *forms}
    missing, unknown = names - value.keys(), value.keys() - names
    if missing or unknown:
        problem = f"lacks {sorted(missing)}" if missing else f"has unknown {sorted(unknown)}"
        raise invalid("policy", problem[:400])
    if value["version"] is True or value["version"] != VERSION or value["tee"] != tee:
        raise invalid("policy", f"is not version {VERSION} of a {tee} policy")
    return {name: form.read(name, value[name]) for name, form in forms.items()}


def invalid(name: str, why: str) -> InputError:
    return InputError(f"policy.{name}: {why}", code="policy.invalid")


def anything(_: Any) -> str | None:
    return None


def narrowed(
    accepted: frozenset[T] | Unchecked, also: frozenset[T] | Unchecked
) -> frozenset[T] | Unchecked:
    """What both sets accept."""
    if isinstance(accepted, Unchecked):
        return also
    return accepted if isinstance(also, Unchecked) else accepted & also


def octets(size: int) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        legal = isinstance(value, bytes) and len(value) == size
        return None if legal else f"has a value that is not {size} bytes"

    return check


def printable(limit: int) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        legal = isinstance(value, str) and 1 <= len(value) <= limit and value.isascii()
        legal = legal and value.isprintable()
        return None if legal else f"has a value that is not 1 to {limit} printable characters"

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


def enums(kind: type[Enum], *, always: bool = False) -> Form:
    return Form(
        always=always,
        kind=frozenset,
        write=lambda value: sorted(item.value for item in value),
        parse=lambda value: frozenset(kind(item) for item in array(value)),
        item=instance_of(kind),
    )


def number(high: int) -> Form:
    return Form(kind=int, write=_same, parse=_same, item=between(0, high))


def numbers(high: int) -> Form:
    return Form(
        kind=frozenset,
        write=sorted,
        parse=lambda value: frozenset(array(value)),
        item=between(0, high),
    )


def texts(limit: int) -> Form:
    return Form(
        kind=frozenset,
        write=sorted,
        parse=lambda value: frozenset(array(value)),
        item=printable(limit),
    )


def flags(kind: type[IntFlag]) -> Form:
    return Form(
        kind=kind,
        write=lambda value: sorted(str(bit.name).lower() for bit in kind if bit & value),
        parse=lambda value: kind(sum({kind[item.upper()].value for item in array(value)})),
        item=lambda value: None if value == value & sum(kind) else "has a bit that has no name",
    )


def _same(value: Any) -> Any:
    return value


BOOL: Final = Form(kind=bool, write=_same, parse=_same, item=anything, always=True)
