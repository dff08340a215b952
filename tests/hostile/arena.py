"""Runs one hostile workload, then looks at everything that it must not have touched.

Around each run stand things that a guest must not reach: a file, a process, a listening socket,
a variable in the agent's environment. Afterwards the same sandbox runs an honest job, whose
output has to be right to the byte and must not hold the marker that the hostile one was given.
"""

import contextlib
import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from atoll.computation.steps import WorkloadKind
from atoll.errors import AtollError
from atoll_agent.sandbox.bundle.install import install_bundle, this_interpreter
from atoll_agent.sandbox.runner import run
from atoll_agent.sandbox.step import Step, StepSpace
from atoll_agent.sandbox.wall import bubblewrap
from atoll_agent.sandbox.workspace import open_workspace
from hostile import honest
from hostile.case import SMALL, Case

DATA: Final = b"data of another party"
SETTLE_S: Final = 15.0
FOLDERS: Final = (Path("/dev/shm"), Path("/tmp"), Path("/var/tmp"), Path("/"), Path("/run"))
_ENGINES_OWN: Final = re.compile(r".*/dockerd-[^/]+/data")
TRACES: Final = frozenset({"escaped", "new", "x", "big", "hole", "sh", "elsewhere", "passwd"})
"""Names that guests try to make; others on this machine may make other names meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of one workload."""

    case: str
    code: str
    seconds: float
    faults: tuple[str, ...]
    """Why it was not contained; empty if it was."""


@dataclass(slots=True, kw_only=True)
class Arena:
    """The surroundings of all runs; made by `arena`."""

    docker_host: str
    bait: Path
    victim: "subprocess.Popen[bytes]"
    listener: socket.socket
    name: str
    connected: bool = field(default=False)

    async def fight(self, case: Case) -> Verdict:
        """Run the case, judge it, and run an honest job after it."""
        began = time.monotonic()
        marker = f"marker-{secrets.token_hex(8)}"
        before = Surroundings.now()
        code, output, results = await self._run(_baited(case, self), marker)
        faults = [*_judge(case, code, output, results), *self._untouched()]
        faults += [f"left behind: {what}" for what in await_settled(before)]
        faults += await self._honest(case.kind, marker)
        return Verdict(
            case=case.id,
            code=code,
            seconds=time.monotonic() - began,
            faults=tuple(faults),
        )

    async def _run(self, case: Case, marker: str) -> tuple[str, bytes, dict[str, bytes]]:
        """The code, everything printed, and the files under /results that came back."""
        with open_workspace(f"hostile-{secrets.token_hex(8)}", need_bytes=1 << 20) as workspace:
            with workspace.create_data("in") as file:
                file.write(DATA)
            with workspace.create_module() as file:
                file.write(case.algorithm())
            space = StepSpace(root=workspace.root)
            env = {**case.env, "MARKER": marker}
            step = Step(space=space, entry=case.entry, args=case.args, env=env, limits=case.limits)
            try:
                if case.bundle is not None:
                    with tempfile.TemporaryFile() as file:
                        file.write(case.bundle())
                        install_bundle(file, space.bundle, this_interpreter())
                outcome = await run(case.kind, step, docker_host=self.docker_host)
            except AtollError as error:
                return error.code, b"", {}
            if (workspace.data / "in").read_bytes() != DATA:
                return "data changed", b"", {}
            printed = workspace.stdout.read_bytes() + workspace.stderr.read_bytes()
            limits = case.limits
            if max(workspace.stdout.stat().st_size, workspace.stderr.stat().st_size) > (
                limits.log_bytes
            ):
                return "log too long", b"", {}
            found = {
                file.name: (workspace.results / file.name).read_bytes() for file in outcome.results
            }
        return outcome.code, printed, found

    def _untouched(self) -> Iterator[str]:
        if self.bait.read_bytes() != b"bait":
            yield "the file outside was changed"
        if self.victim.poll() is not None:
            yield "the process outside was ended"
        try:
            connection, _ = self.listener.accept()
        except BlockingIOError:
            return
        connection.close()
        yield "somebody connected to the socket outside"

    async def _honest(self, kind: WorkloadKind, marker: str) -> list[str]:
        """Whether the next job is right, and knows nothing of the one before."""
        case = honest.CASES[kind]
        code, output, results = await self._run(replace(case, limits=SMALL), "of-the-next-job")
        faults = []
        if code != "workload.exited" or results != {"out": DATA + b" after"}:
            faults.append(f"the next job ended with {code} and {results}: {output[:300]!r}")
        if marker.encode() in output or b"left behind" in output:
            faults.append(f"the next job saw {output[:300]!r}")
        if b"MARKER=of-the-next-job" not in output:
            faults.append("the next job did not tell its environment")
        return faults


