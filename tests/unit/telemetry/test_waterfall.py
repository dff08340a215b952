import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.telemetry import names
from atoll.telemetry.span import Span, Status
from atoll.telemetry.waterfall import MIN_WIDTH, duration, render, to_json
from unit.telemetry.spans import TRACE, make, spans

MS = 1_000_000
JOB = [
    make(1, service=names.CLI, end=100 * MS),
    make(2, parent=1, name=names.JOBS_SUBMIT, start=10 * MS, end=20 * MS),
    make(
        3,
        parent=1,
        name=names.RUN_WORKLOAD,
        service=names.AGENT,
        start=50 * MS,
        end=100 * MS,
        status=Status.ERROR,
        attributes={names.ERROR_TYPE: "workload.trap"},
    ),
]
DRAWN = f"""\
trace {TRACE}  3 spans, 3 services, 100.0 ms, 1 failed

service  span                              start      time  0         25.0 ms   50.0 ms   75.0 ms
cli      job run                               0  100.0 ms  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
gateway  ├ jobs.submit                   10.0 ms   10.0 ms      ━━━━
agent    └ run workload ✗ workload.trap  50.0 ms   50.0 ms                      ━━━━━━━━━━━━━━━━━━━━
"""


def test_draws_a_job() -> None:
    assert render(JOB) == DRAWN


def test_bars_lie_where_the_times_say() -> None:
    whole, early, late = render(JOB, width=100).splitlines()[3:]
    begin, width = whole.index("━"), whole.count("━")
    assert len(whole) == begin + width == len(late)
    assert (early.index("━"), early.count("━")) == (begin + width // 10, width // 10)
    assert (late.index("━"), late.count("━")) == (begin + width // 2, width // 2)


def test_spans_shorter_than_a_cell_stay_apart() -> None:
    whole = render([make(1, end=100_000)]).splitlines()[3]
    half = 100_000 // (2 * whole.count("━"))
    items = [make(1, end=100_000), make(2, end=half // 2), make(3, start=half + 9, end=2 * half)]
    assert [line[-1] for line in render(items).splitlines()[3:]] == ["━", "╸", "╺"]


def test_a_title_that_does_not_fit_takes_two_lines() -> None:
    assert render(JOB, width=72).splitlines()[:2] == [
        f"trace {TRACE}",
        "3 spans, 3 services, 100.0 ms, 1 failed",
    ]


def test_color_adds_nothing_but_color() -> None:
    colored = render(JOB, color=True)
    assert "\x1b[31m" in colored
    assert re.sub(r"\x1b\[\d+m", "", colored) == render(JOB)


def test_a_skewed_clock_and_a_missing_parent_are_marked() -> None:
    drawn = render(
        [make(1, start=5 * MS, end=9 * MS), make(2, parent=1), make(3, parent=9, start=6 * MS)]
    )
    assert "└ job run" in drawn
    assert "~0" in drawn
    assert "… job run" in drawn


def test_a_name_cannot_write_to_the_terminal() -> None:
    evil = "\x1b[2J\x07\nä\u202e"
    drawn = render(
        [make(1, name=evil, service=evil, status=Status.ERROR, attributes={"error.type": evil})]
    )
    assert drawn.count("\n") == 4
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7fä\u202e]", drawn)


def test_no_spans_are_said_to_be_none() -> None:
    assert render([]) == "no spans\n"
    assert to_json([]) == []


@settings(max_examples=80)
@given(st.lists(spans, min_size=1, max_size=5), st.integers(0, 200))
def test_any_spans_give_lines_that_fit_and_do_not_depend_on_order(
    items: list[Span], width: int
) -> None:
    drawn = render(items, width=width)
    assert all(len(line) <= max(width, MIN_WIDTH) for line in drawn.splitlines())
    assert render(items[::-1], width=width) == drawn
    json.dumps(to_json(items))


def test_a_very_deep_trace_is_drawn() -> None:
    deep = [make(number, parent=number - 1 or None) for number in range(1, 2000)]
    assert len(render(deep).splitlines()) == 2002


def test_json_has_the_rows_with_times_from_the_start() -> None:
    rows = to_json([make(1, start=5 * MS, end=7 * MS), make(2, parent=1, start=6 * MS, end=7 * MS)])
    assert [(row["depth"], row["start_us"], row["duration_us"]) for row in rows] == [
        (0, 0, 2000),
        (1, 1000, 1000),
    ]
    assert rows[1]["parent_id"] == rows[0]["span_id"]


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0"),
        (999, "0 us"),
        (12_000, "12 us"),
        (3_400_000, "3.4 ms"),
        (999_900_000, "999.9 ms"),
        (1_234_000_000, "1.23 s"),
        (99_990_000_000, "99.99 s"),
        (100 * 10**9, "0:01:40"),
        (3_661 * 10**9, "1:01:01"),
        (100 * 3600 * 10**9, "4 d"),
    ],
)
def test_a_duration_has_a_unit_that_suits_it(ns: int, text: str) -> None:
    assert duration(ns) == text


@given(st.integers(0, 1 << 65))
def test_a_duration_fits_its_column(ns: int) -> None:
    assert len(duration(ns)) <= 8
