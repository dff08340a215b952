"""Parsed structures as flat text."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from atoll.evidence.flat import MAX_FIELDS, flat
from atoll.evidence.products import Product


@dataclass(frozen=True, kw_only=True)
class _Inner:
    raw: bytes = b"\x01\xff"
    set: frozenset[int] = frozenset({3, 1})


@dataclass(frozen=True, kw_only=True)
class _Outer:
    inner: _Inner = field(default_factory=_Inner)
    many: tuple[_Inner, ...] = ()
    named: dict[str, Any] = field(default_factory=dict)
    product: Product = Product.MILAN
    flag: bool = True
    number: int = 7
    moment: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    nothing: object = None


def test_names_are_joined_and_values_are_text() -> None:
    assert flat(_Outer(many=(_Inner(),), named={"a": ["x", 2]})) == {
        "inner.raw": "01ff",
        "inner.set": "1 3",
        "many.0.raw": "01ff",
        "many.0.set": "1 3",
        "named.a.0": "x",
        "named.a.1": "2",
        "product": "Milan",
        "flag": "true",
        "number": "7",
        "moment": "2026-01-01T00:00:00+00:00",
    }


def test_stops_at_a_limit_and_says_so() -> None:
    fields = flat(list(range(MAX_FIELDS + 5)))
    assert len(fields) == MAX_FIELDS + 1
    assert fields["truncated"] == f"after {MAX_FIELDS} fields"
