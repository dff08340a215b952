"""The `Guest` that the runner watches: one container, from its archive to its removal.

Recipe; all of it is one call in a thread, which stops between two steps when it is told to:

1. open the engine; remove what agents left that no longer live   `sandbox.unavailable`
2. judge the archive (`image`)                         NOT_AN_IMAGE, WRONG_ARCHITECTURE
3. load it, packed anew under a tag of our own; find it by the digest   IMAGE_DIGEST
4. let the guest's user read /data and write /results
5. make the container, take its output, start it                        NOT_STARTABLE

An engine can die or hang while the container lives on. Then its first process is killed by
the agent itself, if the kernel says that it is that container's: the end of the first
process is the end of all in its pid namespace.
"""

import asyncio
import io
import os
import secrets
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self, cast

from atoll.errors import ConfigError, InputError
from atoll_agent.sandbox.docker import tree
from atoll_agent.sandbox.docker.engine import (
    DEFAULT_HOST,
    REPOSITORY,
    STDERR,
    UNAVAILABLE,
    Engine,
    State,
)
from atoll_agent.sandbox.docker.image import WRONG_ARCHITECTURE, Image, read_image
from atoll_agent.sandbox.docker.plan import plan
from atoll_agent.sandbox.docker.repack import repack
from atoll_agent.sandbox.docker.seccomp import ARCHITECTURES, profile
from atoll_agent.sandbox.exchange import MAX_DETAIL, Answer
from atoll_agent.sandbox.outcome import Kind
from atoll_agent.sandbox.step import Step
from atoll_agent.sandbox.threads import to_its_end

NOBODY: Final = 65534
OUTPUT_S: Final = 10
"""How long output may still come after the container's end."""
CPU_EXIT: Final = 128 + signal.SIGXCPU


class DockerGuest:
    """One run of a step whose algorithm is an image archive."""

    def __init__(self, step: Step, *, host: str = DEFAULT_HOST) -> None:
        self._step = step
        self._host = host
        self._engine: Engine | None = None
        self._tag: str | None = None
        self._container: str | None = None
        self._pid = 0
        self._cpu_ms = 0
        self._stop = threading.Event()
        self._over = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._refused: Answer | None = None
        self._state: State | None = None
        self._failure: ConfigError | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        try:
            await self._in_thread(self._start)
        except BaseException:
            await self._in_thread(self._clean)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._in_thread(self._clean)
        except ConfigError:
            # What ended the run matters more than what ended the cleaning.
            if error is None:
                raise

    async def ended(self, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                await self._over.wait()
        except TimeoutError:
            return False
        return True

    async def kill(self) -> None:
        await self._in_thread(self._kill)

    def resident_bytes(self) -> int:
        return tree.resident(self._pid) if self._pid else 0

    def unlinked_bytes(self) -> int:
        if not self._pid:
            return 0
        return tree.unlinked(self._pid, self._step.space.results.stat().st_dev)

    def cpu_ms(self) -> int:
        # The count goes away with the container.
        self._cpu_ms = max(self._cpu_ms, self._counted_ms())
        return self._cpu_ms

    def _counted_ms(self) -> int:
        if not self._pid or self._container is None:
            return 0
        return tree.cpu_ms(self._pid, self._container)

    def problem(self) -> Kind | None:
        return None  # the engine ends the container itself; `answer` says why

    async def answer(self) -> Answer:
        """How the container ended.

        Raises:
            ConfigError: `sandbox.engine`: the engine died meanwhile.
        """
        if self._refused:
            return self._refused
        if self._failure:
            raise self._failure
        if self._state is None:
            return _answer(Kind.INTERNAL, "asked before the end")
        code = self._state.exit_code
        if self._state.out_of_memory and code != 0:
            return _answer(Kind.OUT_OF_MEMORY)
        if self._step.limits.cpu_s and code == CPU_EXIT:
            return _answer(Kind.CPU_LIMIT)
        return Answer(
            kind=Kind.EXITED, exit_code=code & 0xFF, memory_bytes=None, detail=self._state.problem
        )

    async def _in_thread(self, work: Callable[[], None]) -> None:
        await to_its_end(work, stop=self._stop.set)

    def _start(self) -> None:
        space, machine = self._step.space, os.uname().machine
        if machine not in ARCHITECTURES:
            raise ConfigError(f"no filter of system calls is known for {machine}", code=UNAVAILABLE)
        self._engine = engine = Engine.open(self._host)
        reap(engine)
        with space.algorithm.open("rb") as opened:
            # Stoppable has what the readers use of a BinaryIO.
            file = cast("BinaryIO", _Stoppable(opened, self._stop))
            image = self._judge(file, machine)
            if image is None:
                return None
            self._tag = f"{owner().replace(':', '-')}-{secrets.token_hex(8)}"
            why = engine.load(repack(file, image, f"{REPOSITORY}:{self._tag}"), self._tag, image)
        if why:
            return self._refuse(Kind.IMAGE_DIGEST, why)
        user = _hand_over(space.data, space.results)
        planned = plan(
            self._step,
            image_id=image.image_id,
            user=user,
            cpus=len(os.sched_getaffinity(0)),
            seccomp=profile(machine),
            owner=owner(),
        )
        self._require_going()
        try:
            self._container = container = engine.create(planned)
        except InputError as error:
            return self._refuse(Kind.NOT_AN_IMAGE, f"{error.code}: {error.message}")
        frames = engine.attach(container)
        self._require_going()
        why = engine.start(container)
        if why:
            return self._refuse(Kind.NOT_STARTABLE, why)
        self._pid = engine.state(container).pid
        self._follow(container, frames)
        return None

    def _judge(self, file: BinaryIO, machine: str) -> Image | None:
        try:
            image = read_image(file, machine=machine)
        except InputError as error:
            wrong = error.code == WRONG_ARCHITECTURE
            kind = Kind.WRONG_ARCHITECTURE if wrong else Kind.NOT_AN_IMAGE
            self._refuse(kind, f"{error.code}: {error.message}")
            return None
        if not image.run.argv(self._step.args):
            self._refuse(Kind.NOT_STARTABLE, "the image has no entry point and no command")
            return None
        return image

    def _follow(self, container: str, frames: Iterator[tuple[int, bytes]]) -> None:
        """Two threads that cannot hold up the agent's end: one for output, one for the end."""
        output = threading.Thread(target=self._copy, args=(frames,), daemon=True)
        output.start()
        threading.Thread(target=self._await_end, args=(container, output), daemon=True).start()

    def _copy(self, frames: Iterator[tuple[int, bytes]]) -> None:
        """Write the output where it belongs, at most one byte more than is allowed."""
        space = self._step.space
        left = [self._step.limits.log_bytes + 1] * 2
        # The end of the engine is told by the other thread.
        with (
            suppress(ConfigError),
            _append(space.stdout) as stdout,
            _append(space.stderr) as stderr,
        ):
            for stream, chunk in frames:
                index = int(stream == STDERR)
                part = chunk[: left[index]]
                left[index] -= len(part)
                (stdout, stderr)[index].write(part)

    def _await_end(self, container: str, output: threading.Thread) -> None:
        engine = cast("Engine", self._engine)
        try:
            engine.wait(container)
            self._state = engine.state(container)
            output.join(OUTPUT_S)
        except ConfigError as error:
            self._failure = error
        loop = cast("asyncio.AbstractEventLoop", self._loop)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(self._over.set)

    def _refuse(self, kind: Kind, detail: str) -> None:
        self._refused = _answer(kind, detail)
        cast("asyncio.AbstractEventLoop", self._loop).call_soon_threadsafe(self._over.set)

    def _require_going(self) -> None:
        if self._stop.is_set():
            raise _Stopped

    def _kill(self) -> None:
        if self._container and self._engine:
            try:
                self._engine.kill(self._container)
            except ConfigError:
                self._kill_ourselves()

    def _kill_ourselves(self) -> None:
        if self._pid and self._container and tree.is_of(self._pid, self._container):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(self._pid, signal.SIGKILL)

    def _clean(self) -> None:
        """Remove container and image. Raises ConfigError when the engine does not help."""
        engine = self._engine
        if engine is None:
            return
        try:
            if self._container:
                engine.remove(self._container)
            if self._tag:
                engine.untag(self._tag)
        except ConfigError:
            self._kill_ourselves()
            raise
        finally:
            engine.close()


class _Stopped(Exception):  # noqa: N818 - not an error: the runner went away
    """The thread was told to stop."""


class _Stoppable:
    """A file whose next read ends the thread once it was told to stop."""

    def __init__(self, file: BinaryIO, stop: threading.Event) -> None:
        self._file = file
        self._stop = stop

    def read(self, size: int) -> bytes:
        if self._stop.is_set():
            raise _Stopped
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)


