"""Pulls spawn requests only while a slot is free, and runs each as a task."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Protocol

from atoll.bus import Bus, Delivery, WorkQueue
from atoll.errors import AtollError, MessageError
from atoll.wire.topology_types import Consumer
from atoll_manager.attempt import AttemptRunner
from atoll_manager.drivers.driver import EnclaveSpec, RunningEnclave
from atoll_manager.memory import Room

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
        *,
        adopted: Iterable[Adopted] = (),
        on_change: Callable[[int], None] = lambda _: None,
        room: Room | None = None,
    ) -> None:
        self._bus = bus
        self._consumer = consumer
        self._runner = runner
        self._slots = slots
        self._adopted = tuple(adopted)
        self._free = asyncio.Semaphore(max(0, slots - len(self._adopted)))
        # With fewer slots than before, some are used twice until enclaves end.
        self._owed = max(0, len(self._adopted) - slots)
        self._on_change = on_change
        self._room = room or Room(0)
        self._pulling = asyncio.Event()
        self._paused = asyncio.Event()
        self._attempts: set[asyncio.Task[None]] = set()
        self.busy = 0
        self.resume()

    def pause(self) -> None:
        """Take no more work; what runs goes on."""
        self._pulling.clear()
        self._paused.set()

    def resume(self) -> None:
        """Take work again."""
        self._paused.clear()
        self._pulling.set()

    async def idle(self) -> None:
        """Until nothing runs."""
        while self._attempts:
            await asyncio.wait(set(self._attempts))

    def hand_back(self) -> None:
        """End what runs; each job is handed back and may begin again elsewhere."""
        # Not before those that were begun just now have started, and can settle anything.
        asyncio.get_running_loop().call_soon(self._cancel_attempts)

    def _cancel_attempts(self) -> None:
        for attempt in tuple(self._attempts):
            attempt.cancel()

    async def run(self) -> None:
        """Until cancelled; then every running attempt hands its job back before this returns.

        Raises:
            NotFoundError: `bus.not_found`: there is no such queue.
            RefusedError: `bus.permission`.
        """
        async with WorkQueue(self._bus, self._consumer) as queue, asyncio.TaskGroup() as group:
            for enclave in self._adopted:
                self._begin(group, self._adopt(queue, enclave), enclave.enclave_id)
            while True:
                await self._pulling.wait()
                pulling = group.create_task(self._pull(queue, group))
                await self._paused.wait()
                pulling.cancel()
                await asyncio.wait({pulling})

    async def _pull(self, queue: WorkQueue, group: asyncio.TaskGroup) -> None:
        while True:
            await self._free.acquire()
            try:
                delivery = await self._next(queue)
            except BaseException:
                self._free.release()
                raise
            attempt = self._one(queue, delivery, self._runner.run)
            self._begin(group, attempt, f"spawn {delivery.stream_seq}")

    async def _next(self, queue: WorkQueue) -> Delivery:
        """The next request, asked for only while there is room."""
        while True:
            await self._room.wait()
            loop = asyncio.get_running_loop()
            asking, gone = loop.create_task(queue.next()), loop.create_task(self._room.gone())
            try:
                await asyncio.wait({asking, gone}, return_when=asyncio.FIRST_COMPLETED)
                if asking.done():
                    return asking.result()
            except asyncio.CancelledError:
                if asking.done() and asking.exception() is None:
                    await asking.result().nak()  # it came at this very moment
                raise
            finally:
                gone.cancel()
                asking.cancel()
                await asyncio.wait({asking, gone})

    def _begin(self, group: asyncio.TaskGroup, work: Coroutine[Any, Any, None], name: str) -> None:
        attempt = group.create_task(work, name=name)
        self._attempts.add(attempt)
        attempt.add_done_callback(self._attempts.discard)

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
        self._on_change(self.busy)
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
            self._on_change(self.busy)
            self._give_back()

    def _give_back(self) -> None:
        if self._owed:
            self._owed -= 1
        else:
            self._free.release()
