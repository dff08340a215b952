"""A gateway: the real ledger, core, index, sweeper, outlet, report worker and reader on a
simulated bus."""

from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final, cast

from atoll.errors import AtollError
from atoll.wire import endpoints, schema
from atoll.wire.access import DEFAULT_TENANT
from atoll.wire.messages import JobRecord, JobRequest, JobView, Tee
from atoll_gateway import core, sweeper
from atoll_gateway.adapters import BusOutlet, KvJobs
from atoll_gateway.caller import Caller, client_of
from atoll_gateway.index import JobIndex
from atoll_gateway.ledger import Ledger
from atoll_gateway.reading import JobReader
from atoll_gateway.reports import ReportWorker
from atoll_gateway.sweeper import Sweeper
from simulation.bus import SimBus, SimQueue, Weather, Wire
from simulation.oracle import EPOCH_MS
from simulation.scheduler import Process, Scheduler, Sleep
from simulation.server import Server

if TYPE_CHECKING:
    from atoll.bus import Bus, WorkQueue

MANIFEST: Final = "ab" * 32
KEY_PREFIX: Final = "$KV.jobs."


class NoTracer:
    """A tracer whose spans are nothing."""

    def current(self) -> None:
        return None

    def span(self, _name: str, **_: Any) -> AbstractContextManager[None]:
        return nullcontext()


class EveryJob:
    """All jobs are of one tenant."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def get(self, request: JobRequest, _caller: Caller) -> JobView:
        return await self._ledger.get(request.job_id)


class GatewayProcess(Process):
    def __init__(
        self, scheduler: Scheduler, name: str, server: Server, weather: Weather, skew_ms: int
    ) -> None:
        super().__init__(scheduler, name)
        self.server = server
        self.skew_ms = skew_ms
        self.wire = Wire(self, server, weather)
        self.ledger: Ledger
        self._read: dict[str, tuple[Any, Callable[..., Any]]] = {}

    def clock(self) -> int:
        return EPOCH_MS + self.scheduler.now + self.skew_ms

    def start(self) -> None:
        bus = SimBus(self.wire)
        real = cast("Bus", bus)
        index = JobIndex()
        self.ledger = Ledger(KvJobs(real), BusOutlet(real), self.clock)
        reader = JobReader(real, EveryJob(self.ledger), cast("Any", NoTracer()))
        served = (
            (endpoints.EVIDENCE, reader.evidence),
            (endpoints.RELEASE, reader.release),
            (endpoints.OUTCOME, reader.outcome),
        )
        self._read = {row.subject.of(): (row, operation) for row, operation in served}
        worker = ReportWorker(real, self.ledger, cast("Any", NoTracer()))
        self.server.follow(
            self,
            "KV_jobs",
            KEY_PREFIX,
            lambda one: index.note(schema.decode(JobRecord, one.payload)),
        )
        queue = SimQueue(bus, self.server.queues["REPORTS"])
        self.spawn(worker.work_off(cast("WorkQueue", queue)))
        self.spawn(self._sweep(Sweeper(self.ledger, index, self.clock)))

    async def _sweep(self, real: Sweeper) -> None:
        while True:
            await real.sweep()
            await Sleep(sweeper.PERIOD_S * 1000)

    # What the API does, as far as the ledger is concerned.

    async def submit(self, job_id: str, deadline_ms: int) -> tuple[JobView, bool]:
        record = core.submitted(
            job_id=job_id,
            tee=Tee.SIMULATED,
            manifest_digest=MANIFEST,
            now_ms=self.clock(),
            deadline_ms=deadline_ms,
            traceparent="",
            trace_id=None,
        )
        return await self.ledger.submit(record)

    async def get(self, job_id: str) -> JobView:
        return await self.ledger.get(job_id)

    async def cancel(self, job_id: str) -> JobView:
        return await self.ledger.apply(job_id, core.CancelRequested())

    async def read(self, subject: str, payload: bytes) -> bytes:
        """What clients may read of a job, and how they reach its enclave."""
        row, operation = self._read[subject]
        reply = await operation(schema.decode(row.request, payload), client_of(DEFAULT_TENANT))
        return schema.encode(reply)

    def serve(
        self, work: Callable[[], Coroutine[Any, Any, Any]], answer: Callable[[Any], None]
    ) -> None:
        """Answer a request, unless we die over it."""

        async def handle() -> None:
            try:
                result: Any = await work()
            except AtollError as error:
                result = error
            answer(result)

        self.spawn(handle())
