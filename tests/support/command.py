"""A real `atoll up` for tests, and the `atoll` command beside it.

`command_stack` is a fixture to import into a test module: one stack for the module. A test
that stops or kills it must start it again.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

START_S = 60
STOP_S = 45
COMMAND_S = 60
ATOLL = (sys.executable, "-m", "atoll_cli.main")
_SET_SUBREAPER = 36


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a command left behind."""

    status: int
    out: str
    err: str

    def document(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)


def environment(home: Path, **more: str) -> dict[str, str]:
    """For a command that uses `home`."""
    inherited = os.environ  # noqa: TID251 - a test is its own main
    return {**inherited, "ATOLL_HOME": str(home), "NO_COLOR": "1", **more}


def atoll(
    home: Path, *arguments: str | Path, cwd: Path | None = None, within_s: float = COMMAND_S
) -> Said:
    """Run one `atoll` command to its end. It never shows a traceback."""
    done = subprocess.run(
        [*ATOLL, *map(str, arguments)],
        env=environment(home),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Said(status=done.returncode, out=done.stdout, err=done.stderr)


@dataclass
class Stack:
    """One data directory and, between `start` and `stop`, the processes that serve it."""

    root: Path
    slots: int = 2
    warm: int = 0
    """Enclaves that wait for jobs."""
    docker: str | None = None
    """The container engine that its enclaves use; None: the machine's."""
    image: str | None = None
    """Of which enclaves are started by `driver`; None: they are processes."""
    driver: str = "docker"
    tee: str = "simulated"
    egress: tuple[str, ...] = ()
    """Where its jobs may connect to."""
    nats: str | None = None
    """Where its bus listens, HOST:PORT; None: on a free port."""
    env: Mapping[str, str] = field(default_factory=dict)
    """More of its environment."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    _process: "subprocess.Popen[str] | None" = None

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def data_dir(self) -> Path:
        return self.root / "data"

    @property
    def pid(self) -> int:
        """Of `atoll up`."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Return when the stack is ready."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "up.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(*ATOLL, "up", "--json", "--data-dir", self.data_dir),
                    *("--slots", str(self.slots), "--warm", str(self.warm)),
                    *(("--docker", self.docker) if self.docker else ()),
                    *(("--driver", self.driver, "--image", self.image) if self.image else ()),
                    *("--tee", self.tee),
                    *(part for rule in self.egress for part in ("--egress", rule)),
                    *(("--nats", self.nats) if self.nats else ()),
                ],
                env=environment(self.home, **self.env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.stop(signal.SIGKILL)
            pytest.fail((self.root / "up.log").read_text())
        self.facts = json.loads(line)
        assert self.facts["ready"] is True

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask the stack to stop; its exit status. Harmless when it does not run."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        try:
            return process.wait(STOP_S)
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()

    def kill(self) -> None:
        """End `atoll up` without a chance to clean up."""
        self.stop(signal.SIGKILL)

    def atoll(self, *arguments: str | Path, cwd: Path | None = None) -> Said:
        """Run one command against this stack."""
        return atoll(self.home, *arguments, cwd=cwd or self.root)

    def run(self, module: Path, *arguments: str | Path) -> Said:
        """`atoll run --json`; the document and the exit status agree."""
        said = self.atoll("run", module, "--json", *arguments)
        assert ("error" in said.document()) == (said.status != 0), said
        return said


@pytest.fixture(scope="module")
def command_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running stack for the tests of one module."""
    running = Stack(tmp_path_factory.mktemp("stack"))
    running.start()
    try:
        yield running
    finally:
        running.stop()


@contextmanager
def adopting() -> Iterator[None]:
    """Orphans of our children become our children, so that `descendants` finds them."""
    libc = ctypes.CDLL(None)
    libc.prctl(_SET_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        libc.prctl(_SET_SUBREAPER, 0, 0, 0, 0)


def descendants(of: int | None = None) -> dict[int, str]:
    """The living processes below a process (default: this one), with their command lines."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_text().rpartition(") ")[2].split()[:2]
            except OSError:
                continue
            if state != "Z":
                parents[int(entry.name)] = int(parent)
    found: dict[int, str] = {}
    waiting = [of or os.getpid()]
    while waiting:
        above = waiting.pop()
        for pid, parent_pid in parents.items():
            if parent_pid == above:
                waiting.append(pid)
                found[pid] = _command(pid)
    return found


def family(pid: int) -> dict[int, str]:
    """A process and those below it."""
    return {pid: _command(pid), **descendants(pid)}


def _command(pid: int) -> str:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return raw.replace(b"\0", b" ").decode(errors="replace")[:200]
