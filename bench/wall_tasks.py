"""Tasks of `bench.children` for the benchmark of the walls."""

import asyncio
import secrets
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from subprocess import PIPE
from typing import Any

from atoll.computation.steps import WorkloadKind
from atoll_agent.sandbox.compiled import CompiledModules
from atoll_agent.sandbox.kinds import available
from atoll_agent.sandbox.limits import Limits
from atoll_agent.sandbox.runner import run
from atoll_agent.sandbox.step import Step, StepSpace
from atoll_agent.sandbox.workspace import open_workspace
from bench import programs
from bench.report import BenchError
from examples.harness import engine

Parameters = dict[str, Any]
Go = Callable[[], Awaitable[None]]


async def walls(given: Parameters, go: Go) -> Parameters:
    """Run each program behind its wall and bare, in turns; seconds of each run."""
    with ExitStack() as stack:
        try:
            why, host = engine.missing(), ""
            if why is None:
                host = await asyncio.to_thread(stack.enter_context, engine.running())
        except engine.EngineError as error:
            why = str(error)
        return await _walls(given, go, host, {WorkloadKind.DOCKER: why} if why else {})


async def _walls(
    given: Parameters, go: Go, host: str, without: dict[WorkloadKind, str]
) -> Parameters:
    scratch = Path(given["scratch"])
    contenders: dict[str, tuple[WorkloadKind, bytes, list[str]]] = {}
    missing = []
    for kind in WorkloadKind:
        why = without.get(kind) or await asyncio.to_thread(available, kind, docker_host=host)
        if why:
            missing.append(f"{kind.value}: {why}")
            continue
        for label, steps in (("start", 1), ("work", given["steps"][kind.value])):
            contenders[f"{kind.value}, {label}"] = _contender(kind, steps, scratch)
    await go()
    seconds: dict[str, dict[str, list[float]]] = {
        label: {"walled": [], "bare": []} for label in contenders
    }
    for _ in range(given["rounds"]):
        for label, (kind, algorithm, command) in contenders.items():
            took, walled = await _walled(kind, algorithm, host=host)
            seconds[label]["walled"].append(took)
            took, bare = await _bare(command)
            seconds[label]["bare"].append(took)
            if walled != bare or not bare.strip().isdigit():
                raise BenchError(f"{label}: {walled!r} behind the wall, {bare!r} bare")
    return {"seconds": seconds, "missing": missing}


def _contender(
    kind: WorkloadKind, steps: int, scratch: Path
) -> tuple[WorkloadKind, bytes, list[str]]:
    path = scratch / f"{kind.value}-{steps}"
    if kind is WorkloadKind.WASM:
        algorithm = programs.wasm(steps)
        command = [sys.executable, "-I", "-B", "-c", programs.BARE_WASM, str(path)]
    elif kind is WorkloadKind.BINARY:
        algorithm = programs.binary(steps, scratch)
        command = [str(path)]
    elif kind is WorkloadKind.DOCKER:
        program = programs.binary(steps, scratch)
        path.write_bytes(program)
        path.chmod(0o700)
        return kind, programs.image(program), [str(path)]
    else:
        algorithm = programs.python(steps)
        command = [sys.executable, "-I", "-B", str(path)]
    path.write_bytes(algorithm)
    path.chmod(0o700)
    return kind, algorithm, command


async def _walled(
    kind: WorkloadKind,
    algorithm: bytes,
    compiled: CompiledModules | None = None,
    *,
    host: str = "",
) -> tuple[float, bytes]:
    with open_workspace(f"bench-{secrets.token_hex(8)}", need_bytes=1 << 20) as workspace:
        with workspace.create_module() as file:
            file.write(algorithm)
        step = Step(space=StepSpace(root=workspace.root), limits=Limits())
        began = time.perf_counter()
        outcome = await run(kind, step, docker_host=host, compiled=compiled)
        took = time.perf_counter() - began
        printed = workspace.stdout.read_bytes()
    if not outcome.succeeded:
        raise BenchError(f"the {kind.value} guest ended with {outcome.code}: {outcome.detail}")
    return took, printed


async def _bare(command: list[str]) -> tuple[float, bytes]:
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, env={}, cwd="/")
    printed, _ = await process.communicate()
    return time.perf_counter() - began, printed


async def compile_cache(given: Parameters, go: Go) -> Parameters:
    """Run a module without keeping, keeping, and kept, in turns; seconds of each run."""
    module = programs.large_wasm(given["functions"])
    await go()
    seconds: dict[str, list[float]] = {"off": [], "miss": [], "hit": []}
    for _ in range(given["rounds"]):
        with CompiledModules() as compiled:
            for name, kept in (("off", None), ("miss", compiled), ("hit", compiled)):
                took, _ = await _walled(WorkloadKind.WASM, module, kept)
                seconds[name].append(took)
            if len(compiled) != 1:
                raise BenchError("the compiled module was not kept")
    return {"seconds": seconds, "size": len(module)}
