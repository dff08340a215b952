"""What is done and what is killed when: everything that the seed decides. Pure.

The same seed, jobs and kills give the same plan. What it cannot decide is what a kill meets:
which processes there are at that moment, and how far they have come.
"""

import random
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Target(Enum):
    """A kind of process."""

    GATEWAY = "gateway"
    ATTESTOR = "attestor"
    MANAGER = "manager"
    AGENT = "agent"
    WORKER = "worker"
    NATS = "nats-server"
    SUPERVISOR = "supervisor"


SHARES: Final = {
    Target.GATEWAY: 18,
    Target.ATTESTOR: 12,
    Target.MANAGER: 16,
    Target.AGENT: 26,
    Target.WORKER: 14,
    Target.NATS: 9,
    Target.SUPERVISOR: 5,
}
"""Of a hundred kills. The dear ones are rare: after the supervisor everything starts anew."""

LEAST: Final = 5
"""Kills of each kind, when there are enough for that."""

SPREAD: Final = 0.94
"""The part of the jobs by whose end the last kill is due: something must be left to hit."""

VOLLEY: Final = 0.25
"""How often a kill comes with the one before it instead of at a time of its own."""

VOLLEY_MS: Final = 150
PAUSE_MS: Final = 400
NAPS_MS: Final = (100, 200, 400)
NAPPING: Final = 0.4
TWICE: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPlan:
    """One job."""

    nap_ms: int
    """How long its guest sleeps; 0: it copies its dataset at once."""
    twice: bool
    """Whether it is submitted again, under the same key, after it was accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """One kill."""

    after_jobs: int
    """Due when that many jobs have ended."""
    after_ms: int
    """And then that long after."""
    target: Target
    pick: float
    """Which of the processes of this kind, as a fraction of their number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Jobs in the order of their submission, kills in theirs."""

    seed: int
    jobs: tuple[JobPlan, ...]
    strikes: tuple[Strike, ...]


def make_plan(seed: int, *, jobs: int, kills: int) -> Plan:
    """The plan of a seed.

    Raises:
        ValueError: there are no jobs, or less than no kills.
    """
    if jobs < 1 or kills < 0:
        raise ValueError(f"{jobs} jobs and {kills} kills: want at least one job")
    chance = random.Random(seed)
    planned = tuple(_job(chance) for _ in range(jobs))
    targets = _targets(kills)
    chance.shuffle(targets)
    return Plan(seed=seed, jobs=planned, strikes=_strikes(chance, targets, jobs))


def quotas(kills: int) -> dict[Target, int]:
    """How many kills each kind gets: by its share, and none below `LEAST` if that is possible."""
    least = min(LEAST, kills // len(Target))
    counts = {target: max(least, kills * share // 100) for target, share in SHARES.items()}
    order = sorted(Target, key=lambda target: -SHARES[target])
    turn = 0
    while (total := sum(counts.values())) != kills:
        target = order[turn % len(order)]
        turn += 1
        if total < kills:
            counts[target] += 1
        elif counts[target] > least:
            counts[target] -= 1
    return counts


def _targets(kills: int) -> list[Target]:
    return [target for target, count in quotas(kills).items() for _ in range(count)]


def _job(chance: random.Random) -> JobPlan:
    nap_ms = chance.choice(NAPS_MS) if chance.random() < NAPPING else 0
    return JobPlan(nap_ms=nap_ms, twice=chance.random() < TWICE)


def _strikes(chance: random.Random, targets: list[Target], jobs: int) -> tuple[Strike, ...]:
    """Evenly over the run, with jitter, some together."""
    strikes: list[Strike] = []
    every = SPREAD * jobs / max(1, len(targets))
    for number, target in enumerate(targets):
        due = int(every * (number + chance.random()))
        pause = chance.randrange(PAUSE_MS)
        if strikes and chance.random() < VOLLEY:
            due, pause = strikes[-1].after_jobs, chance.randrange(VOLLEY_MS)
        strikes.append(Strike(after_jobs=due, after_ms=pause, target=target, pick=chance.random()))
    return tuple(strikes)
