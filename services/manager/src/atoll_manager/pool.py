"""Pulls spawn requests only while a slot is free, and runs each as a task."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from atoll.bus import Bus, Delivery, WorkQueue
from atoll.errors import AtollError, MessageError
from atoll.wire.topology_types import Consumer
from atoll_manager.attempt import AttemptRunner
from atoll_manager.drivers.driver import EnclaveSpec, RunningEnclave

_log = logging.getLogger(__name__)


class Adopted(RunningEnclave, Protocol):
    """An enclave that an earlier manager of this host started."""

    @property
    def spec(self) -> EnclaveSpec: ...


class SlotPool:
    """`slots` attempts at once, no more; nothing is pulled that cannot start now."""

    def __init__(
        self,
        bus: Bus,
        consumer: Consumer,
        runner: AttemptRunner,
        slots: int,
        adopted: Iterable[Adopted] = (),
    ) -> None:
        self._bus = bus
        self._consumer = consumer
        self._runner = runner
        self._slots = slots
        self._adopted = tuple(adopted)
        self._free = asyncio.Semaphore(max(0, slots - len(self._adopted)))
        # With fewer slots than before, some are used twice until enclaves end.
        self._owed = max(0, len(self._adopted) - slots)
        self.busy = 0

    async def run(self) -> None:
        """Until cancelled; then every running attempt hands its job back before this returns.

        Raises:
            NotFoundError: `bus.not_found`: there is no such queue.
            RefusedError: `bus.permission`.
        """
        async with WorkQueue(self._bus, self._consumer) as queue, asyncio.TaskGroup() as group:
            for enclave in self._adopted:
                group.create_task(self._adopt(queue, enclave), name=enclave.enclave_id)
            while True:
                await self._free.acquire()
                delivery = await queue.next()
                attempt = self._one(queue, delivery, self._runner.run)
                group.create_task(attempt, name=f"spawn {delivery.stream_seq}")

    async def _adopt(self, queue: WorkQueue, enclave: Adopted) -> None:
        spec, claim = enclave.spec, enclave.spec.claim
        try:
            if claim is None:
                raise MessageError("no spawn request stands in its record")
            delivery = await queue.take_over(
                claim.reply, subject=claim.subject, payload=claim.payload, headers=claim.headers
            )
        except AtollError as error:
            _log.error("enclave %s: %s (%s)", spec.enclave_id, error, error.code)
            await enclave.stop(0.0)
            self._give_back()
            return
        await self._one(queue, delivery, lambda it: self._runner.adopt(it, spec, enclave))

    async def _one(
        self, queue: WorkQueue, delivery: Delivery, work: Callable[[Delivery], Awaitable[None]]
    ) -> None:
        """One attempt; what goes wrong in it stays in it."""
        self.busy += 1
        try:
            await work(delivery)
        except AtollError as error:
            _log.error("spawn request %d: %s (%s)", delivery.stream_seq, error, error.code)
        except Exception:  # noqa: BLE001 (one attempt's bug must not end the others)
            _log.exception("spawn request %d", delivery.stream_seq)
        finally:
            # What was not settled is no longer kept alive: nobody works on it any more, so
            # its lease runs out and the bus hands it to somebody else.
            queue.release(delivery.reply_subject)
            self.busy -= 1
            self._give_back()

    def _give_back(self) -> None:
        if self._owed:
            self._owed -= 1
        else:
            self._free.release()
