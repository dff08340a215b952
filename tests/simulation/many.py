"""Runs seeds one after the other until enough has happened."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from simulation import world

STEPS: Final = 125_000
"""Of each test that runs seeds; eight of them make a million."""

APART: Final = 100_000
"""Between the first seeds of two tests."""


@contextmanager
def quiet() -> Iterator[None]:
    """What the code under faults says of itself is for its operator."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def run_steps(first_seed: int) -> int:
    """How many steps ran, none of which broke anything.

    Raises:
        FoundError: with the seed and the last steps.
    """
    steps, seed = 0, first_seed
    with quiet():
        while steps < STEPS:
            steps += world.run(seed).steps
            seed += 1
    return steps


def found_within(first_seed: int, count: int) -> world.FoundError | None:
    """What the first of so many seeds finds that finds something."""
    with quiet():
        for seed in range(first_seed, first_seed + count):
            try:
                world.run(seed)
            except world.FoundError as error:
                return error
    return None