@contextlib.contextmanager
def arena(docker_host: str) -> Iterator[Arena]:
    """The surroundings, taken down at the end."""
    name = f"atoll-hostile-{secrets.token_hex(4)}"
    with (
        tempfile.TemporaryDirectory(prefix="atoll-bait-") as folder,
        socket.socket(socket.AF_UNIX) as listener,
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100000)"]) as victim,
    ):
        try:
            Path(folder).chmod(0o755)
            bait = Path(folder, "bait")
            bait.write_bytes(b"bait")
            bait.chmod(0o666)
            listener.bind("\0" + name)
            listener.listen()
            listener.setblocking(False)  # noqa: FBT003 - its own name for it
            yield Arena(
                docker_host=docker_host, bait=bait, victim=victim, listener=listener, name=name
            )
        finally:
            victim.kill()


def _baited(case: Case, arena: Arena) -> Case:
    """The case with what it is told about the outside in its arguments."""
    baits = {"{file}": str(arena.bait), "{pid}": str(arena.victim.pid), "{socket}": arena.name}
    return replace(case, args=tuple(baits.get(arg, arg) for arg in case.args))


def _judge(case: Case, code: str, output: bytes, results: dict[str, bytes]) -> Iterator[str]:
    if code not in case.codes:
        yield f"ended with {code}, want one of {sorted(case.codes)}: {output[-300:]!r}"
    if b"ESCAPED" in output or any(b"ESCAPED" in content for content in results.values()):
        lines = [line for line in output.split(b"\n") if b"ESCAPED" in line]
        yield f"escaped: {lines[:10]}"
    if case.said not in output:
        yield f"did not say {case.said!r}: {output[-300:]!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a run must leave as it was."""

    processes: frozenset[int]
    mounts: frozenset[str]
    names: frozenset[str]

    @classmethod
    def now(cls) -> "Surroundings":
        return cls(processes=_guests(), mounts=_mounts(), names=_names())


def await_settled(before: Surroundings) -> list[str]:
    """What is still there that was not; an engine takes a moment to clean up."""
    end = time.monotonic() + SETTLE_S
    while True:
        after = Surroundings.now()
        left = [
            *(f"process {pid}" for pid in after.processes - before.processes),
            *(f"mount {mount}" for mount in after.mounts - before.mounts),
            *(f"file {name}" for name in after.names - before.names),
        ]
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.02)


def _guests() -> frozenset[int]:
    """Processes in other pid namespaces than ours, and our own children. Not guests of another
    process of the tests, which are another user."""
    own = os.readlink("/proc/self/ns/pid")  # noqa: PTH115
    user = bubblewrap.require_wall().drop_to
    found = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if user is not None and bubblewrap.FIRST_USER <= entry.stat().st_uid != user:
                continue
            foreign = os.readlink(entry / "ns/pid") != own  # noqa: PTH115
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        # A dead one that the machine's first process has not yet waited for holds nothing.
        if state != "Z" and (foreign or int(parent) == os.getpid()):
            found.add(int(entry.name))
    return frozenset(found)


def _mounts() -> frozenset[str]:
    """All but an engine's own folder, which one of another test may mount at any time."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    mounts = (line.split()[4] for line in lines)
    return frozenset(mount for mount in mounts if not _ENGINES_OWN.fullmatch(mount))


def _names() -> frozenset[str]:
    return frozenset(
        str(path)
        for folder in FOLDERS
        for path in folder.iterdir()
        if path.name in TRACES or path.name.startswith("atoll-hostile-") or _strange(path)
    )


def _strange(path: Path) -> bool:
    """Whether it belongs to somebody who is no user of this machine, as guests are."""
    try:
        return path.lstat().st_uid >= bubblewrap.FIRST_USER
    except OSError:
        return False
