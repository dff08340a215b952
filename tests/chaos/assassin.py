"""Carries the plan's kills out."""

import asyncio
from collections.abc import Callable

from chaos.facts import Kill
from chaos.fleet import Fleet
from chaos.load import Progress
from chaos.plan import Plan, Strike, Target


class Assassin:
    """Kills when it is due; when there is nobody of the kind, as soon as there is."""

    def __init__(self, fleet: Fleet, progress: Progress, told: Callable[[str], None]) -> None:
        self._fleet = fleet
        self._progress = progress
        self._told = told
        self.kills: list[Kill] = []
        self.missed: list[Strike] = []

    async def run(self, plan: Plan) -> None:
        """Every kill of the plan. Those for which nobody came before the last job ended are
        missed."""
        for strike in plan.strikes:
            await self._progress.reached(strike.after_jobs)
            await asyncio.sleep(strike.after_ms / 1000)
            kill = await self._strike(strike)
            if kill is None:
                self.missed.append(strike)
                continue
            self.kills.append(kill)
            of = f" of {kill.job_id}, attempt {kill.attempt}" if kill.job_id else ""
            self._told(
                f"{self._progress.ended:5} ended  kill {len(self.kills)}: "
                f"{kill.target.value} {kill.pid}{of}"
            )

    async def _strike(self, strike: Strike) -> Kill | None:
        if strike.target is Target.SUPERVISOR:
            return await self._fleet.kill_supervisor()
        while not self._progress.over:
            found = self._fleet.candidates(strike.target)
            if found and (kill := self._fleet.census.kill(found[int(strike.pick * len(found))])):
                return kill
            await self._fleet.census.next_look()
        return None
