"""Hands every batch of spans on to the operator's own OTLP endpoint, if one is named."""

import logging

from atoll.bus import Bus, WorkQueue
from atoll.errors import AtollError, MessageError, UnreachableError
from atoll.telemetry.allow import sanitise
from atoll.telemetry.forward import OtlpForwarder, OtlpSettings
from atoll.telemetry.otlp import decode_spans, encode_spans
from atoll.wire import topology

_log = logging.getLogger(__name__)


class TraceForwarder:
    def __init__(self, bus: Bus, settings: OtlpSettings) -> None:
        self._bus = bus
        self._forwarder = OtlpForwarder(settings)

    async def run(self) -> None:
        """Until cancelled. What the endpoint refuses for good is dropped and logged."""
        async with WorkQueue(self._bus, topology.FORWARDER_CONSUMER) as queue:
            while True:
                delivery = await queue.next()
                try:
                    # Again: whoever may publish telemetry need not have sanitised it.
                    spans = [sanitise(span) for span in decode_spans(delivery.payload)]
                    await self._forwarder.forward(encode_spans(spans))
                except UnreachableError as error:
                    _log.warning("traces not forwarded, will be tried again: %s", error)
                    await delivery.retry()
                except MessageError as error:
                    await delivery.term(error.code)
                except AtollError as error:
                    _log.warning("traces refused by the endpoint: %s", error)
                    await delivery.ack()
                else:
                    await delivery.ack()
