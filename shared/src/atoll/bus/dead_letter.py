"""Where messages go that nobody can ever process."""

from typing import Protocol

from atoll.bus.connection import Bus
from atoll.bus.jetstream import publish


class Doomed(Protocol):
    """What is needed of a `Delivery`."""

    @property
    def payload(self) -> bytes: ...
    @property
    def subject(self) -> str: ...
    @property
    def stream_seq(self) -> int: ...
    async def term(self, reason: str) -> None: ...


async def bury(bus: Bus, delivery: Doomed, *, stream: str, subject: str, code: str) -> None:
    """Keep a message of `stream` under `subject` with the reason, then end its delivery.

    The message id makes a repetition harmless.

    Raises:
        UnreachableError: the bus did not take it; it stays in the queue.
    """
    await publish(
        bus,
        subject,
        delivery.payload,
        msg_id=f"dead.{stream}.{delivery.stream_seq}",
        headers={"atoll-subject": delivery.subject, "atoll-reason": code},
    )
    await delivery.term(code)
