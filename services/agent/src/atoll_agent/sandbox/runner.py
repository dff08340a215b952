"""Start a guest of any kind, watch it, kill it when it must be, and judge what it left.

The same watchdog for every kind. Every `TICK_S` it compares CPU time, memory, output and logs
with the limits, and asks the sandbox what it saw itself. A guest that knows its deadline may
end at `wall_s` and say how far it came; `KILL_GRACE_S` later its whole tree gets SIGKILL.
Between two looks a guest can take a little more than it may (rlimits, and a cgroup where there
is one, hold most of it at once); such a run is still refused by the final scan.
"""

import asyncio
import os
from pathlib import Path
from typing import Final

from atoll.computation.steps import WorkloadKind
from atoll.enclave_storage import erase
from atoll_agent.sandbox.compiled import CompiledModules
from atoll_agent.sandbox.exchange import Answer, require_arguments
from atoll_agent.sandbox.guest import Egress, Guest
from atoll_agent.sandbox.kinds import DOCKER_HOST, make_guest
from atoll_agent.sandbox.limits import Limits
from atoll_agent.sandbox.outcome import OUTPUT_KINDS, Kind, Outcome, Used
from atoll_agent.sandbox.results import Scan, scan
from atoll_agent.sandbox.step import Step, StepSpace

TICK_S: Final = 0.02
KILL_GRACE_S: Final = 0.5
MAX_TICK_S: Final = 0.25
LOOK_S: Final = 5.0
"""The longest that one look at a guest may take; it takes milliseconds."""


async def run(
    kind: WorkloadKind,
    step: Step,
    *,
    docker_host: str = DOCKER_HOST,
    compiled: CompiledModules | None = None,
    egress: Egress | None = None,
) -> Outcome:
    """Run a step once in the sandbox of its kind, and return how it ended.

    `docker_host`, `compiled` and `egress` are those of `make_guest`.

    Whatever the guest does comes back as an `Outcome`. When this returns, raises or is
    cancelled, every process of the guest is gone. `step.space`'s results, stdout and stderr
    are made empty first and hold the outputs afterwards; standard output and error are cut
    at `limits.log_bytes`.

    Must be awaited in a thread that lives as long as the run: the kernel kills a guest when
    the thread that started it ends (PR_SET_PDEATHSIG, prctl(2)).

    Raises:
        InputError: `workload.arguments`: arguments or environment that no guest can get;
            `workload.entry`.
        ConfigError: `sandbox.unavailable`: this host lacks what the kind's sandbox is made of.
    """
    guest = await asyncio.to_thread(
        make_guest, kind, step, docker_host=docker_host, compiled=compiled, egress=egress
    )
    return await run_guest(guest, step)


async def run_guest(guest: Guest, step: Step) -> Outcome:
    """As `run`, with a guest that is made and not yet started."""
    require_arguments(step.args, dict(step.env))
    clear_outputs(step.space)
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with guest:
        killed_for = await _watch(guest, step, deadline=began + step.limits.wall_s)
        wall_ms = round((loop.time() - began) * 1000)
        cpu_ms = guest.cpu_ms()
        answer = await guest.answer()
        if killed_for is None and cpu_ms > _cpu_budget_ms(step.limits):
            killed_for = Kind.CPU_LIMIT
        if killed_for:
            answer = Answer(
                kind=killed_for, exit_code=None, memory_bytes=answer.memory_bytes, detail=""
            )
    return _outcome(answer, step, wall_ms)


def clear_outputs(space: StepSpace) -> None:
    """Make /results, standard output and standard error empty: the state before a run."""
    erase(space.results)
    space.results.mkdir(mode=0o700)
    for path in (space.stdout, space.stderr):
        path.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(path, flags, 0o600))


async def _watch(guest: Guest, step: Step, *, deadline: float) -> Kind | None:
    """Wait for the end; kill, and say why, when a limit is passed first."""
    loop = asyncio.get_running_loop()
    tick_s = TICK_S
    while not await guest.ended(tick_s):
        before = loop.time()
        if problem := await _look(guest, step, deadline + KILL_GRACE_S):
            await guest.kill()
            return problem
        # A large tree takes longer to look at: do not spend all time on looking. But a guest
        # that can make a look last must not win time by it either.
        tick_s = min(max(TICK_S, 4 * (loop.time() - before)), MAX_TICK_S)
    return None


async def _look(guest: Guest, step: Step, last: float) -> Kind | None:
    """Look at a guest in a thread, for what the kernel says of it can be long in coming.

    Many processes that fork and end hold the locks that /proc waits for, so that a guest can
    make a look last. It must not hold up the agent thereby, outlive its time, or take memory
    unseen: after `LOOK_S` it is taken for over its limit.
    """
    loop = asyncio.get_running_loop()
    left = last - loop.time()
    if left <= 0:
        return Kind.TIMEOUT
    look = loop.run_in_executor(None, _problem, guest, step)
    try:
        await asyncio.wait({look}, timeout=min(LOOK_S, left))
        if look.done():
            return look.result()
        return Kind.TIMEOUT if left < LOOK_S else Kind.OUT_OF_MEMORY
    finally:
        if not look.done():
            await guest.kill()  # which ends what the look waits for
            await asyncio.shield(_forgotten(look))


async def _forgotten(look: "asyncio.Future[Kind | None]") -> None:
    """Wait for the end of a look whose answer nobody wants any more."""
    await asyncio.wait({look})
    look.exception()


def _problem(guest: Guest, step: Step) -> Kind | None:
    """What the guest does wrong now. Blocks."""
    space, limits = step.space, step.limits
    if problem := guest.problem():
        return problem
    if guest.resident_bytes() > limits.resident_bytes:
        return Kind.OUT_OF_MEMORY
    if guest.cpu_ms() > _cpu_budget_ms(limits):
        return Kind.CPU_LIMIT
    if _logs_overflow(space, limits):
        return Kind.OUTPUT_LIMIT
    seen = scan(space.results, limits)
    if seen.problem:
        return seen.problem
    if seen.size + guest.unlinked_bytes() > limits.output_bytes:
        return Kind.OUTPUT_LIMIT
    return None


def _cpu_budget_ms(limits: Limits) -> int:
    """Without a limit of its own, CPU time ends with the wall clock and a little after."""
    if limits.cpu_s:
        return limits.cpu_s * 1000
    cores = os.cpu_count() or 1
    return round((limits.wall_s + KILL_GRACE_S) * cores * 1000)


def _outcome(answer: Answer, step: Step, wall_ms: int) -> Outcome:
    """Join the guest's answer with a look at what is really there."""
    space, limits = step.space, step.limits
    found = scan(space.results, limits)
    problem = found.problem
    if _logs_overflow(space, limits):
        problem = problem or Kind.OUTPUT_LIMIT
    logs = 0
    for path in (space.stdout, space.stderr):
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


def _logs_overflow(space: StepSpace, limits: Limits) -> bool:
    return any(path.stat().st_size > limits.log_bytes for path in (space.stdout, space.stderr))


def _cut(path: Path, size: int) -> int:
    """Truncate to `size` and return what is left."""
    actual = path.stat().st_size
    if actual > size:
        os.truncate(path, size)
    return min(actual, size)
