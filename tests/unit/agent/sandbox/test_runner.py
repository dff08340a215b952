"""A look at a guest that lasts does not hold up the agent, and ends the guest."""

import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from atoll_agent.sandbox import runner
from atoll_agent.sandbox.exchange import Answer
from atoll_agent.sandbox.limits import Limits
from atoll_agent.sandbox.outcome import Kind
from atoll_agent.sandbox.step import Step, StepSpace


class Hiding:
    """A guest of which /proc tells nothing until it is killed."""

    def __init__(self) -> None:
        self.killed = threading.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self.killed.is_set()

    async def ended(self, timeout_s: float) -> bool:
        return self.killed.is_set()

    async def kill(self) -> None:
        self.killed.set()

    def problem(self) -> Kind | None:
        self.killed.wait(60)
        return None

    def resident_bytes(self) -> int:
        return 0

    def unlinked_bytes(self) -> int:
        return 0

    def cpu_ms(self) -> int:
        return 0

    async def answer(self) -> Answer:
        return Answer(kind=Kind.INTERNAL, exit_code=None, memory_bytes=None, detail="")


@pytest.fixture
def space(tmp_path: Path) -> StepSpace:
    return StepSpace(root=tmp_path)


@pytest.mark.parametrize(
    ("look_s", "wall_s", "kind"), [(0.1, 60, Kind.OUT_OF_MEMORY), (60.0, 1, Kind.TIMEOUT)]
)
async def test_it_ends_by_the_look_or_by_the_clock(
    space: StepSpace, monkeypatch: pytest.MonkeyPatch, look_s: float, wall_s: int, kind: Kind
) -> None:
    monkeypatch.setattr(runner, "LOOK_S", look_s)
    guest = Hiding()
    began = time.monotonic()
    done = await runner.run_guest(guest, Step(space=space, limits=Limits(wall_s=wall_s)))
    assert done.kind is kind
    assert time.monotonic() - began < 30
