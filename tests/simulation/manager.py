"""A host: the real lease machine, and a shell that performs its commands on the simulated bus."""

from typing import Any, cast

from atoll.bus import Bus, KeyValue, publish
from atoll.errors import AtollError, NotFoundError, UnreachableError
from atoll.wire import schema, subjects, topology
from atoll.wire.messages import EvidenceRecord, JobRecord, Reason, SpawnRequest
from atoll_manager import lease as leases
from atoll_manager import lease_terms as terms
from atoll_manager.attempt import report
from simulation.bus import SimBus, SimDelivery, SimQueue, Weather, Wire
from simulation.enclave import EnclaveProcess, Habits
from simulation.keeper import GRACE_MS, Keeper
from simulation.oracle import Oracle
from simulation.scheduler import Channel, Entry, Process, Scheduler, Sleep, Task
from simulation.server import Server

TIMING = leases.Timing(boot_timeout_s=30.0, stop_grace_s=GRACE_MS / 1000)
SLOTS = 2


class ManagerProcess(Process):
    def __init__(
        self,
        scheduler: Scheduler,
        name: str,
        server: Server,
        weather: Weather,
        *,
        oracle: Oracle,
        habits: Habits,
    ) -> None:
        super().__init__(scheduler, name)
        self.server = server
        self.weather = weather
        self.oracle = oracle
        self.habits = habits
        self.wire = Wire(self, server, weather)
        self.keepers: dict[str, Keeper] = {}
        self._started = 0
        self._running: list[Attempt] = []

    def start(self) -> None:
        bus = SimBus(self.wire)
        self._running.clear()
        queue = SimQueue(bus, self.server.queues["SPAWN"])
        for keeper in tuple(self.keepers.values()):
            delivery = queue.take_over(keeper.request, keeper.delivered)
            self.spawn(self._one(queue, Attempt(self, bus, delivery, keeper)))
        for _ in range(SLOTS):
            self.spawn(self._slot(bus, queue))

    def crash(self) -> None:
        """Its enclaves go on for a while, unless the whole host went down."""
        super().crash()
        host_died = self.scheduler.rng.random() < self.habits.host_dies
        for keeper in tuple(self.keepers.values()):
            keeper.alone()
            if host_died and keeper.lives and keeper.enclave is not None:
                keeper.enclave.exit(-9)
        if host_died:
            self.keepers.clear()

    @property
    def enclaves(self) -> list[EnclaveProcess]:
        """Those that live."""
        kept = [keeper.enclave for keeper in self.keepers.values()]
        return [enclave for enclave in kept if enclave is not None and enclave.alive]

    def stop(self) -> None:
        """Ask every attempt to hand its job back, as on SIGTERM."""
        for attempt in tuple(self._running):
            attempt.events.put((None, terms.StopAsked()))

    def new_enclave_id(self) -> str:
        self._started += 1
        return f"e-{self.name}-{self.life}-{self._started}"

    async def _slot(self, bus: SimBus, queue: SimQueue) -> None:
        while True:
            delivery = await queue.next()
            await self._one(queue, Attempt(self, bus, delivery))

    async def _one(self, queue: SimQueue, attempt: "Attempt") -> None:
        self._running.append(attempt)
        await attempt.run()
        self._running.remove(attempt)
        queue.release(attempt.delivery.reply_subject)
        keeper = self.keepers.pop(attempt.lease.enclave_id, None)
        if keeper is not None and keeper.lives and keeper.enclave is not None:
            self.oracle.fail(f"{keeper.enclave.name} lives after its lease is over")


def _name(keeper: Keeper | None) -> str | None:
    return None if keeper is None or keeper.enclave is None else keeper.enclave.name


