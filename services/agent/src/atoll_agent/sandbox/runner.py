"""Start the worker, watch it, kill it when it must be, and judge what it left.

The worker is its own session and process group with an empty environment and three
descriptors: two memory files and /dev/null. Job and answer are memory files and not
pipes so that neither side can make the other wait.

Two clocks: at `wall_s` the worker interrupts the guest itself and can still say how far
it came; `KILL_GRACE_S` later the group gets SIGKILL, which also reaches a guest that
sleeps in a host call and a module that takes for ever to compile. Every `TICK_S` the
watchdog compares resident memory and output with the limits. Between two looks a guest
can write a little more than it may (RLIMIT_FSIZE holds each single file); such a run is
still refused by the final scan.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from atoll.errors import MessageError
from atoll.wire import schema
from atoll_agent.sandbox.exchange import (
    MAX_ANSWER,
    Answer,
    Job,
    Variable,
    require_arguments,
)
from atoll_agent.sandbox.limits import Limits
from atoll_agent.sandbox.outcome import OUTPUT_KINDS, Kind, Outcome, Used
from atoll_agent.sandbox.procfs import resident_bytes, unlinked_bytes
from atoll_agent.sandbox.results import Scan, scan
from atoll_agent.sandbox.workspace import Workspace

TICK_S: Final = 0.02
KILL_GRACE_S: Final = 0.5
WORKER: Final = "atoll_agent.worker"


async def run(
    module_path: Path,
    workspace: Workspace,
    args: Sequence[str],
    env: Mapping[str, str],
    limits: Limits,
    *,
    python: str = sys.executable,
) -> Outcome:
    """Run the module at `module_path` once, and return how it ended.

    Whatever the guest does comes back as an `Outcome`. When this returns, raises or is
    cancelled, the worker is dead and reaped. `workspace.results`, `.stdout` and `.stderr`
    are made empty first and hold the outputs afterwards; standard output and error are cut
    at `limits.log_bytes`.

    Must be awaited in a thread that lives as long as the run: the kernel kills the worker
    when the thread that started it ends (PR_SET_PDEATHSIG, prctl(2)).

    Raises:
        InputError: `workload.arguments`: arguments or environment that no guest can get.
    """
    require_arguments(tuple(args), dict(env))
    workspace.clear_outputs()
    job = Job(
        module=str(module_path),
        data=str(workspace.data),
        results=str(workspace.results),
        stdout=str(workspace.stdout),
        stderr=str(workspace.stderr),
        args=tuple(args),
        env=tuple(Variable(name=name, value=value) for name, value in env.items()),
        limits=limits,
        parent=os.getpid(),
    )
    loop = asyncio.get_running_loop()
    began = loop.time()
    with _Worker(job, python) as worker:
        killed_for = await _watch(worker, workspace, limits, deadline=began + limits.wall_s)
        wall_ms = round((loop.time() - began) * 1000)
        answer = _judge(worker, killed_for)
    return _outcome(answer, workspace, limits, wall_ms)


class _Worker:
    """The child process, from its start to the end of its whole group."""

    def __init__(self, job: Job, python: str) -> None:
        self._python = python
        self._job = schema.encode(job)

    def __enter__(self) -> Self:
        job_fd = os.memfd_create("job")
        try:
            self._answer_fd = os.memfd_create("answer")
            try:
                _write_all(job_fd, self._job)
                os.lseek(job_fd, 0, os.SEEK_SET)
                self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
                    [self._python, "-I", "-B", "-m", WORKER],
                    stdin=job_fd,
                    stdout=self._answer_fd,
                    stderr=subprocess.DEVNULL,
                    env={},
                    cwd="/",
                    start_new_session=True,
                )
            except BaseException:
                os.close(self._answer_fd)
                raise
        finally:
            os.close(job_fd)
        self.pid = self._process.pid
        return self

    def __exit__(self, *_exc: object) -> None:
        self.kill()
        self._process.wait()
        os.close(self._answer_fd)

    def kill(self) -> None:
        """SIGKILL to the group. The group is the worker's as long as it is not reaped."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    async def ended(self, timeout_s: float) -> bool:
        """Wait until the process has ended, at most `timeout_s`."""
        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        descriptor = os.pidfd_open(self.pid)
        loop.add_reader(descriptor, over.set)
        try:
            async with asyncio.timeout(timeout_s):
                await over.wait()
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        return True

    def status(self) -> int:
        """The exit status; negative is a signal.

        The group is killed before its leader is reaped, while the id is still its own: it
        ends nothing of an honest worker, and whatever a dishonest one left behind.
        """
        self.kill()
        return self._process.wait()

    def answer(self) -> bytes:
        """What the worker wrote, at most one byte more than is legal."""
        return os.pread(self._answer_fd, MAX_ANSWER + 1, 0)


