"""How many connections a job may begin. Pure.

The host counts what an enclave opens and cuts off one that opens without end
(`atoll.channel.limits`). A workload must not be able to bring that about, so what it opens is
held back here, well below that.
"""

from typing import Final

AT_ONCE: Final = 24
"""Connections of one workload; the next one waits for an end of one."""
BURST: Final = 32
"""That may begin in a row."""
PER_S: Final = 16.0
"""And in the long run."""


class Pace:
    """A bucket that fills with time.

    Args:
        now: seconds of a clock that only goes forward.
    """

    def __init__(self, now: float) -> None:
        self._left = float(BURST)
        self._at = now

    def take(self, now: float) -> float:
        """Count one that begins; the seconds that it must wait first."""
        self._left = min(self._left + (now - self._at) * PER_S, float(BURST)) - 1
        self._at = now
        return max(0.0, -self._left / PER_S)
