"""What a gateway remembers of all jobs, so that it need not scan the bucket.

It follows the bucket `jobs` by a watch: the list of jobs, the deadlines, and the
entries whose outbox somebody left undone.
"""

from collections.abc import Iterator
from contextlib import aclosing

from atoll.wire.messages import JobRecord, JobState, JobView
from atoll_gateway.ports import JobStore


class JobIndex:
    def __init__(self) -> None:
        self._views: dict[str, JobView] = {}
        self._open: set[str] = set()
        self._undone: dict[str, int] = {}

    def note(self, record: JobRecord) -> None:
        """Take in the newest entry of a job; an older one is ignored."""
        view = record.view
        known = self._views.get(view.job_id)
        if known is not None and known.seq > view.seq:
            return
        self._views[view.job_id] = view
        if view.state.terminal:
            self._open.discard(view.job_id)
        else:
            self._open.add(view.job_id)
        if record.outbox:
            self._undone[view.job_id] = view.updated_ms
        else:
            self._undone.pop(view.job_id, None)

    def newest(
        self, *, limit: int, state: JobState | None, tenant: str | None = None
    ) -> tuple[JobView, ...]:
        """The newest jobs first; without a tenant, those of all."""
        chosen = [
            view
            for view in self._views.values()
            if (state is None or view.state is state) and tenant in (None, view.tenant)
        ]
        chosen.sort(key=lambda view: (view.created_ms, view.job_id), reverse=True)
        return tuple(chosen[:limit])

    def of_manifest(self, digest: str) -> tuple[str, ...]:
        """The jobs of a manifest that have not ended."""
        return tuple(job for job in self._open if self._views[job].manifest_digest == digest)

    def overdue(self, now_ms: int) -> Iterator[str]:
        """Jobs that have not ended and whose deadline is over."""
        yield from [job for job in self._open if self._views[job].expires_ms <= now_ms]

    def undone(self, before_ms: int) -> Iterator[str]:
        """Jobs whose outbox has waited since before `before_ms`."""
        yield from [job for job, since in self._undone.items() if since <= before_ms]

    def __len__(self) -> int:
        return len(self._views)

    async def follow(self, jobs: JobStore) -> None:
        """Keep up with the bucket until cancelled."""
        async with aclosing(jobs.watch()) as records:
            async for record in records:
                self.note(record)
