"""One program behind the wall, from its start until nothing of it is left.

bwrap makes the namespaces and then waits on a pipe. Meanwhile the first process inside gets its
rlimits and its cgroup; only then does bwrap load the filter and become the program. Killing that
first process ends every process of its pid namespace (pid_namespaces(7)), and its end is
reported only when they are gone; so there is nothing that a guest could leave behind.
"""

import asyncio
import json
import os
import secrets
import signal
import subprocess
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from atoll.errors import ConfigError, InputError
from atoll_agent.sandbox.exchange import MAX_DETAIL, Answer
from atoll_agent.sandbox.guest import Egress
from atoll_agent.sandbox.outcome import Kind
from atoll_agent.sandbox.step import Step
from atoll_agent.sandbox.threads import to_its_end
from atoll_agent.sandbox.tree import Tree
from atoll_agent.sandbox.wall import cgroup, loopback, native, ownership
from atoll_agent.sandbox.wall.bubblewrap import UNAVAILABLE, Wall, identity
from atoll_agent.sandbox.wall.descriptors import memory_file, readable
from atoll_agent.sandbox.wall.filter import program as filter_program
from atoll_agent.sandbox.wall.kernel import INIT
from atoll_agent.sandbox.wall.prlimit import impose
from atoll_agent.sandbox.wall.root import Program, arguments
from atoll_agent.sandbox.wall.syscalls import Architecture

SETUP_S: Final = 20
"""How long bwrap may take to make a process. It takes milliseconds."""
GONE_S: Final = 30
MAX_STATUS: Final = 64 << 10
MAX_SCRATCH_FILES: Final = 1 << 16
"""Names under /tmp: a tmpfs counts their content, not the kernel's memory for each."""
MAX_BLIND: Final = 50
"""Looks in a row that may see no process: bwrap hides while it builds the wall."""
_SIGNALLED: Final = 128

Prepare = Callable[[Step, Architecture], Program]


