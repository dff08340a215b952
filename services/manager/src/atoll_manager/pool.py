"""Pulls spawn requests only while a slot is free, and runs each as a task."""

import asyncio
import logging

from atoll.bus import Bus, Delivery, WorkQueue
from atoll.errors import AtollError
from atoll.wire.topology_types import Consumer
from atoll_manager.attempt import AttemptRunner

_log = logging.getLogger(__name__)


class SlotPool:
    """`slots` attempts at once, no more; nothing is pulled that cannot start now."""

    def __init__(self, bus: Bus, consumer: Consumer, runner: AttemptRunner, slots: int) -> None:
        self._bus = bus
        self._consumer = consumer
        self._runner = runner
        self._slots = slots
        self._free = asyncio.Semaphore(slots)
        self.busy = 0

    async def run(self) -> None:
        """Until cancelled; then every running attempt hands its job back before this returns.

        Raises:
            NotFoundError: `bus.not_found`: there is no such queue.
            RefusedError: `bus.permission`.
        """
        async with WorkQueue(self._bus, self._consumer) as queue, asyncio.TaskGroup() as group:
            while True:
                await self._free.acquire()
                delivery = await queue.next()
                group.create_task(self._one(queue, delivery), name=f"spawn {delivery.stream_seq}")

    async def _one(self, queue: WorkQueue, delivery: Delivery) -> None:
        """One attempt; what goes wrong in it stays in it."""
        self.busy += 1
        try:
            await self._runner.run(delivery)
        except AtollError as error:
            _log.error("spawn request %d: %s (%s)", delivery.stream_seq, error, error.code)
        except Exception:  # noqa: BLE001 (one attempt's bug must not end the others)
            _log.exception("spawn request %d", delivery.stream_seq)
        finally:
            # What was not settled is no longer kept alive: nobody works on it any more, so
            # its lease runs out and the bus hands it to somebody else.
            queue.release(delivery.reply_subject)
            self.busy -= 1
            self._free.release()
