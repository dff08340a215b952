"""Half of a million steps under faults; the other half is in the file beside this one."""

import pytest

from simulation.many import APART, STEPS, run_steps


@pytest.mark.parametrize("part", [4, 5, 6, 7])
def test_nothing_is_lost_and_nothing_happens_twice(part: int) -> None:
    assert run_steps(part * APART) >= STEPS
