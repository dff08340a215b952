"""Virtual time, tasks on it, and processes that can die between any two steps."""

import heapq
import random
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final, Self

KEPT_STEPS: Final = 60
"""How many of the last steps a failure shows."""

Entry = list[Any]
"""[time, number, function, arguments]; the function None: called off."""


class Scheduler:
    """Runs what is due, in the order of time and then of asking. Times are milliseconds."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now = 0
        self.steps = 0
        self.acted: Process | None = None
        """Whose task ran in the last step."""
        self._heap: list[Entry] = []
        self._asked = 0
        self._notes: deque[tuple[int, int, str]] = deque(maxlen=KEPT_STEPS)

    def after(self, delay_ms: int, function: Callable[..., None], *arguments: Any) -> Entry:
        self._asked += 1
        entry: Entry = [self.now + delay_ms, self._asked, function, arguments]
        heapq.heappush(self._heap, entry)
        return entry

    @staticmethod
    def call_off(entry: Entry) -> None:
        entry[2] = None

    def note(self, text: str) -> None:
        """Something worth knowing of the step under way."""
        self._notes.append((self.steps, self.now, text))

    def notes(self) -> str:
        return "\n".join(
            f"  step {step:>7} at {now:>7} ms  {text}" for step, now, text in self._notes
        )

    def step(self) -> bool:
        """Do the next thing; False when nothing is left to do."""
        while self._heap:
            time, _, function, arguments = heapq.heappop(self._heap)
            if function is None:
                continue
            self.now = time
            self.steps += 1
            function(*arguments)
            return True
        return False


class Suspension:
    """What a task waits for; `begin` arranges for its `resume`."""

    def begin(self, task: "Task") -> None:
        raise NotImplementedError

    def __await__(self) -> Generator[Self, Any, Any]:
        return (yield self)


class Sleep(Suspension):
    def __init__(self, delay_ms: float) -> None:
        self._delay_ms = int(delay_ms)

    def begin(self, task: "Task") -> None:
        task.process.scheduler.after(self._delay_ms, task.resume)


class Channel:
    """A queue with one reader."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._items: deque[Any] = deque()
        self._reader: Task | None = None
        self._timer: Entry | None = None

    def put(self, item: Any) -> None:
        if self._reader is not None and not self._reader.ended:
            reader, self._reader = self._reader, None
            if self._timer is not None:
                self._scheduler.call_off(self._timer)
                self._timer = None
            self._scheduler.after(0, reader.resume, item)
        else:
            self._items.append(item)

    def get(self, timeout_ms: float | None = None) -> "Take":
        """The next item; None when there is none in time."""
        return Take(self, timeout_ms)

    def begin(self, task: "Task", timeout_ms: float | None) -> None:
        if self._items:
            self._scheduler.after(0, task.resume, self._items.popleft())
            return
        self._reader = task
        if timeout_ms is not None:
            self._timer = self._scheduler.after(int(timeout_ms), self._expire, task)

    def _expire(self, task: "Task") -> None:
        if self._reader is task:
            self._reader = self._timer = None
            task.resume(None)


class Take(Suspension):
    def __init__(self, channel: Channel, timeout_ms: float | None) -> None:
        self._channel, self._timeout_ms = channel, timeout_ms

    def begin(self, task: "Task") -> None:
        self._channel.begin(task, self._timeout_ms)


class Task:
    """A coroutine of one process, run from suspension to suspension."""

    def __init__(self, process: "Process", work: Coroutine[Any, Any, Any]) -> None:
        self.process = process
        self.ended = False
        self._work = work

    def resume(self, value: Any = None, error: BaseException | None = None) -> None:
        if self.ended:
            return
        self.process.scheduler.acted = self.process
        try:
            suspension = self._work.send(value) if error is None else self._work.throw(error)
        except StopIteration:
            self.end()
        else:
            suspension.begin(self)

    def kill(self) -> None:
        """It never runs again; nothing that it would still do happens."""
        if not self.ended:
            self.end()
            self._work.close()

    def end(self) -> None:
        self.ended = True
        self.process.tasks.pop(self, None)


class Process:
    """Tasks that live and die together. Subclasses say what `start` does."""

    def __init__(self, scheduler: Scheduler, name: str) -> None:
        self.scheduler = scheduler
        self.name = name
        self.alive = False
        self.life = 0
        """Counts the starts: what was sent to an earlier life does not reach a later one."""
        self.cut_off = False
        """Whether the network between it and everybody else is gone."""
        self.joined_at = -1
        """When that last ended."""
        self.tasks: dict[Task, None] = {}

    def spawn(self, work: Coroutine[Any, Any, Any]) -> Task:
        task = Task(self, work)
        self.tasks[task] = None
        self.scheduler.after(0, task.resume)
        return task

    def up(self) -> None:
        self.alive = True
        self.life += 1
        self.start()

    def start(self) -> None:
        raise NotImplementedError

    def crash(self) -> None:
        self.alive = False
        for task in tuple(self.tasks):
            task.kill()
