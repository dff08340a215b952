"""What a gateway remembers of jobs, so that it need not scan the bucket.

It follows the bucket `jobs` by a watch. It knows every job that has not ended: its deadline,
its manifest, whether its outbox waits. Of those that ended it keeps the newest of each tenant and
state, as many as a list may ask for at most. So every list is complete, and neither memory nor
the price of a question grows with what is stored.
"""

import asyncio
import heapq
from collections import defaultdict
from contextlib import aclosing
from itertools import islice
from typing import Final

from atoll.errors import UnreachableError
from atoll.wire.messages import MAX_LISTED, JobRecord, JobState, JobView
from atoll_gateway.ports import JobStore
from atoll_gateway.ranks import Ranks

CURRENT_WAIT_S: Final = 5.0
"""How long a question waits for a gateway that has just started."""

_Shelf = tuple[str | None, JobState]
"""Of one tenant, or of all."""


class JobIndex:
    def __init__(self) -> None:
        self._views: dict[str, JobView] = {}
        self._shelves: defaultdict[_Shelf, Ranks] = defaultdict(Ranks)
        """By creation."""
        self._stands: dict[str, int] = {}
        """On how many shelves each job is."""
        self._deadlines = Ranks()
        self._of_manifest: defaultdict[str, set[str]] = defaultdict(set)
        self._undone: dict[str, int] = {}
        self._waiting = Ranks()
        """Of `_undone`, by since when."""
        self._current = asyncio.Event()

    def note(self, record: JobRecord) -> None:
        """Take in the newest entry of a job; an older one is ignored."""
        view = record.view
        known = self._views.get(view.job_id)
        if known is not None:
            if known.seq > view.seq:
                return
            self._take_down(known)
        self._put_up(view)
        self._note_outbox(record)

    def forget(self, job_id: str) -> None:
        """Its entry is gone, or nobody can read it."""
        known = self._views.pop(job_id, None)
        if known is not None:
            self._take_down(known)
        self._settle(job_id)

    def newest(
        self, *, limit: int, state: JobState | None, tenant: str | None = None
    ) -> tuple[JobView, ...]:
        """The newest jobs first, at most `MAX_LISTED`; those of a tenant or
        that it takes part in; without one, all."""
        states = JobState if state is None else (state,)
        shelves = [self._shelves[tenant, one] for one in states if (tenant, one) in self._shelves]
        falling = heapq.merge(*(shelf.falling() for shelf in shelves), reverse=True)
        return tuple(self._views[job] for _, job in islice(falling, min(limit, MAX_LISTED)))

    def of_manifest(self, digest: str) -> tuple[str, ...]:
        """The jobs of a manifest that have not ended."""
        return tuple(self._of_manifest.get(digest, ()))

    def overdue(self, now_ms: int) -> list[str]:
        """Jobs that have not ended and whose deadline is over."""
        return self._deadlines.up_to(now_ms)

    def undone(self, before_ms: int) -> list[str]:
        """Jobs whose outbox has waited since before `before_ms`."""
        return self._waiting.up_to(before_ms)

    def __len__(self) -> int:
        return len(self._views)

    def count(self, state: JobState) -> int:
        """How many jobs are in a state that is not an end."""
        shelf = self._shelves.get((None, state))
        return 0 if shelf is None else len(shelf)

    @property
    def undone_count(self) -> int:
        """How many jobs' outboxes wait."""
        return len(self._undone)

    async def follow(self, jobs: JobStore) -> None:
        """Keep up with the bucket until cancelled."""
        async with aclosing(jobs.watch()) as entries:
            async for job_id, record, behind in entries:
                if record is not None:
                    self.note(record)
                else:
                    self.forget(job_id)
                if behind == 0:
                    self.caught_up()

    def caught_up(self) -> None:
        """All that the bucket held at the start is known."""
        self._current.set()

    async def current(self) -> None:
        """Return when all that the bucket held at the start is known.

        Raises:
            UnreachableError: `jobs.reading`: it takes longer than callers wait.
        """
        try:
            async with asyncio.timeout(CURRENT_WAIT_S):
                await self._current.wait()
        except TimeoutError as error:
            raise UnreachableError(
                "this gateway has just started and still reads the ledger",
                code="jobs.reading",
                hint="ask again in a moment",
            ) from error

    def _put_up(self, view: JobView) -> None:
        self._views[view.job_id] = view
        shelves = [self._shelves[tenant, view.state] for tenant in _sees(view)]
        self._stands[view.job_id] = len(shelves)
        for shelf in shelves:
            shelf.add(view.created_ms, view.job_id)
        if view.state.terminal:
            for shelf in shelves:
                if len(shelf) > MAX_LISTED:
                    self._drop(shelf.drop_first())
        else:
            self._deadlines.add(view.expires_ms, view.job_id)
            self._of_manifest[view.manifest_digest].add(view.job_id)

    def _drop(self, job_id: str) -> None:
        """From a shelf; with the last one, what is too old is forgotten."""
        self._stands[job_id] -= 1
        if not self._stands[job_id]:
            del self._stands[job_id], self._views[job_id]

    def _take_down(self, view: JobView) -> None:
        del self._stands[view.job_id]
        for tenant in _sees(view):
            self._shelves[tenant, view.state].discard(view.created_ms, view.job_id)
        if not view.state.terminal:
            self._deadlines.discard(view.expires_ms, view.job_id)
            jobs = self._of_manifest[view.manifest_digest]
            jobs.discard(view.job_id)
            if not jobs:
                del self._of_manifest[view.manifest_digest]

    def _note_outbox(self, record: JobRecord) -> None:
        view = record.view
        self._settle(view.job_id)
        if record.outbox:
            self._undone[view.job_id] = view.updated_ms
            self._waiting.add(view.updated_ms, view.job_id)

    def _settle(self, job_id: str) -> None:
        since = self._undone.pop(job_id, None)
        if since is not None:
            self._waiting.discard(since, job_id)


def _sees(view: JobView) -> tuple[str | None, ...]:
    """The tenants that find it in their lists, and None for who sees all."""
    return tuple(dict.fromkeys((None, view.tenant, *view.guests)))
