"""The simulator finds bugs: each that is planted, within so many seeds."""

import pytest

from simulation import world
from simulation.many import found_within, quiet
from simulation.planted import BUGS

SEEDS = 600


@pytest.mark.parametrize("name", sorted(BUGS))
def test_a_planted_bug_is_found(name: str) -> None:
    with BUGS[name]():
        found = found_within(0, SEEDS)
    assert found is not None
    assert "ViolationError" in str(found), "by what it broke, not by a mistake in the planting"
    assert "--seed" in str(found)


def test_a_failure_repeats_with_its_seed() -> None:
    with BUGS["events_without_ids"]():
        first = found_within(0, SEEDS)
        assert first is not None
        seed = int(str(first).split("seed ", 1)[1].split(":", 1)[0])
        again = found_within(seed, 1)
    assert str(first) == str(again)


def test_a_run_is_a_function_of_its_seed() -> None:
    with quiet():
        assert world.run(7) == world.run(7)
        assert world.run(7) != world.run(8)
