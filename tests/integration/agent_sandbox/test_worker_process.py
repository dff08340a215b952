"""The worker as a process: it dies with whoever waits for it, and is not believed."""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from atoll.computation.steps import WorkloadKind
from atoll.wire import codec, schema
from atoll_agent.sandbox.exchange import Answer
from atoll_agent.sandbox.limits import Limits
from atoll_agent.sandbox.outcome import Kind
from atoll_agent.sandbox.runner import run, run_guest
from atoll_agent.sandbox.wasm_guest import WasmGuest
from atoll_agent.sandbox.workspace import erase, open_workspace, workspace_path
from integration.agent_sandbox.rig import children, step, workers
from support import wat

LOOP = wat.assemble('(module (func (export "_start") (loop (br 0))))')
DEADLINE_S = 20


def wait_until(holds: Callable[[], object], why: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < end, why
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def enclave() -> str:
    return f"test-{secrets.token_hex(8)}"


async def test_a_cancelled_run_leaves_no_process() -> None:
    before = children()
    with open_workspace(enclave(), need_bytes=1) as workspace:
        workspace.module.write_bytes(LOOP)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(run(WorkloadKind.WASM, step(workspace)))
            await asyncio.to_thread(wait_until, workers, "no worker came up")
            task.cancel()
    assert children() == before


def test_the_worker_does_not_outlive_an_agent_that_is_killed() -> None:
    name = enclave()
    agent = f"""
import asyncio
from atoll.computation.steps import WorkloadKind
from atoll_agent.sandbox.limits import Limits
from atoll_agent.sandbox.runner import run
from atoll_agent.sandbox.step import Step, StepSpace
from atoll_agent.sandbox.workspace import open_workspace
with open_workspace({name!r}, need_bytes=1) as workspace:
    workspace.module.write_bytes({LOOP!r})
    step = Step(space=StepSpace(root=workspace.root), limits=Limits())
    asyncio.run(run(WorkloadKind.WASM, step))
"""
    with subprocess.Popen([sys.executable, "-c", agent]) as process:
        try:
            wait_until(lambda: alive(process.pid) and workers(process.pid), "no worker came up")
            (worker,) = workers(process.pid)
            # The compiler is loaded after prctl, so its presence says that prctl has run.
            wait_until(lambda: "libwasmtime" in maps(worker), "the worker did not get ready")
        finally:
            process.kill()
    try:
        wait_until(lambda: not alive(worker), "the worker outlived its agent")
        assert workspace_path(name).exists()
    finally:
        erase(workspace_path(name))


def maps(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return ""


async def test_the_worker_has_an_empty_environment_its_own_session_and_three_files() -> None:
    with open_workspace(enclave(), need_bytes=1) as workspace:
        workspace.module.write_bytes(LOOP)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(run(WorkloadKind.WASM, step(workspace, ["secret-argument"])))
            seen = await asyncio.to_thread(look_at_the_worker)
            task.cancel()
    assert seen["environ"] == ""
    assert "secret-argument" not in seen["cmdline"]
    assert seen["session"] == "own"
    limits = " ".join(seen["limits"].split())
    assert "Max core file size 1 1 bytes" in limits
    assert "Max open files 256 256 files" in limits
    assert f"Max file size {(64 << 20) + 1} {(64 << 20) + 1} bytes" in limits
    assert "NoNewPrivs:\t1" in seen["status"]


def look_at_the_worker() -> dict[str, str]:
    wait_until(workers, "no worker came up")
    (pid,) = workers()
    wait_until(lambda: "libwasmtime" in maps(pid), "the worker did not get ready")
    names = ("environ", "cmdline", "limits", "status")
    seen = {name: Path(f"/proc/{pid}/{name}").read_text() for name in names}
    return seen | {"session": "own" if os.getsid(pid) == pid else "shared"}


def lying_python(folder: Path, script: str) -> str:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    return str(path)


async def judged(python: str) -> tuple[str, str]:
    before = children()
    with open_workspace(enclave(), need_bytes=1) as workspace:
        workspace.module.write_bytes(LOOP)
        short = step(workspace, limits=Limits(wall_s=1))
        outcome = await run_guest(WasmGuest(short, python=python), short)
    assert children() == before
    return outcome.code, outcome.detail


def answer(**fields: object) -> bytes:
    honest = {"kind": "workload.exited", "exit_code": 0, "memory_bytes": 0, "detail": ""}
    return codec.packb(honest | fields)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"garbage",
        answer(kind="workload.happy"),
        answer(kind="workload.trap"),
        answer(exit_code=None),
        answer(exit_code=126),
        answer(exit_code=-1),
        answer(memory_bytes=-1),
        answer(extra=1),
        answer(detail="x" * 1025),
        answer() + b"\0",
        answer() + bytes(100_000),
    ],
)
async def test_an_answer_that_is_not_legal_is_not_believed(tmp_path: Path, said: bytes) -> None:
    (tmp_path / "said").write_bytes(said)
    code, detail = await judged(lying_python(tmp_path, f"cat {tmp_path}/said"))
    assert (code, detail) == ("workload.internal", "exit status 0")


async def test_a_legal_answer_with_a_bad_exit_status_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "said").write_bytes(answer())
    code, detail = await judged(lying_python(tmp_path, f"cat {tmp_path}/said; exit 3"))
    assert (code, detail) == ("workload.internal", "exit status 3")


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGSEGV, "workload.crash"), (signal.SIGKILL, "workload.crash"),
     (signal.SIGXCPU, "workload.timeout")],
)  # fmt: skip
async def test_a_worker_that_dies_of_a_signal_is_told_apart(
    tmp_path: Path, number: int, code: str
) -> None:
    said, _ = await judged(lying_python(tmp_path, f"kill -{int(number)} $$"))
    assert said == code


async def test_a_worker_that_ignores_signals_and_has_children_is_killed_with_them(
    tmp_path: Path,
) -> None:
    script = f"trap '' TERM INT HUP\nsleep 1000 & echo $! > {tmp_path}/child\nwait; sleep 1000"
    code, _ = await judged(lying_python(tmp_path, script))
    assert code == "workload.timeout"
    child = int((tmp_path / "child").read_text())
    wait_until(lambda: not alive(child), "a grandchild outlived its group")


async def test_a_worker_that_ends_and_leaves_a_child_behind_takes_it_along(tmp_path: Path) -> None:
    (tmp_path / "said").write_bytes(answer())
    script = f"sleep 1000 & echo $! > {tmp_path}/child; cat {tmp_path}/said"
    code, _ = await judged(lying_python(tmp_path, script))
    assert code == "workload.exited"
    child = int((tmp_path / "child").read_text())
    wait_until(lambda: not alive(child), "a grandchild outlived its group")


async def test_a_worker_that_fills_memory_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    # A guest cannot pass its linear memory; what uses the rest here is the compiler.
    monkeypatch.setattr("atoll_agent.sandbox.limits.RUNTIME_RESIDENT", 0)
    with open_workspace(enclave(), need_bytes=1) as workspace:
        workspace.module.write_bytes(LOOP)
        outcome = await run(WorkloadKind.WASM, step(workspace, limits=Limits(memory_bytes=1 << 16)))
    assert outcome.code == "workload.memory"


def test_an_honest_answer_is_a_legal_message() -> None:
    assert schema.decode(Answer, answer()).kind is Kind.EXITED
