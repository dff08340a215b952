"""Takes spawn requests from the queues that this host has room for, and runs each as a task."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from atoll.bus import Bus, Delivery, WorkQueue
from atoll.errors import AtollError, InputError, MessageError, NotFoundError
from atoll.wire.placement import Needs, SpawnClass, consumer_of, size_of
from atoll_manager.attempt import AttemptRunner
from atoll_manager.drivers.driver import EnclaveSpec, RunningEnclave
from atoll_manager.memory import Room
from atoll_manager.patience import overtaken
from atoll_manager.queues import Queues
from atoll_manager.reservations import Reservations
from atoll_manager.turns import Asked, Turns

_log = logging.getLogger(__name__)

MISSING_S: Final = 5.0
"""How long a queue that the bus does not have is left alone; a gateway makes it again."""


class Adopted(RunningEnclave, Protocol):
    """An enclave that an earlier manager of this host started."""

    @property
    def spec(self) -> EnclaveSpec: ...


@dataclass(slots=True, kw_only=True)
class _Request(Asked):
    """One request to a queue."""

    call: asyncio.Event = field(default_factory=asyncio.Event)
    """Set to withdraw it."""
    task: "asyncio.Task[None] | None" = None


class SlotPool:
    """As many attempts at once as there is room for; nothing is taken that cannot start now.

    Args:
        bus: the connection.
        runner: runs an attempt.
        classes: by name, those that this host can start; it may change (`look_again`).
        room: what the host has for jobs, and what they have claimed.
        adopted: what an earlier manager of this host started.
        on_change: is called with the number of attempts, also when only `keeps_room_for` changed.
        memory: whether the machine has any left.
    """

    def __init__(
        self,
        bus: Bus,
        runner: AttemptRunner,
        classes: Mapping[str, SpawnClass],
        room: Reservations,
        *,
        adopted: Iterable[Adopted] = (),
        on_change: Callable[[int], None] = lambda _: None,
        memory: Room | None = None,
    ) -> None:
        self._bus = bus
        self._runner = runner
        self._classes = classes
        self._room = room
        self._adopted = tuple((enclave, _size(enclave.spec)) for enclave in adopted)
        for _, needs in self._adopted:
            room.take(needs)
        self._on_change = on_change
        self._memory = memory or Room(0)
        self._turns = Turns()
        self._asked: dict[str, _Request] = {}
        self._missing: set[str] = set()
        self._news = asyncio.Event()
        self._wanted = True
        self._attempts: set[asyncio.Task[None]] = set()
        self.busy = 0
        self.keeps_room_for: str | None = None

    def pause(self) -> None:
        """Take no more work; what runs goes on."""
        self._wanted = False
        self._news.set()
        self._on_change(self.busy)

    def resume(self) -> None:
        """Take work again."""
        self._wanted = True
        self._news.set()
        self._on_change(self.busy)

    def look_again(self) -> None:
        """The classes have changed."""
        self._news.set()

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

    def claimed(self) -> Reservations:
        """What jobs have of this host, without what is kept for those that were asked for."""
        room = self._room.copy()
        for each in self._asked.values():
            room.give_back(each.needs)
        return room

    def further(self, needs: Needs) -> int:
        """How many more jobs of a size this host could start now; none if it is to take none."""
        if not self._wanted or not self._memory.there:
            return 0
        room, count = self.claimed(), 0
        while room.fits(needs):
            room.take(needs)
            count += 1
        return count

    def overtaken(self) -> list[SpawnClass]:
        """The classes that have no room while smaller ones might take what becomes free."""
        return overtaken(self._classes.values(), lambda it: self.claimed().has_size(it.needs))

    def keep_room_for(self, it: SpawnClass) -> None:
        """Take jobs of no other class until there was room for one of this."""
        name = it.consumer.name
        if name in self._classes and self.keeps_room_for is None:
            _log.info("taking no smaller jobs until there is room for one of %s", name)
            self._keep(name)

    def _keep(self, name: str | None) -> None:
        self.keeps_room_for = name
        self._news.set()
        self._on_change(self.busy)

    async def run(self) -> None:
        """Until cancelled; then every running attempt hands its job back before this returns.

        Raises:
            NotFoundError: `bus.not_found`: there is no queue of plain jobs.
            RefusedError: `bus.permission`.
        """
        async with Queues(self._bus) as queues, asyncio.TaskGroup() as group:
            for enclave, needs in self._adopted:
                queue = await self._home(queues, enclave.spec)
                work = self._adopt(queue, enclave, needs)
                self._begin(group, work, enclave.enclave_id)
            try:
                while True:
                    self._news.clear()
                    again_s = await self._look(group, queues)
                    await _set_within(self._news, again_s)
            finally:
                for task in self._requests():
                    task.cancel()

    def _requests(self) -> list["asyncio.Task[None]"]:
        return [each.task for each in self._asked.values() if each.task is not None]

    async def _look(self, group: asyncio.TaskGroup, queues: Queues) -> float | None:
        """Ask what there is room for; the time after which to look again."""
        if not self._wanted or not self._memory.look():
            for task in self._requests():
                task.cancel()
            return self._memory.again_s
        if self.keeps_room_for is not None and self.keeps_room_for not in self._classes:
            self._keep(None)
        names = self._classes.keys() - self._missing
        if self.keeps_room_for is not None:
            names &= {self.keeps_room_for}
        classes = {name: self._classes[name].needs for name in names}
        now = asyncio.get_running_loop().time()
        plan = self._turns.plan(classes, self._asked, self._room, now=now)
        for name in plan.recall:
            self._asked[name].recalled = True
            self._asked[name].call.set()
        for name, waits in plan.ask:
            queue = await queues.get(self._classes[name].consumer)
            request = _Request(needs=classes[name], waits=waits, since=now)
            self._room.take(request.needs)
            self._asked[name] = request
            request.task = group.create_task(self._ask(group, queue, request), name=f"ask {name}")
        await queues.close_unused(self._classes.keys() | self._asked.keys())
        times = (plan.again_s, self._memory.again_s)
        return min((each for each in times if each is not None), default=None)

    async def _ask(self, group: asyncio.TaskGroup, queue: WorkQueue, request: _Request) -> None:
        """One request; what it brings begins with what was claimed for it."""
        name, delivery = queue.consumer.name, None
        try:
            delivery = await queue.take(wait=request.waits, recalled=request.call)
        except NotFoundError as error:
            if self._is_plain(name):
                raise
            _log.warning("jobs of %s cannot be taken: %s", name, error.message)
            self._missing.add(name)
            asyncio.get_running_loop().call_later(MISSING_S, self._found_again, name)
        finally:
            del self._asked[name]
            self._news.set()
            if delivery is None:
                self._room.give_back(request.needs)
        self._turns.found(name, job=delivery is not None)
        if self.keeps_room_for == name:
            self._keep(None)
        if delivery is not None:
            work = self._one(queue, delivery, request.needs, self._runner.run)
            self._begin(group, work, f"spawn {delivery.stream_seq}")

    def _is_plain(self, name: str) -> bool:
        found = self._classes.get(name)
        return found is not None and found.is_plain

    def _found_again(self, name: str) -> None:
        self._missing.discard(name)
        self._news.set()

    def _begin(self, group: asyncio.TaskGroup, work: Coroutine[Any, Any, None], name: str) -> None:
        attempt = group.create_task(work, name=name)
        self._attempts.add(attempt)
        attempt.add_done_callback(self._attempts.discard)

    async def _home(self, queues: Queues, spec: EnclaveSpec) -> WorkQueue | None:
        """The queue that an enclave's job came from."""
        try:
            return None if spec.claim is None else await queues.get(consumer_of(spec.claim.subject))
        except InputError:
            return None

    async def _adopt(self, queue: WorkQueue | None, enclave: Adopted, needs: Needs) -> None:
        spec, claim = enclave.spec, enclave.spec.claim
        try:
            if claim is None or queue is None:
                raise MessageError("no spawn request stands in its record")
            delivery = await queue.take_over(
                claim.reply, subject=claim.subject, payload=claim.payload, headers=claim.headers
            )
        except AtollError as error:
            _log.error("enclave %s: %s (%s)", spec.enclave_id, error, error.code)
            await enclave.stop(0.0)
            self._give_back(needs)
            return
        await self._one(queue, delivery, needs, lambda it: self._runner.adopt(it, spec, enclave))

    async def _one(
        self,
        queue: WorkQueue,
        delivery: Delivery,
        needs: Needs,
        work: Callable[[Delivery], Awaitable[None]],
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
            self._give_back(needs)
            self._on_change(self.busy)

    def _give_back(self, needs: Needs) -> None:
        self._room.give_back(needs)
        self._turns.room_came()
        self._news.set()


def _size(spec: EnclaveSpec) -> Needs:
    """What the job of an adopted enclave has claimed."""
    try:
        return Needs() if spec.claim is None else size_of(spec.claim.subject)
    except AtollError:
        return Needs()  # it is ended as soon as somebody looks at it


async def _set_within(event: asyncio.Event, seconds: float | None) -> None:
    """Until it is set, or for so long."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
