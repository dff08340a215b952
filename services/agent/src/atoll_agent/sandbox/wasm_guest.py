"""The worker that compiles and runs WebAssembly, as a guest.

The worker is its own session and process group with an empty environment and three
descriptors: two memory files and /dev/null, and a third memory file where compiled modules are
kept (`compiled`). Job and answer are memory files and not
pipes so that neither side can make the other wait.

At `wall_s` the worker interrupts the guest itself and can still say how far it came; the
runner's SIGKILL, a little later, also reaches a guest that sleeps in a host call and a
module that takes for ever to compile.

Must be started from a thread that lives as long as the run: the kernel kills the worker
when the thread that started it ends (PR_SET_PDEATHSIG, prctl(2)).
"""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from atoll.errors import MessageError
from atoll.wire import schema
from atoll_agent.sandbox.compiled import CompiledModules, Offer
from atoll_agent.sandbox.exchange import MAX_ANSWER, MAX_EXIT_CODE, Answer, Job, Variable
from atoll_agent.sandbox.outcome import Kind
from atoll_agent.sandbox.procfs import resident_bytes, unlinked_bytes
from atoll_agent.sandbox.step import Step
from atoll_agent.sandbox.tree import cpu_ticks

WORKER: Final = "atoll_agent.worker"
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class WasmGuest:
    """A `Guest`: the worker process, from its start to the end of its whole group."""

    def __init__(
        self,
        step: Step,
        *,
        python: str = sys.executable,
        compiled: CompiledModules | None = None,
    ) -> None:
        self._python = python
        self._step = step
        self._compiled = compiled
        self._offer: Offer | None = None

    async def __aenter__(self) -> Self:
        if self._compiled is not None:
            self._offer = self._compiled.offer(self._step)
        try:
            self._start(schema.encode(_job(self._step, self._offer)))
        except BaseException:
            self._settle()
            raise
        return self

    def _start(self, job: bytes) -> None:
        self._device = self._step.space.root.stat().st_dev
        job_fd = os.memfd_create("job")
        try:
            self._answer_fd = os.memfd_create("answer")
            try:
                _write_all(job_fd, job)
                os.lseek(job_fd, 0, os.SEEK_SET)
                self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
                    [self._python, "-I", "-B", "-m", WORKER],
                    stdin=job_fd,
                    stdout=self._answer_fd,
                    stderr=subprocess.DEVNULL,
                    env={},
                    cwd="/",
                    start_new_session=True,
                    pass_fds=(self._offer.descriptor,) if self._offer else (),
                )
            except BaseException:
                os.close(self._answer_fd)
                raise
        finally:
            os.close(job_fd)
        self.pid = self._process.pid

    def _settle(self) -> None:
        if self._compiled is not None and self._offer is not None:
            self._compiled.settle(self._offer)
            self._offer = None

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._kill()
        self._process.wait()
        os.close(self._answer_fd)
        self._settle()

    async def ended(self, timeout_s: float) -> bool:
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

    async def kill(self) -> None:
        self._kill()

    def resident_bytes(self) -> int:
        return resident_bytes(self.pid)

    def unlinked_bytes(self) -> int:
        return unlinked_bytes(self.pid, self._device)

    def cpu_ms(self) -> int:
        # The worker starts nothing; what it would start dies with its group.
        return sum(cpu_ticks(self.pid) or ()) * 1000 // _TICKS

    def problem(self) -> Kind | None:
        return None

    async def answer(self) -> Answer:
        """The worker's answer if it has one that can be believed, else what its end means."""
        status = self._status()
        if status == -signal.SIGXCPU:
            return _without_answer(Kind.CPU_LIMIT if self._step.limits.cpu_s else Kind.TIMEOUT)
        if status < 0:
            return _without_answer(Kind.CRASHED, f"signal {-status}")
        try:
            raw = os.pread(self._answer_fd, MAX_ANSWER + 1, 0)
            answer = schema.decode(Answer, raw, limit=MAX_ANSWER)
        except MessageError:
            return _without_answer(Kind.INTERNAL, f"exit status {status}")
        if status != 0 or (answer.exit_code is None) is (answer.kind is Kind.EXITED):
            return _without_answer(Kind.INTERNAL, f"exit status {status}")
        if (answer.exit_code or 0) > MAX_EXIT_CODE:
            return _without_answer(Kind.INTERNAL, f"exit status {status}")
        return answer

    def _kill(self) -> None:
        """SIGKILL to the group. The group is the worker's as long as it is not reaped."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def _status(self) -> int:
        """The exit status; negative is a signal.

        The group is killed before its leader is reaped, while the id is still its own: it
        ends nothing of an honest worker, and whatever a dishonest one left behind.
        """
        self._kill()
        return self._process.wait()


def _job(step: Step, offer: Offer | None) -> Job:
    space = step.space
    return Job(
        module=str(space.algorithm),
        data=str(space.data),
        results=str(space.results),
        stdout=str(space.stdout),
        stderr=str(space.stderr),
        args=step.args,
        env=tuple(Variable(name=name, value=value) for name, value in step.env.items()),
        limits=step.limits,
        parent=os.getpid(),
        artifact=offer.descriptor if offer else 0,
        known=offer.known if offer else False,
    )


def _without_answer(kind: Kind, detail: str = "") -> Answer:
    return Answer(kind=kind, exit_code=None, memory_bytes=None, detail=detail)


def _write_all(descriptor: int, raw: bytes) -> None:
    left = memoryview(raw)
    while left:
        left = left[os.write(descriptor, left) :]
