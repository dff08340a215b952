"""Half of a million steps under faults; the other half is in the file beside this one."""

import pytest

from simulation.many import APART, STEPS, run_steps


@pytest.mark.parametrize("part", [0, 1, 2, 3])
def test_nothing_is_lost_and_nothing_happens_twice(part: int) -> None:
    assert run_steps(part * APART) >= STEPS
