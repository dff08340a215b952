"""Compare one field of evidence with one field of a policy: always exactly one finding."""

import hmac
from enum import Enum
from functools import lru_cache
from typing import Final, TypeVar

from atoll.evidence.findings import Finding, Outcome
from atoll.evidence.policy_forms import UNCHECKED, Unchecked

T = TypeVar("T")

MEMO: Final = 512
"""Findings that are remembered: most say the same of every report of one processor."""

_MAX_LISTED: Final = 6


def finding(name: str, field: str, expected: str, actual: str, *, passed: bool = False) -> Finding:
    """A finding that failed, unless said otherwise."""
    outcome = Outcome.PASS if passed else Outcome.FAIL
    return _finding(name, outcome, field, expected, actual)


def equal(name: str, field: str, expected: bytes | Unchecked, actual: bytes) -> Finding:
    """Whether two byte strings are the same, over their whole length."""
    if expected is UNCHECKED:
        return unchecked(name, field, show(actual))
    passed = hmac.compare_digest(expected, actual)
    return finding(name, field, show(expected), show(actual), passed=passed)


def unchecked(name: str, field: str, actual: str) -> Finding:
    """A finding that the policy explicitly does not want to have checked."""
    return _finding(name, Outcome.UNCHECKED, field, "unchecked", actual)


def absent(name: str, field: str, present: bool, *, allowed: bool) -> Finding:  # noqa: FBT001
    """Whether a bit is clear, unless it is allowed."""
    actual = "set" if present else "clear"
    if allowed:
        return unchecked(name, field, actual)
    return finding(name, field, "clear", actual, passed=not present)


def member(name: str, field: str, wanted: frozenset[T] | Unchecked, actual: T | None) -> Finding:
    """Whether a value is one of those wanted; None never is."""
    if wanted is UNCHECKED:
        return unchecked(name, field, show(actual))
    listed = sorted(map(show, wanted))
    more = f" or {len(listed) - _MAX_LISTED} more" if len(listed) > _MAX_LISTED else ""
    expected = " or ".join(listed[:_MAX_LISTED]) + more if listed else "nothing is accepted"
    return finding(name, field, expected, show(actual), passed=actual in wanted)


def least(name: str, field: str, minimum: int | Unchecked, actual: int) -> Finding:
    """Whether a number is at least the minimum."""
    if isinstance(minimum, Unchecked):
        return unchecked(name, field, str(actual))
    return finding(name, field, f"at least {minimum}", str(actual), passed=actual >= minimum)


def masked(name: str, field: str, bits: int | Unchecked, actual: int, *, want: bool) -> Finding:
    """Whether a field has all (`want`) or none of these bits."""
    if isinstance(bits, Unchecked):
        return unchecked(name, field, f"0x{actual:x}")
    expected = f"0x{int(bits):x} {'set' if want else 'clear'}"
    passed = actual & bits == (bits if want else 0)
    return finding(name, field, expected, f"0x{actual:x}", passed=passed)


def show(value: object) -> str:
    """How a value looks in a finding."""
    if value is None:
        return "none"
    if isinstance(value, bytes):
        return value.hex() or "empty"
    return str(value.value) if isinstance(value, Enum) else str(value)


@lru_cache(maxsize=MEMO)
def _finding(name: str, outcome: Outcome, field: str, expected: str, actual: str) -> Finding:
    return Finding(id=name, outcome=outcome, field=field, expected=expected, actual=actual)
