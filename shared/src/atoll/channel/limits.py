"""What a guest may do on its channel before it is cut off."""

from dataclasses import dataclass

from atoll.channel.bucket import Bucket
from atoll.errors import MessageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """An enclave's own needs are three streams, and one more now and then when the bus is away.
    The rest is for connections of its workload, which it holds to less than what is left here
    (`atoll_agent.egress.pace`)."""

    streams: int = 32
    """At once."""
    burst: int = 128
    """Streams that may be opened in a row."""
    opens_per_s: float = 32.0
    """How many more may be opened in the long run."""
    greeting_s: float = 30.0
    """How long a stream may take to name its service."""


class Opens:
    """Counts what is opened. Pure.

    Args:
        now: seconds of a clock that only goes forward.
    """

    def __init__(self, limits: Limits, now: float) -> None:
        self._bucket = Bucket(limits.burst, limits.opens_per_s, now)

    def count(self, now: float) -> None:
        """One more was opened.

        Raises:
            MessageError: `channel.opens`: that is too many.
        """
        if self._bucket.take(now):
            raise MessageError("it opens streams without end", code="channel.opens")
