"""What must hold. Looks at every write of the ledger and every event as the server stores it."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final, Protocol

from atoll.wire import cloudevents, schema
from atoll.wire.messages import JobEvent, JobRecord, JobState, JobView, OutcomeRecord, SpawnRequest
from simulation.scheduler import Process, Scheduler
from simulation.server import Server, Stored

EPOCH_MS: Final = 1_800_000_000_000
"""When the virtual clock is zero."""

RECOVERY_MS: Final = 145_000
"""After the last fault, the longest that gateways stay away."""

SWEEP_MS: Final = 20_000
"""How long after a deadline a job may still be open, clocks that differ included."""


class ViolationError(AssertionError):
    """Something that must hold did not."""


class Enclave(Protocol):
    name: str
    job_id: str
    attempt: int
    spawn_seq: int
    looked_at: int
    alive: bool
    has_keys: bool
    host: Process

    def crash(self) -> None: ...


@dataclass
class History:
    """What is known of one job."""

    record: JobRecord
    accepted: bool = False
    made: int = 0
    events: list[JobEvent] = field(default_factory=list)
    current: dict[tuple[int, str], list[int]] = field(default_factory=dict)
    """By attempt and enclave: from when it waited for keys, until when."""
    enclaves: list[Enclave] = field(default_factory=list)
    keys: dict[int, str] = field(default_factory=dict)
    """By attempt, the enclave that took its keys."""
    attempts: dict[int, tuple[str, int]] = field(default_factory=dict)
    """The enclave that the ledger took for each attempt, and when."""
    leased_since: int = 0
    """Since when it is known under which spawn request the job was leased."""
    spawned: int = 0
    results: set[str] = field(default_factory=set)
    """The enclaves whose results somebody took for the job's."""


