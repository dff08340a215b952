"""When a delivery is tried again, and when no longer. Pure.

The pause is as long as the delivery is old, so pauses double: 5 s, 10 s, 20 s and so on up
to 6 hours, 16 or so tries within a day. Age, not a count of tries, decides: it survives whoever
counts, and putting a delivery off costs it no try.
"""

from collections.abc import Callable
from typing import Final

FIRST_S: Final = 5.0
LONGEST_S: Final = 6 * 3600.0
GIVE_UP_S: Final = 24 * 3600.0
JITTER: Final = 0.2
GONE: Final = 410


def pause_s(age_s: float, random: Callable[[], float]) -> float | None:
    """Seconds until the next try of a delivery that failed; None: there is none.

    Args:
        age_s: since it was ordered; below zero where clocks differ.
        random: 0 up to 1; spreads what failed together by a fifth to both sides.
    """
    if age_s >= GIVE_UP_S:
        return None
    return min(max(FIRST_S, age_s), LONGEST_S) * (1 - JITTER + 2 * JITTER * random())


def succeeded(status: int) -> bool:
    """Whether an answer means that the event was taken. A redirect does not."""
    return 200 <= status < 300  # noqa: PLR2004