async def _watch(
    worker: _Worker, workspace: Workspace, limits: Limits, *, deadline: float
) -> Kind | None:
    """Wait for the end; kill, and say why, when a limit is passed first."""
    loop = asyncio.get_running_loop()
    device = workspace.root.stat().st_dev
    tick_s = TICK_S
    while not await worker.ended(tick_s):
        before = loop.time()
        if before > deadline + KILL_GRACE_S:
            problem: Kind | None = Kind.TIMEOUT
        elif resident_bytes(worker.pid) > limits.resident_bytes:
            problem = Kind.OUT_OF_MEMORY
        else:
            problem = _output_problem(worker.pid, device, workspace, limits)
        if problem:
            worker.kill()
            return problem
        # A large tree takes longer to look at: never spend more than a fifth on looking.
        tick_s = max(TICK_S, 4 * (loop.time() - before))
    return None


def _output_problem(pid: int, device: int, workspace: Workspace, limits: Limits) -> Kind | None:
    if _logs_overflow(workspace, limits):
        return Kind.OUTPUT_LIMIT
    seen = scan(workspace.results, limits)
    if seen.problem:
        return seen.problem
    if seen.size + unlinked_bytes(pid, device) > limits.output_bytes:
        return Kind.OUTPUT_LIMIT
    return None


def _judge(worker: _Worker, killed_for: Kind | None) -> Answer:
    """The worker's answer if it has one that can be believed, else what its end means."""
    status = worker.status()
    if killed_for:
        return _without_answer(killed_for)
    if status == -signal.SIGXCPU:
        return _without_answer(Kind.TIMEOUT)
    if status < 0:
        return _without_answer(Kind.CRASHED, f"signal {-status}")
    try:
        answer = schema.decode(Answer, worker.answer(), limit=MAX_ANSWER)
    except MessageError:
        return _without_answer(Kind.INTERNAL, f"exit status {status}")
    if status != 0 or (answer.exit_code is None) is (answer.kind is Kind.EXITED):
        return _without_answer(Kind.INTERNAL, f"exit status {status}")
    return answer


def _without_answer(kind: Kind, detail: str = "") -> Answer:
    return Answer(kind=kind, exit_code=None, memory_bytes=None, detail=detail)


def _outcome(answer: Answer, workspace: Workspace, limits: Limits, wall_ms: int) -> Outcome:
    """Join the worker's answer with a look at what is really there."""
    found = scan(workspace.results, limits)
    problem = found.problem
    if _logs_overflow(workspace, limits):
        problem = problem or Kind.OUTPUT_LIMIT
    logs = 0
    for path in (workspace.stdout, workspace.stderr):
        logs += _cut(path, limits.log_bytes)
    kind = problem or answer.kind
    return Outcome(
        kind=kind,
        exit_code=answer.exit_code if kind is Kind.EXITED else None,
        used=_used(answer, found, logs, wall_ms),
        # A run killed for its output can leave a tree that looks legal by chance.
        results=() if kind in OUTPUT_KINDS else found.files,
        detail=answer.detail,
    )


def _used(answer: Answer, found: Scan, logs: int, wall_ms: int) -> Used:
    return Used(
        wall_ms=wall_ms,
        memory_bytes=answer.memory_bytes,
        output_bytes=found.size + logs,
        output_files=found.entries,
    )


def _logs_overflow(workspace: Workspace, limits: Limits) -> bool:
    return any(
        path.stat().st_size > limits.log_bytes for path in (workspace.stdout, workspace.stderr)
    )


def _cut(path: Path, size: int) -> int:
    """Truncate to `size` and return what is left."""
    actual = path.stat().st_size
    if actual > size:
        os.truncate(path, size)
    return min(actual, size)


def _write_all(descriptor: int, raw: bytes) -> None:
    left = memoryview(raw)
    while left:
        left = left[os.write(descriptor, left) :]
