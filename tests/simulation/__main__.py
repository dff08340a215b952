"""Runs seeds: `PYTHONPATH=tests python -m simulation [--seed N] [--count N] [--planted NAME]`."""

import argparse
import logging
import sys
import time
from collections import Counter
from contextlib import nullcontext

from simulation import planted, world


def main() -> int:
    """0: everything held; 1: something did not, and it says what, where and how to repeat it."""
    parser = argparse.ArgumentParser(prog="simulation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=1, help="seeds from --seed on")
    parser.add_argument("--planted", choices=sorted(planted.BUGS), help="with this bug")
    given = parser.parse_args()
    # What a run under faults says of itself is the business of its oracle.
    logging.disable(logging.CRITICAL)
    began, steps, counts = time.process_time(), 0, Counter[str]()
    with planted.BUGS[given.planted]() if given.planted else nullcontext():
        for seed in range(given.seed, given.seed + given.count):
            try:
                done = world.run(seed)
            except world.FoundError as error:
                print(error, file=sys.stderr)
                return 1
            steps += done.steps
            counts.update(done.counts)
    took_s = time.process_time() - began
    print(f"{given.count} seeds, {steps} steps in {took_s:.1f} s of processor time")
    print(", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
