"""The plan of a chaos run: the seed decides all of it, and every kind of process has its turn."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.plan import LEAST, SPREAD, Target, make_plan, quotas


def test_the_same_seed_gives_the_same_plan() -> None:
    assert make_plan(7, jobs=500, kills=100) == make_plan(7, jobs=500, kills=100)


def test_another_seed_gives_another_plan() -> None:
    one, other = (make_plan(seed, jobs=500, kills=100) for seed in (7, 8))
    assert one.strikes != other.strikes
    assert one.jobs != other.jobs


@given(seed=st.integers(0, 1 << 32), jobs=st.integers(1, 300), kills=st.integers(0, 120))
def test_a_plan_has_what_was_asked_for_and_every_kill_falls_due(
    seed: int, jobs: int, kills: int
) -> None:
    plan = make_plan(seed, jobs=jobs, kills=kills)

    assert len(plan.jobs) == jobs
    assert Counter(strike.target for strike in plan.strikes) == Counter(quotas(kills))
    due = [strike.after_jobs for strike in plan.strikes]
    assert all(0 <= number <= SPREAD * jobs for number in due)
    assert all(0 <= strike.pick < 1 for strike in plan.strikes)


@pytest.mark.parametrize("kills", [0, 1, 7, 35, 36, 100, 101, 200, 1000])
def test_kills_are_shared_out_to_the_last_one_and_no_kind_is_left_out(kills: int) -> None:
    counts = quotas(kills)

    assert sum(counts.values()) == kills
    assert min(counts.values()) >= min(LEAST, kills // len(Target))


def test_kills_come_together_now_and_then() -> None:
    strikes = make_plan(1, jobs=500, kills=100).strikes
    together = [
        after for before, after in pairwise(strikes) if after.after_jobs == before.after_jobs
    ]
    assert len(together) >= 10


@pytest.mark.parametrize(("jobs", "kills"), [(0, 1), (-1, 0), (1, -1)])
def test_no_jobs_are_no_plan(jobs: int, kills: int) -> None:
    with pytest.raises(ValueError, match="want at least one job"):
        make_plan(1, jobs=jobs, kills=kills)
