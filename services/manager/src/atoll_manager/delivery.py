"""What an attempt needs of the spawn request that it works for."""

from typing import Protocol

from atoll.bus import Doomed


class Delivery(Doomed, Protocol):
    """A spawn request as the queue hands it out (`atoll.bus.Delivery`)."""

    @property
    def reply_subject(self) -> str: ...
    @property
    def is_last(self) -> bool: ...
    async def ack(self) -> None: ...
    async def nak(self, delay_s: float = 0.0) -> None: ...
