"""Ends jobs whose deadline is over and performs what a crashed gateway left undone."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from atoll.errors import AtollError
from atoll_gateway import core
from atoll_gateway.index import JobIndex
from atoll_gateway.ledger import Ledger
from atoll_gateway.ports import Clock

_log = logging.getLogger(__name__)

PERIOD_S = 1.0
GRACE_MS = 5_000
"""How long another gateway may take to perform its own outbox before we do."""


class Sweeper:
    def __init__(self, ledger: Ledger, index: JobIndex, clock: Clock) -> None:
        self._ledger = ledger
        self._index = index
        self._clock = clock

    async def run(self) -> None:
        """Until cancelled. Every gateway sweeps; doing it twice is doing it once."""
        while True:
            await self.sweep()
            await asyncio.sleep(PERIOD_S)

    async def sweep(self) -> None:
        """One round over the jobs that are due."""
        now = self._clock()
        for job_id in self._index.overdue(now):
            with _one(job_id):
                await self._ledger.apply(job_id, core.DeadlinePassed())
        for job_id in self._index.undone(now - GRACE_MS):
            with _one(job_id):
                await self._ledger.recover(job_id)


@contextmanager
def _one(job_id: str) -> Iterator[None]:
    # What is wrong with one job must not keep the others from their deadline.
    try:
        yield
    except AtollError as error:
        _log.warning("sweep of %s will be repeated: %s", job_id, error.code)
