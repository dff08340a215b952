"""From a source of finished spans to an async publish function, in batches.

Telemetry must never hold up or fail the work it describes. So spans are taken from a
bounded buffer, a failed publish loses its batch and is counted, and flushing at the end
has a deadline.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Final

from atoll.telemetry.allow import sanitise
from atoll.telemetry.otlp import by_trace, encode_spans
from atoll.telemetry.span import Span

MAX_BATCH: Final = 128
"""Spans in one message. A sanitised span is below 4 KiB, so a batch is below 512 KiB."""

WINDOW: Final = 32
"""Messages that are under way at a time."""

DEFAULT_INTERVAL_S: Final = 0.25
PUBLISH_TIMEOUT_S: Final = 5.0

Publish = Callable[[str, bytes], Awaitable[None]]
"""Takes a trace id and an OTLP export request that holds spans of this trace only."""

logger = logging.getLogger(__name__)


class Exporter:
    """Takes spans from `drain`, sanitises them, and hands them to `publish`.

    Run `run()` in the owner's task group, cancel it to stop, then call `flush`.
    """

    def __init__(
        self,
        drain: Callable[[], tuple[Span, ...]],
        publish: Publish,
        *,
        interval_s: float = DEFAULT_INTERVAL_S,
        publish_timeout_s: float = PUBLISH_TIMEOUT_S,
    ) -> None:
        self._drain = drain
        self._publish = publish
        self._interval_s = interval_s
        self._publish_timeout_s = publish_timeout_s
        self._pending: deque[tuple[str, bytes, int]] = deque()
        self._lock = asyncio.Lock()
        self.exported = 0
        """Spans that `publish` took."""
        self.failed = 0
        """Spans lost because `publish` failed or took too long."""

    async def run(self) -> None:
        """Export every `interval_s` until cancelled; a publish that fails does not end it."""
        while True:
            await asyncio.sleep(self._interval_s)
            await self._export()

    async def flush(self, timeout_s: float) -> bool:
        """Export what is waiting now. False when the deadline came first; never raises for it."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._export()
        except TimeoutError:
            return False
        return True

    async def _export(self) -> None:
        async with self._lock:
            for trace_id, spans in by_trace(map(sanitise, self._drain())):
                for start in range(0, len(spans), MAX_BATCH):
                    batch = spans[start : start + MAX_BATCH]
                    self._pending.append((trace_id, encode_spans(batch), len(batch)))
            while self._pending:
                # Side by side: messages that wait for one answer after the other go out in
                # one piece each, which costs sender and server more than the spans do.
                window = tuple(islice(self._pending, WINDOW))
                await asyncio.gather(*map(self._deliver, window))

    async def _deliver(self, waiting: tuple[str, bytes, int]) -> None:
        trace_id, raw, count = waiting
        if await self._send(trace_id, raw):
            self.exported += count
        else:
            self.failed += count
        # Taken off only afterwards: a batch whose publish was cancelled goes out
        # with the next flush. Readers drop the duplicate by its span id.
        self._pending.remove(waiting)

    async def _send(self, trace_id: str, raw: bytes) -> bool:
        try:
            async with asyncio.timeout(self._publish_timeout_s):
                await self._publish(trace_id, raw)
        except Exception as error:  # noqa: BLE001  # a lost span must not stop a service
            logger.warning("telemetry batch lost: %s", type(error).__name__)
            return False
        return True
