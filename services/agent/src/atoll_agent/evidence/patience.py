"""Trying again what may pass: a request that was interrupted, a service that is busy.

Bounded in number and in time, because it is the host that says it is busy.
"""

import errno
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

PASSING: Final = frozenset({errno.EINTR, errno.EAGAIN, errno.EBUSY})
"""EAGAIN is EWOULDBLOCK on Linux."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often, and with which pauses; each is twice the one before, up to the longest."""

    attempts: int = 8
    first_s: float = 0.05
    longest_s: float = 2.0
    pause: Callable[[float], None] = time.sleep

    def __iter__(self) -> Iterator[int]:
        """The attempts by number; pauses before each but the first."""
        pause_s = self.first_s
        for number in range(self.attempts):
            if number:
                self.pause(pause_s)
                pause_s = min(2 * pause_s, self.longest_s)
            yield number


def passes(error: OSError) -> bool:
    """Whether it may go better another time."""
    return error.errno in PASSING


def name_of(error: OSError) -> str:
    """EBUSY and the like."""
    return errno.errorcode.get(error.errno or 0, f"errno {error.errno}")
