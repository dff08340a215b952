"""Whether everything that was promised held, from the facts alone. Pure.

For each accepted job, by the name of the count that a violation goes into:

lost             it is in the ledger, in a terminal state, and its history ends with that state;
                 a completed one has a valid receipt, and its owner could open the result
duplicated       one terminal state, told once, and one result that it names; no job is there that
                 nobody submitted
gaps             its events are numbered 1, 2, 3 … in the order of the stream, attempts only go
                 up, time never runs back, and nothing follows the end
double_releases  each attempt is one enclave's; no enclave gets a key while another one that has
                 keys of the same job is alive; none that the ledger did not name gets any
unexplained      a job that did not complete was hit by the kills that its reason speaks of
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Final, TypeVar

from atoll.wire import topology
from atoll.wire.messages import EventType, JobState
from chaos.facts import Accepted, Facts, Kill, Outcome, Released, Sighting, Told
from chaos.plan import Target

ItemT = TypeVar("ItemT", Outcome, Released, Sighting)


class Wrong(Enum):
    """What a finding counts as."""

    LOST = "lost"
    DUPLICATED = "duplicated"
    GAP = "gaps"
    DOUBLE_RELEASE = "double_releases"
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One promise that was not kept."""

    wrong: Wrong
    job_id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The counts, and everything that is wrong."""

    completed: int
    failed: int
    """Ended otherwise than completed, explained or not."""
    late_releases: int
    """Keys sent to an enclave that the ledger had given up by then: its owner had not heard of
    that yet. They are harmless as long as that enclave is dead."""
    orphaned_results: int
    """Results of attempts that were given up before they could report them. Nobody takes them for
    the job's: the ledger names the attempt that counts, and a receipt names its own."""
    twins: int
    """Enclaves that were started in addition to another one for the same attempt. The ledger names
    one of them; the other gets no key."""
    findings: tuple[Finding, ...]

    def count(self, wrong: Wrong) -> int:
        """Findings of one sort."""
        return len([finding for finding in self.findings if finding.wrong is wrong])


_HITS_ANY_JOB: Final = frozenset({Target.MANAGER, Target.NATS, Target.SUPERVISOR, Target.ATTESTOR})
"""Kinds whose death can cost an attempt of any job that is under way."""

WORKER_CODES: Final = frozenset({"workload.crash"})
"""How a job ends whose guest's process was killed."""


def judge(facts: Facts) -> Verdict:
    """Look at every job, and at what belongs to none."""
    outcomes = _by_job(facts.outcomes)
    releases = _by_job(facts.releases)
    sightings = _by_job(facts.sightings)
    findings = [Finding(wrong=Wrong.LOST, job_id="", text=fault) for fault in facts.faults]
    for job in facts.accepted:
        told = facts.history.get(job.job_id, ())
        findings += _lost(job, facts, told, outcomes[job.job_id])
        findings += _duplicated(job, facts, told, outcomes[job.job_id])
        findings += _gaps(job.job_id, told)
        findings += _released(job.job_id, told, releases[job.job_id], sightings[job.job_id])
        findings += _unexplained(job.job_id, told, facts.kills)
    findings += _invented(facts)
    ends = [facts.views[job.job_id].state for job in facts.accepted if job.job_id in facts.views]
    completed = ends.count(JobState.COMPLETED)
    return Verdict(
        completed=completed,
        failed=len([state for state in ends if state.terminal]) - completed,
        late_releases=sum(
            _late(facts.history.get(release.job_id, ()), release) for release in facts.releases
        ),
        orphaned_results=len(
            [
                one
                for one in facts.outcomes
                if one.job_id in facts.views and one.attempt != facts.views[one.job_id].attempt
            ]
        ),
        twins=len(facts.sightings) - len({(one.job_id, one.attempt) for one in facts.sightings}),
        findings=tuple(findings),
    )


def _by_job(items: tuple[ItemT, ...]) -> Mapping[str, list[ItemT]]:
    found: dict[str, list[ItemT]] = defaultdict(list)
    for item in items:
        found[item.job_id].append(item)
    return found


def _lost(
    job: Accepted, facts: Facts, told: tuple[Told, ...], outcomes: list[Outcome]
) -> Iterator[Finding]:
    def lost(text: str) -> Finding:
        return Finding(wrong=Wrong.LOST, job_id=job.job_id, text=text)

    view = facts.views.get(job.job_id)
    if view is None:
        yield lost("it was accepted and is not in the ledger")
        return
    if not view.state.terminal:
        yield lost(f"it never ended: {view.state.value}, attempt {view.attempt}")
        return
    if job.job_id in facts.undone:
        yield lost("the ledger still has something of it to publish")
    last = told[-1].event if told else None
    if last is None or (last.state, last.seq) != (view.state, view.seq):
        yield lost(
            f"the ledger says {view.state.value} at {view.seq}, its history "
            + (f"{last.state.value} at {last.seq}" if last else "nothing")
        )
    if job.fault:
        yield lost(job.fault)
    if view.state is not JobState.COMPLETED:
        return
    if not any(one.attempt == view.attempt and not one.fault for one in outcomes):
        faults = [one.fault for one in outcomes if one.attempt == view.attempt]
        yield lost(f"it completed without a valid receipt: {faults or 'none is there'}")
    if not job.opened and not job.fault:
        yield lost("it completed and its owner never opened the result")