class Attempt:
    """`atoll_manager.attempt.Attempt` without asyncio."""

    def __init__(
        self,
        manager: ManagerProcess,
        bus: SimBus,
        delivery: SimDelivery,
        adopted: Keeper | None = None,
    ) -> None:
        self._manager = manager
        self._bus = cast("Bus", bus)
        self.delivery = delivery
        request = schema.decode(SpawnRequest, delivery.payload)
        self.lease, self._first = leases.begin(
            job_id=request.job_id,
            enclave_id=_name(adopted) or manager.new_enclave_id(),
            spawn_seq=delivery.stream_seq,
            delivered=delivery.num_delivered,
            is_last=delivery.is_last,
            timing=TIMING,
            adopted=None if adopted is None else adopted.attempt,
        )
        self.events = Channel(manager.scheduler)
        self._under_way: Task | None = None
        self._ordered = 0
        self._timer: Entry | None = None
        self._keeper = adopted
        self._looked_at = 0

    async def run(self) -> None:
        commands = self._first
        while True:
            for command in commands:
                self._order(command)
            if self.lease.phase is leases.Phase.OVER:
                break
            event = await self._next()
            self.lease, commands = leases.step(self.lease, event)
            lease = self.lease
            self._manager.scheduler.note(
                f"{self._manager.name}: {lease.job_id} attempt {lease.attempt}: "
                f"{type(event).__name__} -> {lease.phase.value}"
            )
        self._order(terms.SetTimer(None))
        if self._under_way is not None:
            self._under_way.kill()

    async def _next(self) -> terms.Event:
        """The next event, but for the end of a command whose place another one took since."""
        while True:
            ended, event = await self.events.get()
            if ended is None or ended == self._ordered:
                return cast("terms.Event", event)

    def _order(self, command: terms.Command) -> None:
        scheduler = self._manager.scheduler
        if isinstance(command, terms.SetTimer):
            if self._timer is not None:
                scheduler.call_off(self._timer)
            self._timer = None
            if command.seconds is not None:
                due = round(command.seconds * 1000)
                self._timer = scheduler.after(due, self._put, terms.TimedOut())
            return
        if self._under_way is not None:
            self._under_way.kill()
        self._ordered += 1
        self._under_way = self._manager.spawn(self._perform(command, self.lease, self._ordered))

    def _put(self, event: terms.Event) -> None:
        if self._manager.alive:
            self.events.put((None, event))

    async def _perform(self, command: terms.Command, lease: leases.Lease, number: int) -> None:
        try:
            event = await self._carry_out(command, lease)
        except AtollError as error:
            reason = Reason(code=error.code, message="the host could not go on")
            event = terms.Failed(reason, away=isinstance(error, UnreachableError))
        self._under_way = None
        self.events.put((number, event))

    async def _carry_out(self, command: terms.Command, lease: leases.Lease) -> terms.Event:
        manager = self._manager
        match command:
            case terms.AskLedger():
                return await self._ask(lease)
            case terms.Tell():
                told = report(command, lease, host_id=manager.name)
                await publish(
                    self._bus,
                    subjects.REPORT.of(lease.job_id),
                    schema.encode(told),
                    msg_id=f"report.{lease.enclave_id}.{told.kind.value}",
                )
            case terms.StartEnclave():
                await Sleep(manager.scheduler.rng.randrange(5, 200))
                self._start(lease)
            case terms.Judge():
                return self._judge(command.record, lease)
            case terms.Hold():
                await self._undisturbed(round(command.seconds * 1000))
            case terms.Offer():
                await publish(
                    self._bus,
                    subjects.ASSIGN.of(lease.enclave_id),
                    lease.job_id.encode(),
                    msg_id=f"assign.{lease.enclave_id}",
                )
            case terms.StopEnclave():
                if self._keeper is not None and self._keeper.enclave is not None:
                    await Sleep(manager.scheduler.rng.randrange(1, GRACE_MS))
                    self._keeper.enclave.exit(-15)
            case terms.Ack():
                await self.delivery.ack()
            case terms.Nak():
                await self.delivery.nak(delay_s=command.delay_s)
            case _:
                raise AssertionError(command)
        return terms.Done()

    async def _ask(self, lease: leases.Lease) -> terms.Event:
        self._looked_at = self._manager.scheduler.now
        entry = await KeyValue(self._bus, topology.JOBS).get(lease.job_id)
        if entry is None or entry.value is None:
            raise NotFoundError("no such job", code="job.not_found")
        key = f"$KV.jobs.{lease.job_id}"
        self._manager.server.follow(self._manager, "KV_jobs", key, self._ledger_changed)
        if lease.adopted and self._keeper is not None:
            self._follow(self._keeper, lease)
        return terms.LedgerSays(schema.decode(JobRecord, entry.value))

    def _ledger_changed(self, one: Any) -> None:
        if self.lease.phase is not leases.Phase.OVER:
            self._put(terms.LedgerSays(schema.decode(JobRecord, one.payload)))

    async def _undisturbed(self, wait_ms: int) -> None:
        manager, since = self._manager, self._manager.scheduler.now
        while manager.scheduler.now - since < wait_ms:
            await Sleep(500)
            if manager.cut_off or not manager.server.alive:
                since = manager.scheduler.now

    def _start(self, lease: leases.Lease) -> None:
        manager, delivery = self._manager, self.delivery
        keeper = Keeper(manager.scheduler, delivery.stored, delivery.num_delivered, lease.attempt)
        keeper.enclave = EnclaveProcess(
            manager.scheduler,
            lease.enclave_id,
            manager.server,
            manager.weather,
            job_id=lease.job_id,
            attempt=lease.attempt,
            spawn_seq=lease.spawn_seq,
            looked_at=self._looked_at,
            oracle=manager.oracle,
            habits=manager.habits,
            host=manager,
            ended=keeper.ended,
        )
        self._keeper = manager.keepers[lease.enclave_id] = keeper
        self._follow(keeper, lease)
        keeper.enclave.up()

    def _follow(self, keeper: Keeper, lease: leases.Lease) -> None:
        manager = self._manager
        key = f"$KV.evidence.{lease.enclave_id}"
        manager.server.follow(manager, "KV_evidence", key, self._evidence_seen)
        keeper.follow(self._exited)

    def _exited(self, status: int) -> None:
        self._put(terms.Exited(status))

    def _evidence_seen(self, one: Any) -> None:
        self._put(terms.EvidenceSeen(schema.decode(EvidenceRecord, one.payload)))

    def _judge(self, record: EvidenceRecord, lease: leases.Lease) -> terms.Event:
        """In the place of `admit`, whose signatures say nothing about the lifecycle."""
        if (record.job_id, record.attempt) != (lease.job_id, lease.attempt):
            return terms.Refused(Reason(code="evidence.other_enclave", message=""))
        if self._manager.scheduler.rng.random() < self._manager.habits.attestor_away:
            return terms.Failed(Reason(code="bus.no_responders", message=""), away=True)
        if record.ear == "refused":
            return terms.Refused(Reason(code="ear.status", message=""))
        return terms.Done()
