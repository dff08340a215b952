import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.telemetry.span import Span
from atoll.telemetry.tree import Node, build_tree, walk
from unit.telemetry.spans import TRACE, make

small = st.builds(
    make,
    st.integers(1, 6),
    parent=st.none() | st.integers(1, 8),
    start=st.integers(0, 50),
    end=st.integers(0, 50),
    trace=st.sampled_from([TRACE, "ab" * 16]),
)


def shape(nodes: tuple[Node, ...]) -> list[object]:
    return [(int(node.span.context.span_id, 16), shape(node.children)) for node in nodes]


def test_children_stand_below_their_parent_earliest_first() -> None:
    spans = [
        make(3, parent=1, start=20),
        make(1),
        make(4, parent=3, start=30),
        make(2, parent=1, start=5),
    ]
    assert shape(build_tree(spans)) == [(1, [(2, []), (3, [(4, [])])])]


def test_a_span_whose_parent_is_missing_is_a_marked_root() -> None:
    roots = build_tree([make(1), make(2, parent=9, start=5)])
    assert [(root.orphan, root.depth) for root in roots] == [(False, 0), (True, 0)]


def test_a_parent_in_another_trace_is_missing() -> None:
    assert len(build_tree([make(1), make(2, parent=1, trace="ab" * 16)])) == 2


def test_a_span_that_came_twice_stands_once() -> None:
    assert shape(build_tree([make(1), make(2, parent=1), make(2, parent=1), make(1)])) == [
        (1, [(2, [])])
    ]


@pytest.mark.parametrize("spans", [[make(1, parent=1)], [make(1, parent=2), make(2, parent=1)]])
def test_a_circle_of_parents_is_cut_open(spans: list[Span]) -> None:
    (root,) = build_tree(spans)
    assert root.orphan
    assert len(list(walk([root]))) == len(spans)


def test_a_circle_is_cut_at_its_earliest_span_and_keeps_what_hangs_on_it() -> None:
    spans = [
        make(1, parent=2, start=30),
        make(2, parent=3, start=10),
        make(3, parent=1, start=20),
        make(4, parent=1, start=0),
    ]
    assert shape(build_tree(spans)) == [(2, [(1, [(4, []), (3, [])])])]


def test_a_child_from_a_clock_that_is_behind_is_moved_with_all_below_it() -> None:
    spans = [
        make(1, start=1000, end=2000),
        make(2, parent=1, start=100, end=400),
        make(3, parent=2, start=150, end=200),
        make(4, parent=1, start=1500, end=1600),
    ]
    moved = {node.span.context.span_id[-1]: node for node, _ in walk(build_tree(spans))}
    assert (moved["2"].start_ns, moved["2"].end_ns, moved["2"].shift_ns) == (1000, 1300, 900)
    assert (moved["3"].start_ns, moved["3"].shift_ns) == (1050, 900)
    assert moved["4"].shift_ns == 0


def test_the_order_of_arrival_does_not_matter() -> None:
    spans = [
        make(1),
        make(2, parent=1),
        make(2, parent=1, end=7),
        make(3, parent=4),
        make(4, parent=3),
    ]
    trees = [build_tree(order) for order in itertools.permutations(spans)]
    assert all(tree == trees[0] for tree in trees)


def test_a_trace_deeper_than_the_stack_is_no_problem() -> None:
    spans = [make(number, parent=number - 1 or None) for number in range(1, 4097)]
    rows = list(walk(build_tree(spans)))
    assert len(rows) == 4096
    assert rows[-1][0].depth == 4095


@settings(max_examples=200)
@given(st.lists(small, max_size=10))
def test_every_span_stands_in_the_tree_exactly_once(spans: list[Span]) -> None:
    rows = [node for node, _ in walk(build_tree(spans))]
    keys = [(node.span.context.trace_id, node.span.context.span_id) for node in rows]
    assert len(keys) == len(set(keys))
    assert set(keys) == {(span.context.trace_id, span.context.span_id) for span in spans}
    for node in rows:
        assert all(child.start_ns >= node.start_ns for child in node.children)