def _duplicated(
    job: Accepted, facts: Facts, told: tuple[Told, ...], outcomes: list[Outcome]
) -> Iterator[Finding]:
    def twice(text: str) -> Finding:
        return Finding(wrong=Wrong.DUPLICATED, job_id=job.job_id, text=text)

    ends = [one.event.state.value for one in told if one.event.state.terminal]
    if len(ends) > 1:
        yield twice(f"it ended {len(ends)} times: {', '.join(ends)}")
    stored = [one.attempt for one in outcomes]
    for attempt in sorted({one for one in stored if stored.count(one) > 1}):
        yield twice(f"attempt {attempt} has {stored.count(attempt)} results")
    view = facts.views.get(job.job_id)
    if view is not None and any(attempt > view.attempt for attempt in stored):
        yield twice(f"results of attempts {stored}, and the ledger ended with {view.attempt}")


def _invented(facts: Facts) -> Iterator[Finding]:
    known = {job.job_id for job in facts.accepted}
    for what, ids in (
        ("the ledger", facts.views.keys()),
        ("the history", facts.history.keys()),
        ("the results", {one.job_id for one in facts.outcomes}),
    ):
        for job_id in sorted(ids - known):
            yield Finding(
                wrong=Wrong.DUPLICATED, job_id=job_id, text=f"{what} has it, nobody submitted it"
            )


def _gaps(job_id: str, told: tuple[Told, ...]) -> Iterator[Finding]:
    def gap(text: str) -> Finding:
        return Finding(wrong=Wrong.GAP, job_id=job_id, text=text)

    numbers = [one.event.seq for one in told]
    if numbers != list(range(1, len(numbers) + 1)):
        yield gap(f"its events are numbered {numbers}")
    for before, after in pairwise(told):
        old, new = before.event, after.event
        if new.attempt < old.attempt:
            yield gap(f"attempt {new.attempt} at {new.seq} comes after attempt {old.attempt}")
        if new.time_ms < old.time_ms:
            yield gap(f"event {new.seq} is older than event {old.seq}")
        if old.state.terminal:
            yield gap(f"event {new.seq} ({new.type.value}) comes after the end")


def _released(
    job_id: str, told: tuple[Told, ...], releases: list[Released], sightings: list[Sighting]
) -> Iterator[Finding]:
    def double(text: str) -> Finding:
        return Finding(wrong=Wrong.DOUBLE_RELEASE, job_id=job_id, text=text)

    named: dict[int, set[str]] = defaultdict(set)
    for one in told:
        if one.event.enclave_id is not None:
            named[one.event.attempt].add(one.event.enclave_id)
    for attempt, enclaves in sorted(named.items()):
        if len(enclaves) > 1:
            yield double(f"attempt {attempt} is {len(enclaves)} enclaves: {sorted(enclaves)}")
    alive = {one.enclave_id: one.last_ms for one in sightings}
    holders: dict[str, int] = {}
    for release in sorted(releases, key=lambda one: one.time_ms):
        to = release.enclave_id
        if to not in named[release.attempt]:
            yield double(
                f"{release.asset} was released to {to} as attempt {release.attempt}, "
                "which the ledger never named"
            )
        for holder in sorted(holders):
            if holder != to and alive.get(holder, 0) > release.time_ms:
                late = alive[holder] - release.time_ms
                yield double(
                    f"{release.asset} was released to {to} while {holder}, which had keys, "
                    f"lived {late} ms longer"
                )
        holders.setdefault(to, release.time_ms)


def _late(told: tuple[Told, ...], release: Released) -> bool:
    """Whether the ledger had given the enclave's attempt up before the key was stored."""
    over = [
        one.time_ms
        for one in told
        if one.event.attempt > release.attempt
        or one.event.state.terminal
        or (one.event.attempt == release.attempt and one.event.type is EventType.RETRYING)
    ]
    return bool(over) and min(over) < release.time_ms


def _unexplained(job_id: str, told: tuple[Told, ...], kills: tuple[Kill, ...]) -> Iterator[Finding]:
    if not told or not told[-1].event.state.terminal:
        return  # which is worse, and found above
    last = told[-1].event
    if last.state is JobState.COMPLETED:
        return
    code = last.reason.code if last.reason else "no reason"
    if code in WORKER_CODES:
        explained = any(
            (kill.target, kill.job_id, kill.attempt) == (Target.WORKER, job_id, last.attempt)
            for kill in kills
        )
    else:
        explained = (
            last.state is JobState.FAILED
            and last.attempt >= topology.MAX_ATTEMPTS
            and _hits(job_id, told, kills) >= topology.MAX_ATTEMPTS
        )
    if not explained:
        yield Finding(
            wrong=Wrong.UNEXPLAINED,
            job_id=job_id,
            text=f"{last.state.value} in attempt {last.attempt}: {code}",
        )


def _hits(job_id: str, told: tuple[Told, ...], kills: tuple[Kill, ...]) -> int:
    """How many kills can each have cost this job an attempt."""
    begin, end = told[0].time_ms, told[-1].time_ms
    return len(
        [
            kill
            for kill in kills
            if begin <= kill.time_ms <= end
            and (
                kill.target in _HITS_ANY_JOB
                or (kill.target is Target.AGENT and kill.job_id == job_id)
            )
        ]
    )
