"""Works off what managers and enclaves report: decode, apply, then acknowledge."""

import logging

from atoll.bus import Bus, Delivery, WorkQueue, bury
from atoll.errors import AtollError, InputError, MessageError, NotFoundError
from atoll.telemetry import names as spans
from atoll.telemetry import wiring
from atoll.telemetry.tracing import Tracer
from atoll.wire import schema, subjects, topology
from atoll.wire.messages import Report
from atoll_gateway.ledger import Ledger

_log = logging.getLogger(__name__)


class ReportWorker:
    def __init__(self, bus: Bus, ledger: Ledger, tracer: Tracer) -> None:
        self._bus = bus
        self._ledger = ledger
        self._tracer = tracer

    async def run(self) -> None:
        """Until cancelled."""
        async with WorkQueue(self._bus, topology.LEDGER_CONSUMER) as queue:
            await self.work_off(queue)

    async def work_off(self, queue: WorkQueue) -> None:
        """Until cancelled. Reports are applied one after another, so that a job's stay in order."""
        while True:
            delivery = await queue.next()
            try:
                await self._handle(delivery)
            except AtollError as error:
                # Not even acknowledged: no longer kept alive, the bus delivers it again.
                _log.warning("report not worked off: %s", error.code)
                queue.release(delivery.reply_subject)

    async def _handle(self, delivery: Delivery) -> None:
        try:
            report = schema.decode(Report, delivery.payload)
            (job_id,) = subjects.REPORT.read(delivery.subject)
            if job_id != report.job_id:
                raise MessageError(f"report about {report.job_id!r} came as {job_id!r}")
            with wiring.consume(self._tracer, spans.LEDGER_APPLY, delivery.headers):
                await self._ledger.apply(report.job_id, report)
        except (InputError, NotFoundError) as error:
            # Keep what nobody can ever apply, with the reason, and go on.
            await bury(self._bus, delivery, stream=topology.REPORTS.name, error=error)
            _log.error("report %d is a dead letter: %s", delivery.stream_seq, error)
            return
        except AtollError as error:
            _log.warning("report not applied, will be tried again: %s", error.code)
            await delivery.retry()
            return
        await delivery.ack()
