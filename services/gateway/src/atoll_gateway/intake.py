"""Works off what was published to the intake: a submission without anybody who waits.

What becomes of it is an event under the publisher's own key, `accepted` or `refused`. The
same submission again, or the same delivery after a crash, gives the same job.
"""

import hashlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from atoll.bus import Bus, Delivery, WorkQueue, bury
from atoll.errors import (
    AtollError,
    ConflictError,
    InputError,
    MessageError,
    NotFoundError,
    RefusedError,
)
from atoll.telemetry import wiring
from atoll.telemetry.context import extract, render
from atoll.telemetry.names import messaging_span
from atoll.telemetry.tracing import Tracer
from atoll.wire import media, subjects, topology
from atoll.wire.messages import JobView, Reason, SubmitRequest, reason_of
from atoll.wire.submission import SubmissionEvent, SubmissionOutcome
from atoll_gateway.caller import Caller, client_of
from atoll_gateway.ports import Clock

_log = logging.getLogger(__name__)

RETRY_S: Final = 2.0
_SERVED: Final = subjects.of_tenants(subjects.INTAKE)
_SPAN: Final = messaging_span("process", subjects.INTAKE)
_NEVER: Final = (InputError, RefusedError, ConflictError, NotFoundError)
"""What trying again cannot help."""


class Outlet(Protocol):
    """Where the outcome is told; saying it twice is saying it once."""

    async def submission(self, event: SubmissionEvent, traceparent: str, tenant: str) -> None: ...


class IntakeWorker:
    def __init__(
        self,
        bus: Bus,
        submit: Callable[[SubmitRequest, Caller], Awaitable[JobView]],
        outlet: Outlet,
        clock: Clock,
        tracer: Tracer,
    ) -> None:
        self._bus = bus
        self._submit = submit
        self._outlet = outlet
        self._clock = clock
        self._tracer = tracer

    async def run(self) -> None:
        """Until cancelled."""
        async with WorkQueue(self._bus, topology.INTAKE_CONSUMER) as queue:
            while True:
                delivery = await queue.next()
                try:
                    await self._handle(delivery)
                except AtollError as error:
                    # Not even acknowledged. No longer kept alive, it is delivered again.
                    queue.release(delivery.reply_subject)
                    _log.warning("submission not worked off: %s", error.code)

    async def _handle(self, delivery: Delivery) -> None:
        try:
            tenant, key = _SERVED.read(delivery.subject)
        except InputError as error:
            # No key, so nobody to tell.
            await self._bury(delivery, error)
            return
        digest = hashlib.sha256(delivery.payload).hexdigest()
        unreadable: MessageError | None = None
        reason: Reason | None = None
        view: JobView | None = None
        try:
            with wiring.consume(self._tracer, _SPAN, delivery.headers):
                view = await self._submit(read(key, delivery), client_of(tenant))
        except _NEVER as error:
            reason = reason_of(error.code, error.message)
            unreadable = error if isinstance(error, MessageError) else None
        except AtollError as error:
            await self._later(delivery, error)
            return
        event = SubmissionEvent(
            idempotency_key=key,
            outcome=SubmissionOutcome.REFUSED if reason else SubmissionOutcome.ACCEPTED,
            time_ms=self._clock(),
            message_digest=digest,
            job_id=view.job_id if view else None,
            reason=reason,
        )
        context = extract(delivery.headers)
        await self._outlet.submission(event, render(context) if context else "", tenant)
        if unreadable is not None:
            await self._bury(delivery, unreadable)
        else:
            await delivery.ack()

    async def _later(self, delivery: Delivery, error: AtollError) -> None:
        _log.warning("submission not decided, will be tried again: %s", error.code)
        if delivery.is_last:
            await self._bury(delivery, error)
        else:
            await delivery.nak(delay_s=RETRY_S)

    async def _bury(self, delivery: Delivery, error: AtollError) -> None:
        await bury(self._bus, delivery, stream=topology.INTAKE.name, error=error)


def read(key: str, delivery: Delivery) -> SubmitRequest:
    """What was submitted under `key`.

    Raises:
        MessageError: it is no submission, or one under another key.
    """
    kind = media.of(delivery.headers)
    request = media.decode(SubmitRequest, delivery.payload, kind)
    if request.idempotency_key != key:
        raise MessageError(
            f"idempotency_key is {request.idempotency_key!r}, but the subject says {key!r}",
            code="intake.other_key",
        )
    return request
