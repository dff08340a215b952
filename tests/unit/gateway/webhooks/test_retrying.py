"""Pauses that double, spread, and end."""

import pytest

from atoll_gateway.webhooks.retrying import FIRST_S, GIVE_UP_S, LONGEST_S, pause_s, succeeded


@pytest.mark.parametrize(
    ("age_s", "pause"),
    [
        (-5, FIRST_S),
        (0, FIRST_S),
        (5, 5),
        (60, 60),
        (80_000, LONGEST_S),
        (GIVE_UP_S - 1, LONGEST_S),
    ],
)
def test_a_pause_is_as_long_as_the_delivery_is_old(age_s: float, pause: float) -> None:
    assert pause_s(age_s, lambda: 0.5) == pytest.approx(pause)


def test_a_day_has_a_bounded_number_of_tries() -> None:
    age, tries = 0.0, 1
    while (pause := pause_s(age, lambda: 0.0)) is not None:
        age, tries = age + pause, tries + 1
    assert 10 <= tries <= 25
    assert age < GIVE_UP_S + LONGEST_S


def test_what_failed_together_is_tried_apart() -> None:
    drawn = iter((0.0, 0.25, 0.999))
    pauses = [round(pause_s(100, lambda: next(drawn)) or 0) for _ in range(3)]
    assert pauses == [80, 90, 120]


def test_only_a_2xx_is_success() -> None:
    assert [status for status in range(100, 600) if succeeded(status)] == [*range(200, 300)]
