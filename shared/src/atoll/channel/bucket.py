"""A bucket that fills with time: so many in a row, and so many a second in the long run. Pure."""


class Bucket:
    """Full at first.

    Args:
        burst: how much it holds.
        per_s: how much comes in.
        now: seconds of a clock that only goes forward.
    """

    def __init__(self, burst: int, per_s: float, now: float) -> None:
        self._burst = float(burst)
        self._per_s = per_s
        self._left = self._burst
        self._at = now

    def take(self, now: float) -> float:
        """Take one out; the seconds until there was one to take, 0 if there was."""
        self._left = min(self._left + (now - self._at) * self._per_s, self._burst) - 1
        self._at = now
        return max(0.0, -self._left / self._per_s)