class Oracle:
    def __init__(self, scheduler: Scheduler, server: Server) -> None:
        self._scheduler = scheduler
        self._server = server
        self.jobs: dict[str, History] = {}
        self.failure: str | None = None
        self.counts: dict[str, int] = defaultdict(int)
        server.streams["KV_jobs"].hooks.append(self._written)
        server.streams["SPAWN"].hooks.append(self._spawned)
        server.streams["EVENTS"].hooks.append(self._event)

    def fail(self, why: str) -> None:
        raise ViolationError(why)

    def _require(self, holds: bool, why: str) -> None:  # noqa: FBT001
        if not holds:
            raise ViolationError(why)

    def _written(self, stored: Stored) -> None:
        """A terminal state is never left; attempts grow, each with one enclave; no gaps."""
        record = schema.decode(JobRecord, stored.payload)
        view = record.view
        history = self.jobs.get(view.job_id)
        if history is None:
            self.jobs[view.job_id] = History(record)
            return
        before, old = history.record.view, history.record
        history.record = record
        if before.state.terminal:
            self._require(view == before, f"{view.job_id} left {before.state.value}")
        self._require(view.attempt >= before.attempt, f"{view.job_id}: attempts shrink")
        self._require(view.seq >= before.seq, f"{view.job_id}: seq shrinks")
        self._require(
            old.spawn_seq in (0, record.spawn_seq), f"{view.job_id}: another spawn request"
        )
        if record.spawn_seq != old.spawn_seq:
            history.leased_since = self._scheduler.now
        if view.enclave_id is not None:
            history.attempts.setdefault(view.attempt, (view.enclave_id, self._scheduler.now))
        if view.attempt == before.attempt and before.enclave_id is not None:
            self._require(
                view.enclave_id in (None, before.enclave_id),
                f"{view.job_id}: attempt {view.attempt} changed its enclave",
            )
        self._track(history, before, view)
        if view != before:
            where = f"attempt {view.attempt} {view.enclave_id}"
            self._scheduler.note(f"ledger: {view.job_id} {view.state.value} {where}")

    def _track(self, history: History, before: JobView, view: JobView) -> None:
        now = self._scheduler.now
        for state, at in ((before, 1), (view, 0)):
            if state.state is JobState.AWAITING_ASSETS and state.enclave_id is not None:
                span = history.current.setdefault((state.attempt, state.enclave_id), [now, -1])
                if at == 1:
                    span[1] = now
        if view.state is JobState.AWAITING_ASSETS and view.enclave_id is not None:
            history.current[view.attempt, view.enclave_id][1] = -1

    def _spawned(self, stored: Stored) -> None:
        history = self.jobs[schema.decode(SpawnRequest, stored.payload).job_id]
        history.spawned += 1
        self.counts["doubled spawn requests"] += history.spawned > 1

    def _event(self, stored: Stored) -> None:
        """Each event once, in order, without gaps."""
        event = cloudevents.read_job(stored.headers, stored.payload)
        events = self.jobs[event.job_id].events
        self._require(
            event.seq == len(events) + 1,
            f"{event.job_id}: event {event.seq} ({event.type.value}) after {len(events)}",
        )
        events.append(event)

    def accepted(self, view: JobView, *, created: bool) -> None:
        history = self.jobs[view.job_id]
        history.accepted = True
        history.made += created
        self._require(history.made <= 1, f"{view.job_id} was made twice")

    def enclave_started(self, enclave: Enclave) -> None:
        """Under the job's one spawn request and in an attempt of its own, as far as its host
        could know when it looked."""
        self.counts["enclaves"] += 1
        history = self.jobs[enclave.job_id]
        history.enclaves.append(enclave)
        known = history.record.spawn_seq
        if known and enclave.looked_at > history.leased_since:
            self._require(
                enclave.spawn_seq == known,
                f"{enclave.name} was started under spawn request {enclave.spawn_seq}, "
                f"{enclave.job_id} was leased under {known}",
            )

        first, since = history.attempts.get(enclave.attempt, (enclave.name, 0))
        self._require(
            first == enclave.name or enclave.looked_at <= since,
            f"{enclave.name} was started for attempt {enclave.attempt}, which was {first}'s",
        )

    def enclave_ended(self, enclave: Enclave) -> None:
        self._scheduler.note(f"{enclave.name} ended")

    def release_decided(self, job_id: str, attempt: int, enclave_id: str, *, since: int) -> None:
        """The attempt waited for keys at some moment of the client's look."""
        span = self.jobs[job_id].current.get((attempt, enclave_id))
        self._require(
            span is not None and (span[1] == -1 or span[1] >= since),
            f"{job_id}: keys for attempt {attempt}, which did not wait for them",
        )
        self.counts["releases"] += 1

    def keys_taken(self, enclave: Enclave) -> None:
        """At most one enclave of a job lives and has keys, but for one whose host was cut off
        from the bus since the job was leased again: nobody can end that, and its keys open
        nothing new."""
        history = self.jobs[enclave.job_id]
        first = history.keys.setdefault(enclave.attempt, enclave.name)
        self._require(
            first == enclave.name,
            f"{enclave.job_id}: {first} and {enclave.name} have keys for attempt {enclave.attempt}",
        )
        for other in history.enclaves:
            if not (other.alive and other.has_keys) or other.name == enclave.name:
                continue
            newer = max(enclave.attempt, other.attempt)
            _, since = history.attempts.get(newer, ("", 0))
            cut_off = any(
                one.host.cut_off or one.host.joined_at > since for one in (enclave, other)
            )
            self.counts["keys beside a host that was cut off"] += cut_off
            self._require(
                cut_off, f"{enclave.job_id}: {enclave.name} has keys besides {other.name}"
            )

    def result_taken(self, view: JobView, record: OutcomeRecord) -> None:
        history = self.jobs[view.job_id]
        history.results.add(record.receipt.decode())
        self._require(
            history.results == {view.enclave_id},
            f"{view.job_id}: results of {sorted(history.results)}, and {view.enclave_id} ended it",
        )
        self.counts["results"] += 1

    def enclaves(self) -> list[Enclave]:
        return [one for history in self.jobs.values() for one in history.enclaves if one.alive]

    # At the end, when nothing has failed for long enough.

    def unfinished(self) -> list[str]:
        """Why the system is not at rest yet."""
        found = []
        for job_id, history in self.jobs.items():
            if history.accepted and not history.record.view.state.terminal:
                found.append(f"{job_id} is {history.record.view.state.value}")
            if history.record.outbox:
                found.append(f"{job_id} has an outbox")
            found.extend(f"{one.name} lives" for one in history.enclaves if one.alive)
        for name, queue in self._server.queues.items():
            found.extend(
                f"{name} keeps message {seq} ({queue.counts.get(seq, 0)} deliveries)"
                for seq in queue.stream.messages
                if not queue.exhausted(seq)
            )
        return found

    def at_rest(self, calm_ms: int) -> None:
        """Every job has one end, told by one event, and a completed one has its outcome."""
        outcomes = self._server.streams["KV_outcomes"]
        for job_id, history in self.jobs.items():
            view = history.record.view
            self._require(
                len(history.events) == view.seq, f"{job_id}: {len(history.events)} of {view.seq}"
            )
            ends = [event for event in history.events if event.state.terminal]
            self._require(len(ends) <= 1, f"{job_id} has {len(ends)} ends")
            if not view.state.terminal:
                continue
            latest = max(view.expires_ms, EPOCH_MS + calm_ms + RECOVERY_MS) + SWEEP_MS
            self._require(view.updated_ms <= latest, f"{job_id} outlived its deadline")
            self._require(bool(ends) and ends[0].state is view.state, f"{job_id}: another end")
            self.counts[view.state.value] += 1
            if view.state is not JobState.COMPLETED:
                continue
            self._require(view.enclave_id in history.keys.values(), f"{job_id}: ended without keys")
            stored = outcomes.last(f"$KV.outcomes.{job_id}.{view.attempt}")
            self._require(
                stored is not None and schema.sha256_hex(stored.payload) == view.outcome_digest,
                f"{job_id}: its outcome is not stored",
            )
            self._require(ends[0].outcome_digest == view.outcome_digest, f"{job_id}: other outcome")
        for name, queue in self._server.queues.items():
            self.counts[f"exhausted {name}"] += sum(map(queue.exhausted, queue.stream.messages))
