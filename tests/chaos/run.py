"""`make chaos`: jobs while processes are killed, then a judgement from the facts.

python tests/chaos/run.py [--jobs N] [--kills K] [--seed S] [--keep DIR]

Says on standard error what is killed and what is found wrong, and on standard output one line
of JSON at the end. Exit status 0 only if every kill was carried out and every promise kept.
"""

import argparse
import asyncio
import json
import secrets
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from atoll.wire.messages import JobState
from chaos.assassin import Assassin
from chaos.facts import Facts
from chaos.fleet import fleet
from chaos.judge import Verdict, Wrong, judge
from chaos.load import Load
from chaos.plan import Plan, Target, make_plan
from chaos.records import read_facts
from chaos.timeline import timeline
from support.client import party

SLOTS: Final = 3
"""Of each of the two managers."""
AT_ONCE: Final = 14
"""Jobs under way: those that wait for a dead manager's lease must not leave the slots idle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A run that came to its end."""

    facts: Facts
    missed: int
    seconds: float
    orphans: int


def talk(text: str) -> None:
    """To whoever watches."""
    print(text, file=sys.stderr, flush=True)


async def chaos(plan: Plan, root: Path) -> Ran:
    """Jobs and kills until every job has ended, then what is left of them."""
    began = time.monotonic()
    async with fleet(root, slots=SLOTS) as (attacked, stack):
        talk(f"the stack is up; logs are in {stack.data_dir / 'logs'}")
        keys, appraiser = party(), stack.appraiser()
        async with stack.client() as client:
            load = Load(client, keys, appraiser, into=root / "results")
            assassin = Assassin(attacked, load.progress, talk)
            await load.prepare()
            async with asyncio.TaskGroup() as group:
                group.create_task(assassin.run(plan))
                group.create_task(load.run(plan, at_once=AT_ONCE))
        seconds = time.monotonic() - began
        await attacked.settle()
        stalled = load.progress.stalled
        async with stack.bus("operator") as bus:
            facts = await read_facts(
                bus,
                appraiser,
                accepted=load.accepted,
                sightings=attacked.census.sightings(),
                kills=assassin.kills,
                faults=[*attacked.faults, *(["no job ended any more"] if stalled else [])],
            )
    return Ran(
        facts=facts,
        missed=len(assassin.missed),
        seconds=seconds,
        orphans=erase_orphans(facts),
    )


def erase_orphans(facts: Facts) -> int:
    """Take away what killed enclaves left in memory; how many did."""
    left = [Path(f"/dev/shm/atoll-{one.enclave_id}") for one in facts.sightings]
    there = [path for path in left if path.exists()]
    for path in there:
        shutil.rmtree(path, ignore_errors=True)
    return len(there)


def line(plan: Plan, ran: Ran, verdict: Verdict) -> dict[str, Any]:
    """The one document."""
    kills = Counter(kill.target for kill in ran.facts.kills)
    views = ran.facts.views.values()
    reasons = Counter(
        view.reason.code if view.reason else "none"
        for view in views
        if view.state.terminal and view.state is not JobState.COMPLETED
    )
    twice = len([job for job in plan.jobs if job.twice])
    attempts = Counter(view.attempt for view in views)
    return {
        "jobs": len(ran.facts.accepted),
        "kills": len(ran.facts.kills),
        "completed": verdict.completed,
        "failed": verdict.failed,
        **{wrong.value: verdict.count(wrong) for wrong in Wrong},
        "seed": plan.seed,
        "seconds": round(ran.seconds, 1),
        "kills_by_kind": {target.value: kills[target] for target in Target},
        "failures": dict(sorted(reasons.items())),
        "attempts": {str(number): attempts[number] for number in sorted(attempts)},
        "resubmissions": sum(job.submissions - 1 for job in ran.facts.accepted) - twice,
        "late_releases": verdict.late_releases,
        "orphaned_results": verdict.orphaned_results,
        "twin_enclaves": verdict.twins,
        "missed_kills": ran.missed,
        "memory_left": ran.orphans,
    }


def held(plan: Plan, ran: Ran, verdict: Verdict) -> bool:
    """Whether all that was asked for was done and nothing is wrong."""
    done = len(ran.facts.accepted) == len(plan.jobs) and ran.missed == 0
    return done and not verdict.findings


def options(arguments: list[str]) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="make chaos")
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=None, help="default: a new one")
    parser.add_argument("--keep", action="store_true", help="keep logs and data of a good run too")
    asked = parser.parse_args(arguments)
    if asked.jobs < 1 or asked.kills < 0:
        parser.error(f"{asked.jobs} jobs and {asked.kills} kills: want at least one job")
    return asked


def main(arguments: list[str]) -> int:
    """The exit status."""
    asked = options(arguments)
    seed = secrets.randbelow(1 << 32) if asked.seed is None else asked.seed
    talk(f"{asked.jobs} jobs, {asked.kills} kills, seed {seed}")
    plan = make_plan(seed, jobs=asked.jobs, kills=asked.kills)
    root = Path(tempfile.mkdtemp(prefix="atoll-chaos-"))
    ran = asyncio.run(chaos(plan, root))
    verdict = judge(ran.facts)
    for finding in verdict.findings:
        talk(f"{finding.wrong.value}: {finding.job_id}: {finding.text}")
    for job_id in sorted({finding.job_id for finding in verdict.findings} - {""}):
        talk("\n".join((job_id, *timeline(ran.facts, job_id))))
    good = held(plan, ran, verdict)
    if good and not asked.keep:
        shutil.rmtree(root, ignore_errors=True)
    else:
        talk(f"logs and data are in {root}")
    print(json.dumps(line(plan, ran, verdict)), flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
