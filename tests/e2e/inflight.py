"""A job that its owner follows with `Runner` while a test does harm around it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from atoll.client.connection import AtollClient
from atoll.client.run import Runner, RunOutcome, RunSpec
from atoll.errors import NotFoundError
from atoll.identity import PartyKeys
from atoll.wire import topology
from atoll.wire.messages import EventType, JobState, Tee
from support.client import Condition, Watcher, party
from support.stack import Stack


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlight:
    """A job that its owner follows while a test kills things."""

    keys: PartyKeys
    watcher: Watcher
    task: asyncio.Task[RunOutcome]
    client: AtollClient

    async def at(self, condition: Condition) -> None:
        """Wait for a moment in the job's life."""
        event = asyncio.get_running_loop().create_task(self.watcher.saw(condition))
        await asyncio.wait({event, self.task}, return_when=asyncio.FIRST_COMPLETED)
        assert event.done(), f"the job ended first: {self.task}"
        await event

    async def completed(self) -> RunOutcome:
        """The outcome; exactly one, whatever happened on the way."""
        outcome = await self.task
        assert outcome.view.state is JobState.COMPLETED
        assert outcome.result is not None
        (answer,) = (file for file in outcome.result.files if file.name == "results/answer")
        assert answer.path.read_text() == "done"
        events = self.watcher.events
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        ends = [event for event in events if event.state.terminal]
        assert ends == events[-1:]
        assert outcome.view.attempt == events[-1].attempt
        return outcome

    async def stored_outcomes(self) -> list[int]:
        """The attempts that stored a result."""
        found = []
        for attempt in range(1, topology.MAX_ATTEMPTS + 1):
            with contextlib.suppress(NotFoundError):
                await self.client.outcome(self.watcher.job_id, attempt)
                found.append(attempt)
        return found

    def count(self, kind: EventType) -> int:
        return len([event for event in self.watcher.events if event.type is kind])


@contextlib.asynccontextmanager
async def started(
    stack: Stack, client: AtollClient, module: Path, out: Path
) -> AsyncIterator[InFlight]:
    """Run `module`, which is its own dataset too; cancelled if it still runs at the end."""
    keys, watcher = party(), Watcher()
    runner = Runner(client=client, keys=keys, appraiser=stack.appraiser(), progress=watcher)
    spec = RunSpec(module=module, data={"in": module}, tee=Tee(stack.tee), default_out=out)
    task = asyncio.get_running_loop().create_task(runner.run(spec))
    try:
        yield InFlight(keys=keys, watcher=watcher, task=task, client=client)
    finally:
        task.cancel()
        await asyncio.wait({task})
