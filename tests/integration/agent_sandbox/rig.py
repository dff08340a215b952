"""Run one guest in a workspace of its own, then prove that nothing of it stayed."""

import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from atoll.computation.steps import WorkloadKind
from atoll_agent.sandbox.limits import Limits
from atoll_agent.sandbox.outcome import Kind, Outcome
from atoll_agent.sandbox.runner import run
from atoll_agent.sandbox.step import Step, StepSpace
from atoll_agent.sandbox.workspace import Workspace, open_workspace, workspace_path
from support import wat


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """An outcome with the contents that go with it."""

    outcome: Outcome
    stdout: bytes
    stderr: bytes
    data: dict[str, bytes]
    results: dict[str, bytes] = field(default_factory=dict)

    @property
    def code(self) -> str:
        return self.outcome.code


async def ran(
    wasm: bytes,
    *,
    limits: Limits | None = None,
    data: Mapping[str, bytes] | None = None,
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> Ran:
    """Run `wasm`; then run an honest guest in the same workspace and check its work."""
    enclave = f"test-{secrets.token_hex(8)}"
    before = children()
    with open_workspace(enclave, need_bytes=1 << 20) as workspace:
        for name, content in {"in": b"honest", **(data or {})}.items():
            with workspace.create_data(name) as file:
                file.write(content)
        with workspace.create_module() as file:
            file.write(wasm)
        outcome = await run(WorkloadKind.WASM, step(workspace, args, env, limits))
        result = _read(workspace, outcome)
        await _require_honest_work(workspace)
    assert not workspace_path(enclave).exists()
    assert children() == before
    return result


def step(
    workspace: Workspace,
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    limits: Limits | None = None,
) -> Step:
    """What lies in the workspace, as a step."""
    return Step(
        space=StepSpace(root=workspace.root),
        args=tuple(args),
        env=dict(env or {}),
        limits=limits or Limits(),
    )


def children(pid: int | None = None) -> list[int]:
    """Process ids of the children of a process that were not reaped, of all its threads."""
    pid = pid or os.getpid()
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that ended meanwhile
            found += map(int, (task / "children").read_text().split())
    return sorted(found)


def workers(pid: int | None = None) -> list[int]:
    """Those children of a process that run a sandbox worker."""
    found = []
    for child in children(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            if b"atoll_agent.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
    return found


def _read(workspace: Workspace, outcome: Outcome) -> Ran:
    return Ran(
        outcome=outcome,
        stdout=workspace.stdout.read_bytes(),
        stderr=workspace.stderr.read_bytes(),
        data={path.name: path.read_bytes() for path in workspace.data.iterdir()},
        results={
            item.name: (workspace.results / item.name).read_bytes() for item in outcome.results
        },
    )


async def _require_honest_work(workspace: Workspace) -> None:
    workspace.module.unlink()
    workspace.module.write_bytes(wat.echo())
    outcome = await run(WorkloadKind.WASM, step(workspace, ["after"], {"K": "v"}))
    assert outcome.kind is Kind.EXITED
    assert outcome.exit_code == 0
    assert workspace.stdout.read_bytes() == b"algorithm\0after\0K=v\0"
    assert (workspace.results / "out").read_bytes() == (workspace.data / "in").read_bytes()
    assert [item.name for item in outcome.results] == ["out"]