class WalledGuest:
    """A `Guest` behind bubblewrap.

    Args:
        step: what to run.
        wall: of this host.
        prepare: makes the program of the step.
        egress: serves the guest's way out; None: it has none, and no Internet socket.
    """

    def __init__(
        self, step: Step, wall: Wall, prepare: Prepare, egress: Egress | None = None
    ) -> None:
        self._step = step
        self._wall = wall
        self._prepare = prepare
        self._egress = egress
        self._way = AsyncExitStack()
        self._refused: Answer | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._init: int | None = None
        self._tree: Tree | None = None
        self._cgroup: cgroup.Cgroup | None = None
        self._device = 0
        self._status_fd = self._init_fd = -1
        self._blind = 0
        self._over = self._released = False
        self._user: int | None = None

    async def __aenter__(self) -> Self:
        space = self._step.space
        try:
            program = await to_its_end(lambda: self._prepare(self._step, self._wall.architecture))
        except InputError as error:
            kind = native.refusal(error)
            if kind is None:
                raise
            self._refused = _answer(kind, detail=error.message)
            return self
        if self._egress is not None:
            program = replace(program, env={**loopback.ENVIRONMENT, **program.env})
        space.algorithm.chmod(0o500)
        self._device = space.results.stat().st_dev
        try:
            program = await asyncio.to_thread(self._hand_over, program)
            await self._start(program)
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._end()
        finally:
            if self._status_fd >= 0:
                os.close(self._status_fd)
                self._status_fd = -1

    async def ended(self, timeout_s: float) -> bool:
        if self._process is None or self._process.returncode is not None:
            return True
        descriptor = os.pidfd_open(self._process.pid)
        try:
            return await readable(descriptor, timeout_s)
        finally:
            os.close(descriptor)

    async def kill(self) -> None:
        self._kill()

    def resident_bytes(self) -> int:
        return self._tree.resident_bytes() if self._tree else 0

    def unlinked_bytes(self) -> int:
        return self._tree.unlinked_bytes(self._device) if self._tree else 0

    def cpu_ms(self) -> int:
        counted = self._tree.cpu_ms() if self._tree else 0
        return max(counted, self._cgroup.cpu_ms() if self._cgroup else 0)

    def problem(self) -> Kind | None:
        problem = self._cgroup.problem() if self._cgroup else None
        if problem is None and self._tree:
            self._require_sight(self._tree)
            # The quick looks first.
            if self._tree.tasks() > self._step.limits.processes + INIT:
                problem = Kind.PROCESS_LIMIT
            elif self._tree.memory_over(self._step.limits.memory_bytes):
                problem = Kind.OUT_OF_MEMORY
            elif self._scratch_files() > MAX_SCRATCH_FILES:
                problem = Kind.SCRATCH_LIMIT
        return problem

    def _require_sight(self, tree: Tree) -> None:
        """Refuse to go on when /proc does not show the guest: its memory would be unlimited."""
        self._blind = 0 if tree.pids() else self._blind + 1
        if self._blind > MAX_BLIND:
            raise ConfigError(
                "/proc does not show the guest's processes; the agent needs CAP_SYS_PTRACE, or a"
                " user of its own that is not root",
                code=UNAVAILABLE,
            )

    async def answer(self) -> Answer:
        if self._refused or self._process is None:
            return self._refused or _answer(Kind.INTERNAL, detail="was not started")
        memory = self._cgroup.memory_bytes() if self._cgroup else None
        problem = self._cgroup.problem() if self._cgroup else None
        await self._end()
        return problem_or(problem, self._judge(memory))

    def _hand_over(self, program: Program) -> Program:
        """Make the step's files those of the user that the guest will be; nothing to do if that
        is us. The program with everything it mounts where that user can read it. Blocks.

        bwrap opens what it mounts as that user. An interpreter that only root can reach is
        copied, for a guest that stays root outside of the wall would have no limit of
        processes: the kernel does not count root's.
        """
        user, space = self._wall.drop_to, self._step.space
        if user is None:
            return program
        mounts = []
        for mount in program.mounts:
            source = mount.source
            if source != space.bundle and not ownership.reachable(source):
                source = ownership.brought_near(source, space.root / "host")
            mounts.append(replace(mount, source=source))
        ownership.open_way(space.root)
        ownership.give(space, user)
        self._user = user
        return replace(program, mounts=tuple(mounts))

    def _judge(self, memory: int | None) -> Answer:
        code = exit_code(self._read_status())
        if code is None:
            said = self._step.space.stderr.read_bytes()[:MAX_DETAIL].decode("utf-8", "replace")
            # Nothing of the guest has run, so what is in the log is bwrap's.
            kind = Kind.NOT_STARTABLE if said.startswith("bwrap: execvp") else Kind.INTERNAL
            return _answer(kind, detail=said)
        if code == _SIGNALLED + signal.SIGXCPU:
            return _answer(Kind.CPU_LIMIT, memory=memory)
        return Answer(kind=Kind.EXITED, exit_code=code, memory_bytes=memory, detail="")

    def _scratch_files(self) -> int:
        try:
            status = os.statvfs(Path(f"/proc/{self._init}/root") / "tmp")
        except OSError:
            return 0
        return status.f_files - status.f_ffree

    async def _start(self, program: Program) -> None:
        with ExitStack() as stack:
            self._status_fd, status_w = os.pipe2(os.O_CLOEXEC)
            block_r, block_w = os.pipe2(os.O_CLOEXEC)
            stack.callback(os.close, block_w)
            # Runs first: a pipe that closes would let the program start, without its limits.
            stack.callback(self._kill_unless_released)
            try:
                self._spawn(program, stack, status_w, block_r)
            finally:
                os.close(status_w)  # so that its end is bwrap's end
                os.close(block_r)
            if await self._take_hold():
                os.write(block_w, b"x")
                self._released = True

    def _kill_unless_released(self) -> None:
        if not self._released:
            self._kill()
            if self._process is not None:
                self._process.wait()

    def _spawn(self, program: Program, stack: ExitStack, status_w: int, block_r: int) -> None:
        space = self._step.space
        passed = [status_w, block_r]

        def keep(descriptor: int) -> int:
            stack.callback(os.close, descriptor)
            passed.append(descriptor)
            return descriptor

        def content(raw: bytes) -> int:
            return keep(memory_file(raw))

        options = arguments(
            program,
            space,
            self._step.limits.scratch_bytes,
            opened=lambda path: keep(os.open(path, os.O_PATH | os.O_CLOEXEC)),
            content=content,
        )
        calls = filter_program(self._wall.architecture, internet=self._egress is not None)
        options += ["--seccomp", str(content(calls))]
        options += ["--json-status-fd", str(status_w), "--block-fd", str(block_r)]
        told = content(b"".join(os.fsencode(option) + b"\0" for option in options))
        logs = [stack.enter_context(path.open("ab")) for path in (space.stdout, space.stderr)]
        self._process = subprocess.Popen(  # noqa: S603 - a fixed program; what follows is the guest's
            [self._wall.program, "--args", str(told), "--", *program.argv],
            stdin=subprocess.DEVNULL,
            stdout=logs[0],
            stderr=logs[1],
            env={},
            cwd="/",
            pass_fds=passed,
            start_new_session=True,
            **identity(self._user),
        )

    async def _take_hold(self) -> bool:
        """Wait for the first process inside, and put its limits on it.

        False when bwrap ended without one, for a reason that it gave on its standard error.

        Raises:
            ConfigError: `sandbox.stuck`, or `sandbox.unavailable` when the limits are refused.
        """
        self._init = child_pid(await self._first_status())
        if self._init is None:
            return False
        limits, wall = self._step.limits, self._wall
        try:
            self._init_fd = os.pidfd_open(self._init)
            impose(self._init, limits, user=self._user, architecture=wall.architecture)
            made = cgroup.make(f"run-{secrets.token_hex(8)}", limits)
            if isinstance(made, cgroup.Cgroup):
                self._cgroup = made
                made.add(self._init)
        except ProcessLookupError:
            return False
        except OSError as error:
            raise ConfigError(
                f"limits cannot be put on a guest: {error.strerror}", code=UNAVAILABLE
            ) from error
        self._tree = Tree(self._init)
        if self._egress is not None:
            served = loopback.served(self._egress, self._init, user=self._user)
            await self._way.enter_async_context(served)
        return True

    async def _first_status(self) -> bytes:
        """bwrap's first line, which it writes in pieces; less when it ends before."""
        os.set_blocking(self._status_fd, False)
        raw = b""
        while b"\n" not in raw:
            if not await readable(self._status_fd, SETUP_S):
                raise ConfigError(f"bwrap made no process within {SETUP_S} s", code="sandbox.stuck")
            piece = os.read(self._status_fd, MAX_STATUS)
            if not piece:
                break
            raw += piece
        return raw

    def _kill(self) -> None:
        if self._init_fd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._init_fd, signal.SIGKILL)
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
        if self._cgroup:
            self._cgroup.kill()

    async def _end(self) -> None:
        """Kill and wait until the namespace is empty. Doing it twice does nothing."""
        try:
            await self._end_tree()
        finally:
            await self._way.aclose()

    async def _end_tree(self) -> None:
        self._kill()
        if self._process is not None and not self._over:
            self._over = True
            self._process.wait()
            # Also when the run is cancelled meanwhile: nothing may be left of the guest.
            if self._init_fd >= 0 and not await asyncio.shield(readable(self._init_fd, GONE_S)):
                raise ConfigError(
                    f"the guest's first process did not end within {GONE_S} s of SIGKILL",
                    code="sandbox.stuck",
                )
            ownership.take_back(self._step.space)
        if self._cgroup:
            self._cgroup.remove()
            self._cgroup = None
        self._tree = None
        if self._init_fd >= 0:
            os.close(self._init_fd)
            self._init_fd = -1

    def _read_status(self) -> bytes:
        if self._status_fd < 0:
            return b""
        try:
            return os.read(self._status_fd, MAX_STATUS)
        except BlockingIOError:
            return b""


def child_pid(raw: bytes) -> int | None:
    """The first process inside, from bwrap's status; None if it says none."""
    return _number(raw, "child-pid", 1 << 31)


def exit_code(raw: bytes) -> int | None:
    """The program's exit code, 128 + n for a signal; None if it was never started."""
    return _number(raw, "exit-code", 255)


def _number(raw: bytes, name: str, most: int) -> int | None:
    for line in raw.splitlines():
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            continue
        value = document.get(name) if isinstance(document, dict) else None
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most:
            return value
    return None


def problem_or(problem: Kind | None, answer: Answer) -> Answer:
    """What the kernel counted, before what the program made of it."""
    return answer if problem is None else _answer(problem, memory=answer.memory_bytes)


def _answer(kind: Kind, *, memory: int | None = None, detail: str = "") -> Answer:
    return Answer(kind=kind, exit_code=None, memory_bytes=memory, detail=detail[:MAX_DETAIL])
