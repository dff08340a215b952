"""Runs a coroutine that signals cancel, so that it can end what it began.

`asyncio.wait_for`, which nats-py uses, loses a cancellation that arrives together with what
it waits for (CPython before 3.12). So whoever makes progress asks `checkpoint` as well.
"""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StoppedError(BaseException):
    """A signal ended the work, after it was cleaned up. Like KeyboardInterrupt, no Exception."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number


def run_stoppable(work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns.

    Each signal cancels it: a second one is for a person who does not want to wait until
    everything is ended politely. What must be ended under all circumstances goes through
    `finished`.

    Raises:
        StoppedError: a signal came and `work` ended by the cancellation.
    """
    received: list[int] = []

    async def main() -> T:
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()

        def stop(number: int) -> None:
            received.append(number)
            if task is not None:
                task.cancel()

        for number in SIGNALS:
            loop.add_signal_handler(number, stop, number)
        return await work

    try:
        return asyncio.run(main())
    except asyncio.CancelledError:
        if not received:
            raise
        raise StoppedError(received[0]) from None


def checkpoint() -> None:
    """Raise CancelledError if the current task was cancelled and has not noticed.

    Not for use while cleaning up after a cancellation, which it would interrupt.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def finished(work: Coroutine[Any, Any, None]) -> None:
    """Await `work` to its end, however often we are cancelled meanwhile.

    `work` must have a deadline of its own.
    """
    task = asyncio.get_running_loop().create_task(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise
            cancelled = True
    task.result()
    if cancelled:
        raise asyncio.CancelledError
