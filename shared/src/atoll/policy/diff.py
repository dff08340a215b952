"""What changed between two documents, field by field, and in which direction.

"Looser" means that evidence may pass now which did not before, "tighter" the reverse, and
"both" that some passes and other does not (a measurement that took another's place). The
direction follows from how fields are named and written in every section: a set accepts its
items, `*_required` and `*_forbidden` demand theirs, `minimum_*` grow tighter, `allow_*` loosen,
`require_*` tighten, and `"unchecked"` is looser than anything. What the document says about
itself has the direction "none", and any other field has "both", which is the careful answer.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from atoll import canonical
from atoll.evidence.policy_forms import UNCHECKED_TEXT
from atoll.policy.document import PolicyDocument

_ABSENT: Final = "absent"
_PLAIN: Final = ("name", "version", "not_before", "mode")


class Direction(Enum):
    """What a change does to the set of accepted evidence."""

    TIGHTER = "tighter"
    LOOSER = "looser"
    BOTH = "both"
    NONE = "none"

    @property
    def accepts_more(self) -> bool:
        """Whether something may pass that did not before."""
        return self in {Direction.LOOSER, Direction.BOTH}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One member that differs; values as JSON text."""

    path: str
    old: str
    new: str
    direction: Direction


def diff(old: PolicyDocument, new: PolicyDocument) -> tuple[Change, ...]:
    """Every difference, in a fixed order; none for equal documents."""
    before, after = old.to_plain(), new.to_plain()
    changes = [
        _change(name, before[name], after[name], Direction.NONE)
        for name in _PLAIN
        if before[name] != after[name]
    ]
    for tee in sorted(before["sections"].keys() | after["sections"].keys()):
        changes += _section(tee, before["sections"].get(tee), after["sections"].get(tee))
    return tuple(changes)


def _section(tee: str, old: Any, new: Any) -> list[Change]:
    path = f"sections.{tee}"
    if old is None or new is None:
        direction = Direction.LOOSER if old is None else Direction.TIGHTER
        return [_change(path, old, new, direction)]
    return [
        _change(f"{path}.{name}", old[name], new[name], _direction(name, old[name], new[name]))
        for name in old
        if old[name] != new[name]
    ]


def _direction(name: str, old: Any, new: Any) -> Direction:
    if UNCHECKED_TEXT in (old, new):
        return Direction.LOOSER if new == UNCHECKED_TEXT else Direction.TIGHTER
    if isinstance(old, bool):
        loosens = new is True if name.startswith("allow_") else new is False
        known = name.startswith(("allow_", "require_"))
        return _looser_if(loosens) if known else Direction.BOTH
    if isinstance(old, list):
        return _of_sets(name, set(map(str, old)), set(map(str, new)))
    if name.startswith("minimum_"):
        return _of_minimums(old, new)
    return Direction.BOTH


def _of_sets(name: str, old: set[str], new: set[str]) -> Direction:
    demands = name.endswith(("_required", "_forbidden"))
    if new > old:
        return _looser_if(not demands)
    return _looser_if(demands) if new < old else Direction.BOTH


def _of_minimums(old: Any, new: Any) -> Direction:
    pairs = list(zip(_components(old), _components(new), strict=True))
    if all(after >= before for before, after in pairs):
        return Direction.TIGHTER
    lower = all(after <= before for before, after in pairs)
    return Direction.LOOSER if lower else Direction.BOTH


def _components(value: Any) -> list[int]:
    """The numbers that are compared one by one: of an object, of hex bytes, or the one."""
    if isinstance(value, dict):
        return [value[name] for name in sorted(value)]
    return list(bytes.fromhex(value)) if isinstance(value, str) else [value]


def _looser_if(loosens: bool) -> Direction:  # noqa: FBT001
    return Direction.LOOSER if loosens else Direction.TIGHTER


def _change(path: str, old: Any, new: Any, direction: Direction) -> Change:
    return Change(path=path, old=_text(old), new=_text(new), direction=direction)


def _text(value: Any) -> str:
    return _ABSENT if value is None else canonical.dumps(value).decode()