def available(host: str = DEFAULT_HOST) -> str | None:
    """Why no image can run here, or None. Blocks; asks the engine."""
    if os.uname().machine not in ARCHITECTURES:
        return f"no filter of system calls is known for {os.uname().machine}"
    try:
        Engine.open(host).close()
    except ConfigError as error:
        return f"{error.message}; {error.hint}"
    return None


def owner() -> str:
    """This process, for good: its id and when it started."""
    return f"{os.getpid()}:{tree.started(os.getpid())}"


def reap(engine: Engine) -> None:
    """Remove the containers and images of agents that no longer live.

    Agents that share an engine must see each other's process ids, or each takes the
    other's for dead.

    Raises:
        ConfigError: `sandbox.engine`.
    """
    for container, by in engine.owned().items():
        if not _lives(by.split(":")):
            engine.remove(container)
    for tag in engine.tags():
        if not _lives(tag.split("-")):
            engine.untag(tag)


def _lives(by: list[str]) -> bool:
    return len(by) > 1 and by[0].isdigit() and tree.started(int(by[0])) == by[1]


def _answer(kind: Kind, detail: str = "") -> Answer:
    text = detail.encode("utf-8", "replace").decode("utf-8")[:MAX_DETAIL]
    return Answer(kind=kind, exit_code=None, memory_bytes=None, detail=text)


def _append(path: Path) -> io.FileIO:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return io.FileIO(os.open(path, flags, 0o600), "wb")


def _hand_over(data: Path, results: Path) -> str:
    """Let the guest read one tree and write the other; returns its "uid:gid".

    A root agent's guest is nobody: it cannot use the agent's rights to the files, so the
    inputs become readable for all (the directories above them are the agent's alone), and
    /results becomes the guest's. Any other agent's guest is the agent's own user.
    """
    if os.geteuid() != 0:
        return f"{os.geteuid()}:{os.getegid()}"
    for folder, folders, names in os.walk(data, followlinks=False):
        Path(folder).chmod(0o555)
        for path in (Path(folder) / name for name in (*folders, *names)):
            if stat.S_ISREG(path.lstat().st_mode):
                path.chmod(0o444)
    os.chown(results, NOBODY, NOBODY)
    results.chmod(0o700)
    return f"{NOBODY}:{NOBODY}"
