"""How many connections a job may begin. Pure.

The host counts what an enclave opens and cuts off one that opens without end
(`atoll.channel.limits`). A workload must not be able to bring that about, so what it opens is
held back here, well below that.
"""

from typing import Final

from atoll.channel.bucket import Bucket

AT_ONCE: Final = 24
"""Connections of one workload; the next one waits for an end of one."""
BURST: Final = 32
"""That may begin in a row."""
PER_S: Final = 16.0
"""And in the long run."""


def pace(now: float) -> Bucket:
    """What a job's connections are taken from; before each one it waits as long as that says.

    Args:
        now: seconds of a clock that only goes forward.
    """
    return Bucket(BURST, PER_S, now)
