"""Spans as trees, in the order in which a person reads them.

Total: spans come from many processes over a lossy path, so parents may be missing,
spans may come twice, clocks may disagree and ids may be wrong on purpose.

* The same trace and span id twice: one is kept, whichever order they came in.
* A parent that is not there: the span becomes a root and is marked `orphan`.
* Parents in a circle: broken at the earliest span of it, which is marked `orphan`.
* A child that starts before its parent: clocks disagree, so it is shown from its
  parent's start on, with all that is below it; `shift_ns` says by how much.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from atoll.telemetry.span import Span

MAX_PATH: Final = 8

_Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A span and what was done within it, earliest first."""

    span: Span
    children: tuple["Node", ...]
    depth: int
    orphan: bool
    shift_ns: int

    @property
    def start_ns(self) -> int:
        return self.span.start_ns + self.shift_ns

    @property
    def end_ns(self) -> int:
        return self.start_ns + self.span.duration_ns


def build_tree(spans: Iterable[Span]) -> tuple[Node, ...]:
    """The roots, earliest first. The same for every order of `spans`; never raises."""
    unique: dict[_Key, Span] = {}
    for span in sorted(spans, key=_order):
        unique.setdefault(_key(span), span)
    children: dict[_Key, list[_Key]] = {key: [] for key in unique}
    roots: list[_Key] = []
    for key, span in unique.items():
        parent = _parent_key(span)
        if parent in children:
            children[parent].append(key)
        else:
            roots.append(key)
    order = _reachable(roots, children)
    # What no root reaches hangs below a circle: cut it open at its earliest span.
    for key in unique:
        if key not in order:
            cut = _on_circle(key, unique)
            children[_parent_key(unique[cut])].remove(cut)
            roots.append(cut)
            order.update(_reachable([cut], children))
    roots.sort(key=lambda key: _order(unique[key]))
    return _nodes(unique, children, roots, list(_reachable(roots, children)))


def walk(roots: Iterable[Node]) -> Iterator[tuple[Node, tuple[bool, ...]]]:
    """Every node, parents first, with a flag per level: whether it is its last child.

    Only the flags of the lowest eight levels, so that a deep trace stays cheap.
    """
    stack: list[tuple[Node, tuple[bool, ...]]] = [(root, ()) for root in reversed(list(roots))]
    while stack:
        node, path = stack.pop()
        yield node, path
        last = len(node.children) - 1
        stack.extend(
            (node.children[index], (*path, index == last)[-MAX_PATH:])
            for index in range(last, -1, -1)
        )


def _key(span: Span) -> _Key:
    return span.context.trace_id, span.context.span_id


def _parent_key(span: Span) -> _Key:
    return span.context.trace_id, span.parent_id or ""


def _order(span: Span) -> tuple[int, int, str, str, str]:
    # The last one only decides between spans that claim the same id.
    return span.start_ns, -span.end_ns, span.context.trace_id, span.context.span_id, repr(span)


def _reachable(roots: Iterable[_Key], children: dict[_Key, list[_Key]]) -> dict[_Key, None]:
    """Everything below `roots`, parents before children."""
    seen: dict[_Key, None] = {}
    stack = list(roots)
    while stack:
        key = stack.pop()
        seen[key] = None
        stack.extend(children[key])
    return seen


def _on_circle(key: _Key, unique: dict[_Key, Span]) -> _Key:
    """The earliest span of the circle that the parents of `key` lead into."""
    seen: set[_Key] = set()
    while key not in seen:
        seen.add(key)
        key = _parent_key(unique[key])
    circle = [key]
    while (key := _parent_key(unique[key])) != circle[0]:
        circle.append(key)
    return min(circle, key=lambda item: _order(unique[item]))


def _nodes(
    unique: dict[_Key, Span],
    children: dict[_Key, list[_Key]],
    roots: list[_Key],
    order: list[_Key],
) -> tuple[Node, ...]:
    shifts = dict.fromkeys(roots, 0)
    depths = dict.fromkeys(roots, 0)
    for key in order:
        start = unique[key].start_ns + shifts[key]
        for child in children[key]:
            depths[child] = depths[key] + 1
            shifts[child] = max(shifts[key], start - unique[child].start_ns)
    tops = set(roots)
    made: dict[_Key, Node] = {}
    # Children first, and by a loop: a hostile trace may be deeper than Python's stack.
    for key in reversed(order):
        made[key] = Node(
            span=unique[key],
            children=tuple(made[child] for child in children[key]),
            depth=depths[key],
            orphan=key in tops and unique[key].parent_id is not None,
            shift_ns=shifts[key],
        )
    return tuple(made[key] for key in roots)
